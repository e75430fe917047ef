"""The programs of the page and the notebook, as a reader runs them."""

import re
import runpy
import warnings

import nbclient
import nbformat
import pyarrow.parquet as pq
import pytest
from conftest import MIXED, ROOT

FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: [^\n]* -->\n```python\n.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["docs/python.md", "README.md", "python/README.md"])
def test_the_programs_of_a_page_run(page, tmp_path, monkeypatch):
    """One after the other, with the names of those before."""
    text = NOT_RUN.sub("", (ROOT / page).read_text())
    programs = FENCE.findall(text)
    assert programs
    for folder in ("models", "examples"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "photos").mkdir()
    for row in pq.read_table(MIXED).slice(0, 20).to_pylist():
        (tmp_path / "photos" / f"{row['id']}.png").write_bytes(row["image"]["bytes"] or b"")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.py").write_text("\n".join(programs))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        runpy.run_path("page.py")


def test_the_notebook_shows_what_it_says(tmp_path):
    notebook = nbformat.read(ROOT / "examples/python/audit.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept in the repository"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", [])]
    pages = "".join(data.get("text/html", "") for data in shown)
    assert pages.count("data:image/jpeg;base64,") == 6 and "report.html" in pages and "undecodable" in pages
    assert any("rows kept" in data.get("text/plain", "") for data in shown)
