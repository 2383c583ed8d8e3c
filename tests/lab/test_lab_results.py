"""docs/lab-results.md says what the tables in docs/results say."""

import importlib.util
from pathlib import Path

from basereward.lab import tables as tables_module

ROOT = Path(__file__).parents[2]


def test_the_page_is_that_of_the_committed_tables(monkeypatch):
    # Pictures are no part of the text.
    monkeypatch.setattr(tables_module, "seed_dots", lambda *_: b"")
    spec = importlib.util.spec_from_file_location("lab_results", ROOT / "scripts" / "lab_results.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    tables = script.stored_tables()
    assert script.PAGE.read_text(encoding="utf-8") == script.render(tables), "run scripts/lab_results.py --write"
    assert all((script.RESULTS / f"{name}.svg").is_file() for name in tables)
