"""Whether a pipeline goes on: rules for the findings of an audit."""

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

from dismax import _native
from dismax._arguments import paths, words
from dismax._errors import GateError


@dataclass(frozen=True)
class RuleResult:
    """A rule, and what was counted under it."""

    rule: str
    """As it was given, such as ``leaked>0``."""
    passed: bool
    """Whether it is kept."""
    findings: int
    """Findings that count."""
    rows: int
    """Rows with such a finding."""
    share: float
    """Their share of all rows, in [0, 1]."""
    examples: list[dict]
    """The first of the findings: ``kind``, ``file``, ``row``, ``path``, ``evidence``."""
    sentence: str
    """``broken: leaked>0: 12 findings in 12 rows (20.0 %)``, or ``passed: ...``."""

    def __str__(self) -> str:
        return self.sentence


class Gate:
    """The findings of an audit under rules.

    ``rules`` has a ``RuleResult`` for each rule, ``kinds`` for each kind that was found how many findings there are, how many
    of them are new, accepted, and count, and ``expired`` the acceptances whose time is over. ``markdown`` and ``junit`` are
    the outcome as text, for a pull request and for a build server.
    """

    def __init__(self, outcome: "tuple[str, list[str], str, str]"):
        report, sentences, self.markdown, self.junit = outcome
        report = json.loads(report)
        names = ("rule", "findings", "rows", "share", "examples")
        self.rules = [
            RuleResult(**{name: result[name] for name in names}, passed=not result["broken"], sentence=sentence)
            for result, sentence in zip(report["rules"], sentences)
        ]
        self.kinds: dict[str, dict] = {kind.pop("kind"): kind for kind in report["kinds"]}
        self.expired: list[dict] = report["expired"]

    @property
    def passed(self) -> bool:
        """Whether no rule is broken."""
        return all(result.passed for result in self.rules)

    @property
    def broken(self) -> "list[RuleResult]":
        """The broken rules."""
        return [result for result in self.rules if not result.passed]

    def raise_for_failure(self) -> None:
        """Raises ``dismax.GateError`` if a rule is broken; its ``gate`` is this one."""
        if not self.passed:
            raise GateError("; ".join(result.sentence for result in self.broken), self)

    def __repr__(self) -> str:
        outcome = "passed" if self.passed else f"{len(self.broken)} broken"
        return f"<dismax.Gate of {len(self.rules)} rules: {outcome}>"

    def _repr_html_(self) -> str:
        lines = "".join(f"<li>{html.escape(result.sentence)}</li>" for result in self.rules)
        return f"<ul>{lines}</ul>"


def check(
    audit: "str | os.PathLike[str]",
    rules: "str | Sequence[str]",
    accept: "_native.Path | Sequence[_native.Path]",
    baseline: "_native.Path | None",
) -> Gate:
    """The rules on the audit in a folder."""
    return Gate(_native._gate(os.fspath(audit), words(rules), paths(accept), baseline))
