"""Bars of what `compare.py` measured: chart.py RESULTS.json CHART.svg"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "dismax"
matplotlib.rcParams["font.family"] = "sans-serif"
import matplotlib.pyplot as plt  # noqa: E402


def main():
    report = json.loads(pathlib.Path(sys.argv[1]).read_text())
    results = [result for result in report["results"] if result["rows"]]
    heights = [len(result["rows"]) + 1.4 for result in results]
    figure, axes = plt.subplots(len(results), 1, figsize=(7.5, 0.3 * sum(heights)), height_ratios=heights, squeeze=False)
    for axis, result in zip(axes[:, 0], results):
        names = [row["name"] for row in result["rows"]][::-1]
        values = [row["median"] for row in result["rows"]][::-1]
        colors = ["#b5562b" if "dismax" in name else "#8a94a0" for name in names]
        bars = axis.barh(names, values, color=colors, height=0.7)
        axis.bar_label(bars, [f"{value:,.0f}" if value > 20 else f"{value:.2f}" for value in values], padding=3, fontsize=8)
        axis.set_title(f"{result['title']} ({result['unit']})", fontsize=9, loc="left", x=-0.3)
        axis.tick_params(labelsize=8, length=0)
        axis.set_xticks([])
        axis.margins(x=0.14)
        for side in axis.spines.values():
            side.set_visible(False)
    figure.text(0.01, 0.002, f"{report['machine']}, {report['device']}, medians of {report['rounds']} rounds", fontsize=7, color="#666")
    figure.tight_layout()
    figure.savefig(sys.argv[2], metadata={"Date": None})


if __name__ == "__main__":
    main()
