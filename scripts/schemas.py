"""Print the JSON Schemas of the files of evaluations and audits; with ``--write`` put them into docs/schemas.

python scripts/schemas.py [--write]
"""

import json
import sys
from pathlib import Path

from basereward.evaluation.schemas import SCHEMAS, json_schema

FOLDER = Path(__file__).parents[1] / "docs" / "schemas"


def render(name: str) -> str:
    """Return the text of a published schema."""
    return json.dumps(json_schema(name), indent=2) + "\n"


def main() -> None:
    """Print or write all schemas."""
    for name in SCHEMAS:
        if "--write" in sys.argv[1:]:
            FOLDER.mkdir(exist_ok=True)
            (FOLDER / f"{name}.schema.json").write_text(render(name), encoding="utf-8")
        else:
            print(render(name), end="")


if __name__ == "__main__":
    main()
