"""Audits of datasets."""

import html
import json
import os
from collections.abc import Sequence
from pathlib import Path

from dismax import _native
from dismax._arguments import paths, words
from dismax._errors import DataError
from dismax._gate import Gate, check
from dismax._progress import bar


class Audit:
    """What an audit found: a folder of three files.

    ``summary`` has the figures as a dict, ``findings`` one row per finding as a relation (file, row, kind, severity, score,
    evidence and more), ``report`` is the path of a page that needs no other file and no network. ``gate`` has the rules that
    the audit was made with (``fail_on``); none without.
    """

    def __init__(self, path):
        """Opens the folder of an audit."""
        self.path = Path(path)
        try:
            self.summary = json.loads((self.path / "summary.json").read_text())
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: is no audit: {error}") from error
        self.gate: "Gate | None" = None

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def findings(self) -> "_native.Relation":
        """One row per finding; its columns file and row join it to the data."""
        return _native.read(self.path / "findings.parquet")

    @property
    def kinds(self) -> dict:
        """Number of findings of each kind that was found."""
        return {kind: count for kind, count in self.summary["kinds"].items() if count}

    def check(
        self,
        fail_on: "str | Sequence[str]" = (),
        *,
        accept: "_native.Path | Sequence[_native.Path]" = (),
        baseline: "_native.Path | None" = None,
    ) -> Gate:
        """Counts the findings under rules, without looking at the images again.

        The arguments are those of ``audit``; acceptances and earlier audit are those with which this one was made unless given.
        Without rules, ``Gate.kinds`` says what counts.
        """
        return check(self.path, fail_on, accept, baseline)

    def __repr__(self) -> str:
        rows, findings = self.summary["rows"], self.summary["findings"]
        return f"<dismax.Audit {self.path}: {findings:,} findings in {rows:,} rows>"

    def _repr_html_(self) -> str:
        summary = self.summary
        rows = [
            ("rows", f"{summary['rows']:,}, {summary['scored']:,} scored"),
            ("findings", f"{summary['findings']:,} in {summary['rows_with_findings']:,} rows"),
        ]
        rows += [(kind.replace("_", " "), f"{count:,}") for kind, count in self.kinds.items()]
        share = (summary["unknown"] or {}).get("out_of_distribution")
        if share:
            lower, upper = share["interval"]["lower"], share["interval"]["upper"]
            rows.append(("unknown by estimate", f"{share['value']:.1%} of the rows (95 %: {lower:.1%} to {upper:.1%})"))
        if summary.get("calibration"):
            rows.append(("ECE", f"{summary['calibration']['ece']['value']:.4f}"))
        rows += [("warning", warning) for warning in summary["warnings"]]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in rows
        )
        report = html.escape(os.path.relpath(self.report))
        return f"<table>{cells}</table><p><a href='{report}' target='_blank'>{report}</a></p>"


def audit(
    data: "_native.Data",
    model: "_native.Model | None" = None,
    *,
    out: "str | os.PathLike[str]",
    label: "str | None" = None,
    reference: "_native.Data | None" = None,
    unknown: "_native.Data | None" = None,
    marks: "_native.Path | Sequence[_native.Path]" = (),
    image: "str | None" = None,
    group_by: "str | Sequence[str]" = (),
    time: "str | None" = None,
    fdr: float = 0.05,
    top: int = 24,
    fail_on: "str | Sequence[str]" = (),
    accept: "_native.Path | Sequence[_native.Path]" = (),
    baseline: "_native.Path | None" = None,
    rows: "_native.Path | None" = None,
    history: "_native.Path | None" = None,
    overwrite: bool = False,
    on_bad_file: str = "fail",
    progress: "bool | None" = None,
) -> Audit:
    """Looks at every image once and says what is wrong with the dataset.

    Unknown images, labels that are probably wrong, broken and odd files, exact and near duplicates, drift, calibration, and
    groups of rows in which such findings pile up.

    Parameters
    ----------
    data
        As for ``Model.score``.
    model : Model, optional
        Without one, only what the images themselves show is reported: broken and odd files, duplicates, leaks.
    out : str or os.PathLike
        The folder to write: ``report.html``, ``findings.parquet``, ``summary.json``. It appears when the audit is complete.
    label : str, optional
        Label column; the one with a usual name unless given, and no labels where there is none.
    reference : optional
        Data to compare with, as ``data``: for drift, and for images that are in both.
    unknown : optional
        Examples of unknown images, as ``data``, to find more of their kinds. Needs a model.
    marks : str, os.PathLike or sequence of these
        Files of marks that reports exported: images that are marked as unknown are examples and findings, those that are
        marked as known are neither. Needs a model.
    image : str, optional
        Image column; needed only where several would do.
    group_by : str or sequence of str
        Columns whose values divide the rows into groups.
    time : str, optional
        Column of dates or timestamps; rows are grouped by day.
    fdr : float
        Accepted false discovery rate, in (0, 1), among unknown images, calibration gaps, drift tests and slices.
    top : int
        Most thumbnails of each kind in the report.
    fail_on : str or sequence of str
        Rules such as ``"leaked>0"``, ``"unknown>1%"`` or ``"label_issue:high>=10"``: a kind of findings, ``"broken"``
        (undecodable, truncated, empty) or ``"any"``, then ``>`` or ``>=``, then a number of findings or a percentage of the
        rows. ``Audit.gate`` says which are broken; nothing is raised for them before ``Audit.gate.raise_for_failure()``.
    accept : str, os.PathLike or sequence of these
        Files of accepted findings, which do not count: CSV with the columns ``image_digest`` and ``kind``, and ``who``,
        ``why`` and ``until`` (YYYY-MM-DD) where you like, or marks that a report exported.
    baseline : str or os.PathLike, optional
        The folder of an earlier audit: its findings do not count again.
    rows : str or os.PathLike, optional
        A Parquet or Arrow file to write with every row's measures: size, format, light, contrast, sharpness, colour,
        perceptual hash, prediction, confidence, p-value, label probability.
    history : str or os.PathLike, optional
        A folder whose ``history.jsonl`` gets a line about the audit; the report draws the audits before it.
    overwrite : bool
        Whether an audit at ``out`` and a file at ``rows`` are replaced.
    on_bad_file : str
        ``"fail"``, or ``"skip"`` to leave out what cannot be read of damaged files.
    progress : bool, optional
        Whether a bar is shown; in terminals and notebooks unless given.

    Returns
    -------
    Audit
    """
    given = {
        "reference": reference,
        "unknown": unknown,
        "marks": paths(marks),
        "label": label,
        "image": image,
        "group_by": [group_by] if isinstance(group_by, str) else list(group_by),
        "time": time,
        "fdr": fdr,
        "top": top,
        "fail_on": words(fail_on),
        "accept": paths(accept),
        "baseline": baseline,
        "rows": None if rows is None else os.fspath(rows),
        "history": history,
        "overwrite": overwrite,
        "on_bad_file": on_bad_file,
        "command": f"dismax.audit(..., out={os.fspath(out)!r})",
    }
    shown = bar(progress)
    try:
        _native._audit(data, model, os.fspath(out), given, shown)
    finally:
        if shown is not None:
            shown.close()
    made = Audit(out)
    if given["fail_on"]:
        made.gate = made.check(given["fail_on"])
    return made
