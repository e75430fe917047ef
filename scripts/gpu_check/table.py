"""The results of a GPU check as a table and as JSON: table.py RESULTS_FOLDER"""

import csv
import json
import pathlib
import re
import sys


def json_lines(path):
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def last_epoch(path):
    rows = list(csv.DictReader(path.open(newline=""))) if path.exists() else []
    return rows[-1] if rows else None


def main():
    folder = pathlib.Path(sys.argv[1])
    rows = []
    environment = folder / "0-environment.log"
    if environment.exists():
        card = re.search(r"NVIDIA [A-Z]\S+ [^|]*?(?=\s{2,}|\|)", environment.read_text())
        rows.append(("card", card.group(0).strip() if card else "unknown"))
    tests = folder / "2-tests.log"
    if tests.exists():
        agree = re.search(r"\d+ rows: predictions .*", tests.read_text())
        rows.append(("scores against the CPU's", agree.group(0) if agree else "no result"))
    bare = {result["network"]: result for result in json_lines(folder / "4-bare.log")}
    for network, name in (("resnet20", "resnet20"), ("resnet34", "resnet34"), ("resnet18", "photos")):
        scored = json_lines(folder / f"4-score-{name}.log")
        if scored:
            rate = scored[-1]["images_per_second"]
            best = max((value for key, value in bare.get(network, {}).items() if key in ("eager", "graph")), default=None)
            text = f"{rate:,.0f} images/s"
            if best:
                eager = bare[network]["eager"]
                text += f"; bare {eager:,.0f} eager, {bare[network].get('graph', 0):,.0f} graph; ratio {rate / best:.2f}"
            busy = scored[-1].get("device_busy_share")
            if busy is not None:
                text += f"; device busy {busy:.0%}"
            log = (folder / f"4-score-{name}.log").read_text()
            layers = re.findall(r": ([\d.]+)(µs|ms|s) apart, ([\d.]+)(µs|ms|s) fused", log)
            seconds = {"µs": 1e-6, "ms": 1e-3, "s": 1}
            fused = sum(float(b) * seconds[unit_b] < float(a) * seconds[unit_a] for a, unit_a, b, unit_b in layers)
            if layers:
                text += f"; {fused} of {len(layers)} layers fused"
            rows.append((f"scoring, {name}", text))
    for own in json_lines(folder / "4-own-resnet34.log"):
        rows.append(("own network, resnet34", f"{own['images'] / own['seconds']:,.0f} images/s, images on the card"))
    for file, name in (("train-rate.csv", "training, first epochs"), ("training.csv", "training")):
        epoch = last_epoch(folder / file)
        if epoch:
            rows.append((name, f"{float(epoch['images_per_second']):,.0f} images/s, {float(epoch['seconds']):.1f} s an epoch, "
                         f"epoch {epoch['epoch']}, validation accuracy {float(epoch['validation_accuracy']):.4f}"))
    for evaluation in json_lines(folder / "5-evaluate.log"):
        in_dist, ood = evaluation["in_dist"], evaluation["ood"][0]["scores"]
        rows.append(("accuracy", f"{in_dist['accuracy']['value']:.4f}"))
        rows.append(("ECE", f"{in_dist['ece']['value']:.4f}"))
        rows.append(("AUROC", ", ".join(f"{score} {figures['auroc']:.4f}" for score, figures in ood.items())))
    stages = (folder / "stages.tsv").read_text().split("\n") if (folder / "stages.tsv").exists() else []
    failed = [line.split("\t") for line in stages if line and line.split("\t")[1] != "0"]
    rows.append(("stages that failed", ", ".join(f"{name} ({code})" for name, code, _ in failed) or "none"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name.ljust(width)}  {value}")
    (folder / "table.json").write_text(json.dumps(dict(rows), indent=1))


if __name__ == "__main__":
    main()
