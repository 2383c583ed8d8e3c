"""Print the page of the tables in docs/results; with ``--write`` put it into docs/lab-results.md, with pictures.

python scripts/lab_results.py [--write] [FOLDER ...]

Each FOLDER is one that a command of ``basereward lab`` wrote; its table goes to docs/results/NAME.json first.
"""

import sys
from pathlib import Path

from basereward.data.io import read_json, write_json
from basereward.lab.catalog import TABLES, Stopped, tables_page
from basereward.lab.tables import LabTable, read_table, table_page
from basereward.reporting.documents import to_markdown_page

DOCS = Path(__file__).parents[1] / "docs"
RESULTS = DOCS / "results"
PAGE = DOCS / "lab-results.md"


def stored_tables() -> dict[str, LabTable]:
    """Return the tables of docs/results by name, in the order of the registry."""
    files = {name: RESULTS / f"{name}.json" for name in TABLES.names()}
    return {name: LabTable.model_validate(read_json(file)) for name, file in files.items() if file.is_file()}


def render(tables: dict[str, LabTable]) -> str:
    """Return the page; a picture stands under the title of each table's results."""
    text = to_markdown_page(tables_page(tables, Stopped({}, [])))
    for name, table in tables.items():
        title = f"## {name} ({table.source}): results\n"
        assert title in text, title
        text = text.replace(title, f"{title}\n![Dots are seeds, lines their means](results/{name}.svg)\n")
    return text


def main() -> None:
    """Print or write the page."""
    for folder in map(Path, (word for word in sys.argv[1:] if word != "--write")):
        table = read_table(folder)
        write_json(RESULTS / f"{table.name}.json", table.model_dump(mode="json"))
    tables = stored_tables()
    if "--write" in sys.argv[1:]:
        PAGE.write_text(render(tables), encoding="utf-8")
        for name, table in tables.items():
            (RESULTS / f"{name}.svg").write_text(table_page(table).sections[0].svg, encoding="utf-8")
    else:
        print(render(tables), end="")


if __name__ == "__main__":
    main()
