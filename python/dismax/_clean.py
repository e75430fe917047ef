"""Audited datasets without what was found."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from dismax import _native
from dismax._arguments import paths, words
from dismax._audit import Audit
from dismax._progress import bar


@dataclass(frozen=True)
class Cleaning:
    """How many rows are kept and removed."""

    rows: int
    """Rows of the audit."""
    kept: int
    """Those that are kept."""
    removed: int
    """Those that are removed."""
    by_kind: dict[str, int]
    """Removed rows by the kind of a finding that removes them. A row with findings of several kinds counts for each."""
    sets: int
    """Sets of duplicates of which one row stays."""


def clean(
    audit: "Audit | _native.Path",
    *,
    keep: "_native.Path | None" = None,
    removed: "_native.Path | None" = None,
    drop: "str | Sequence[str]" = "broken",
    keep_one: "str | Sequence[str]" = (),
    accept: "_native.Path | Sequence[_native.Path]" = (),
    data: "_native.Data | None" = None,
    image: "str | None" = None,
    read_paths: bool = False,
    prefix: str = "",
    dry_run: bool = False,
    overwrite: bool = False,
    on_bad_file: str = "fail",
    progress: "bool | None" = None,
) -> Cleaning:
    """Divides an audited dataset into the rows to keep and the others.

    The audited rows are read again. Both files together hold all of them, in their order and with their columns, and appear
    together; nothing is changed where it lies.

    Parameters
    ----------
    audit : Audit, str or os.PathLike
        The audit, or its folder.
    keep, removed : str or os.PathLike
        The files for the rows that are kept and for those that are removed. Removed rows get columns that say why:
        ``removed_kinds`` and ``removed_evidence`` (lists), and for copies ``kept_file`` and ``kept_row``, the row that stays.
    drop : str or sequence of str
        Rows with these findings are removed: kinds, ``"broken"`` (undecodable, truncated, empty) or ``"any"``; ``()`` for
        none. A severity behind a colon stands for itself and the more serious ones: ``"label_issue:high"``.
    keep_one : str or sequence of str
        ``"exact_duplicate"``, ``"near_duplicate"`` or both: of each set of duplicates the first row stays. Rows are of one set
        where a chain of such findings leads from one to the other.
    accept : str, os.PathLike or sequence of these
        Files of accepted findings, which remove nothing; those that the audit was told of unless given.
    data : optional
        The audited rows, in the same order, as for ``audit``: where the files have other names by now, and for tables.
    image : str, optional
        Image column, where the audit was told of it.
    read_paths : bool
        Whether the image files that rows name are opened, as for the ``Model`` that the audit used.
    prefix : str
        Goes in front of the names of the columns that say why.
    dry_run : bool
        Whether rows are only counted, from the findings alone; ``keep`` and ``removed`` can be left out then.
    overwrite : bool
        Whether files at ``keep`` and ``removed`` are replaced.
    on_bad_file : str
        As for the audit.
    progress : bool, optional
        Whether a bar is shown; in terminals and notebooks unless given.

    Returns
    -------
    Cleaning
        The numbers.
    """
    if not dry_run and (keep is None or removed is None):
        raise TypeError("clean() needs keep and removed, the files to write, or dry_run=True")
    outputs = None if dry_run else (os.fspath(keep), os.fspath(removed))
    given = {
        "data": data,
        "drop": words(drop),
        "keep_one": words(keep_one),
        "accept": paths(accept),
        "image": image,
        "read_paths": read_paths,
        "prefix": prefix,
        "overwrite": overwrite,
        "on_bad_file": on_bad_file,
    }
    folder = audit.path if isinstance(audit, Audit) else audit
    shown = bar(progress)
    try:
        figures = _native._clean(os.fspath(folder), outputs, given, shown)
    finally:
        if shown is not None:
            shown.close()
    return Cleaning(**json.loads(figures))
