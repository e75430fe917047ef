"""Rules for findings, what does not count under them, and files beside an audit, as the command has them."""

import json

import pyarrow.parquet as pq
import pytest
from conftest import MIXED, run_command

import dismax


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """An audit of the digits: six broken images, two blurred ones."""
    folder = tmp_path_factory.mktemp("gate")
    return dismax.audit(MIXED, out=folder / "audit", rows=folder / "rows.parquet", history=folder / "history")


def accept(path, audit, kind, until=""):
    """A file that accepts all findings of a kind."""
    digests = {row["image_digest"] for row in audit.findings.where(f"kind = '{kind}'").to_arrow().to_pylist()}
    lines = [f"{digest},{kind},Ann,{until}" for digest in sorted(digests)]
    path.write_text("\n".join(["image_digest,kind,who,until", *lines, ""]))
    return path


def test_rules_are_those_of_the_command(tmp_path):
    rules = "broken>0,blurred>50%,any:high>=6"
    audit = dismax.audit(MIXED, out=tmp_path / "audit", fail_on=(rule for rule in rules.split(",")))
    files = ["--markdown", tmp_path / "audit.md", "--junit", tmp_path / "audit.xml"]
    done = run_command("--quiet", "audit", "--gate", audit.path, "--fail-on", rules, "--json", *files)
    assert done.returncode == 5
    expected = json.loads(done.stdout)["gate"]
    gate = audit.gate
    assert [result.rule for result in gate.rules] == rules.split(",")
    for result, by_command in zip(gate.rules, expected["rules"]):
        assert result.passed != by_command["broken"]
        for name in ("rule", "findings", "rows", "share", "examples"):
            assert getattr(result, name) == by_command[name]
    assert [(kind, found["findings"]) for kind, found in gate.kinds.items()] == list(audit.kinds.items())
    assert (gate.markdown, gate.junit) == ((tmp_path / "audit.md").read_text(), (tmp_path / "audit.xml").read_text())

    assert not gate.passed and [result.rule for result in gate.broken] == ["broken>0", "any:high>=6"]
    assert all(f"dismax: {result}" in done.stderr for result in gate.broken)
    assert "2 broken" in repr(gate) and "<li>broken: broken&gt;0: 6 findings" in gate._repr_html_()
    with pytest.raises(dismax.GateError, match=r"^broken: broken>0: 6 findings in 6 rows .*; broken: any:high>=6") as raised:
        gate.raise_for_failure()
    assert raised.value.gate is gate

    kept = audit.check(["blurred>50%", "truncated>=3"])
    assert kept.passed and kept.broken == []
    kept.raise_for_failure()
    assert dismax.Audit(audit.path).gate is None


def test_accepted_and_earlier_findings_do_not_count(first, tmp_path):
    files = [accept(tmp_path / "blurred.csv", first, "blurred"), accept(tmp_path / "over.csv", first, "empty", "2020-01-01")]
    accepted = dismax.audit(MIXED, out=tmp_path / "accepted", fail_on=["blurred>0", "empty>0"], accept=files)
    assert [(result.findings, result.passed) for result in accepted.gate.rules] == [(0, True), (2, False)]
    assert accepted.gate.kinds["blurred"]["accepted"] == 2 and {entry["kind"] for entry in accepted.gate.expired} == {"empty"}
    # The audit keeps what was accepted; another file takes its place.
    assert accepted.check("blurred>0").passed and not accepted.check("blurred>0", accept=files[1]).passed
    assert not first.check("blurred>0").passed and first.check("blurred>0", accept=files[0]).passed

    later = dismax.audit(MIXED, out=tmp_path / "later", fail_on="any>0", baseline=first.path)
    assert later.gate.passed and {kind["new"] for kind in later.gate.kinds.values()} == {0}
    assert later.summary["review"]["baseline"] == str(first.path)
    assert first.check("any>0", baseline=first.path).passed


def test_files_beside_an_audit(first, tmp_path):
    folder = first.path.parent
    rows = pq.read_table(folder / "rows.parquet")
    assert rows.num_rows == first.summary["rows"] and {"light", "sharpness", "image_digest"} <= set(rows.column_names)
    assert len((folder / "history" / "history.jsonl").read_text().splitlines()) == 1
    with pytest.raises(dismax.OutputError, match="rows.parquet.*overwrite=True"):
        dismax.audit(MIXED, out=tmp_path / "audit", rows=folder / "rows.parquet", history=folder / "history")
    again = dismax.audit(MIXED, out=first.path, rows=folder / "rows.parquet", history=folder / "history", overwrite=True)
    lines = [json.loads(line) for line in (folder / "history" / "history.jsonl").read_text().splitlines()]
    assert [line["findings"] for line in lines] == [again.summary["findings"]] * 2


def test_rules_that_cannot_be_used_are_refused_before_the_work(digits, tmp_path):
    def refused(error, match, model=None, **options):
        with pytest.raises(error, match=match):
            dismax.audit(MIXED, model, out=tmp_path / "audit", **options)
        assert not list(tmp_path.iterdir())

    refused(dismax.UsageError, r'"leakd": the kinds are unknown, .* and any', fail_on="leakd>0")
    refused(ValueError, 'rule "leaked": write a kind, > or >=', fail_on=["broken>0", "leaked"])
    refused(dismax.UsageError, "leaked is not looked for without a reference; audit with reference=DATA", fail_on="leaked>0")
    refused(dismax.UsageError, "unknown is not looked for without a model; audit with a model", fail_on="unknown>1%")
    refused(dismax.UsageError, "leaked_near is not looked for", digits, fail_on="any>0,leaked_near>0")
    refused(dismax.DataError, "nowhere.csv", accept=tmp_path / "nowhere.csv")
    refused(dismax.DataError, "nowhere", baseline=tmp_path / "nowhere")
    refused(dismax.UsageError, 'group column: .*"camera".*; group_by names', group_by="camera")


def test_a_file_of_acceptances_is_looked_at_line_by_line(first, tmp_path):
    (tmp_path / "accepted.csv").write_text("image_digest,kind\nabc,empty\n")
    with pytest.raises(dismax.DataError, match='accepted.csv, line 2: "abc" is no digest'):
        first.check("empty>0", accept=tmp_path / "accepted.csv")
