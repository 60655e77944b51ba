"""The README and the pages of docs: their Python code runs, and their links lead on.

The blocks of a page run in order, in one namespace and an empty directory, as if a
reader pasted them one after the other. What needs more than this machine is fenced as
`py` instead of `python`: it is shown, and not run.
"""

import os
import re
import sys
import types
import warnings
from pathlib import Path
from unittest.mock import patch

import pytest
import sklearn

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)


def blocks(path):
    """Yield the Python blocks of a page, each after as many lines as precede it."""
    text = path.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        yield "\n" * text.count("\n", 0, found.start(1)) + found[1]


def anchors(path):
    """Return the names by which the headings of a page are linked to."""
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@page
def test_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A reader's code is the main module: pickles look there for its functions.
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    with (
        sklearn.config_context(),
        warnings.catch_warnings(),
        patch.dict(os.environ),  # Dask leaves its workers' OMP_NUM_THREADS=1 in it.
    ):
        for block in blocks(page):
            exec(compile(block, page, "exec"), vars(main))


@page
def test_links_lead_to_files_and_headings(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not heading or heading in anchors(target), link


def test_the_index_leads_to_every_page():
    index = ROOT / "docs" / "index.md"
    linked = set(LINK.findall(index.read_text(encoding="utf-8")))
    assert {p.name for p in index.parent.glob("*.md")} - {index.name} <= linked
