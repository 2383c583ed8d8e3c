"""docs/objectives.md and docs/options.md: their blocks are parts of recipes that run, their names those of the code."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from basereward.training.listwise import Listwise
from basereward.training.objectives import BradleyTerry
from basereward.training.options import OptimizerRecipe
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.run import train

DOCS = Path(__file__).parents[2] / "docs"
OBJECTIVES, OPTIONS = ((DOCS / f"{name}.md").read_text() for name in ("objectives", "options"))
ROWS = [
    {"prompt": f"What is {number} + 1?", "responses": ["Nothing.", f"{number + 1}", "One"], "scores": [0, 2, 1]}
    for number in range(8)
]


def blocks(page: str) -> list[dict[str, Any]]:
    """The YAML blocks of a page, the only ones that it has."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in found} == {"yaml"}
    return [yaml.safe_load(text) for _, text in found]


def test_objectives_are_read_as_the_page_has_them(make_recipe: Callable, tmp_path: Path) -> None:
    path = tmp_path / "rankings.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    kinds = []
    for block in blocks(OBJECTIVES):
        data = block.pop("data", {}) | {"train": [str(path)]}
        recipe = make_recipe(data=data, **block)
        assert len(prepare_data(recipe, prepare_template(recipe)).train.pairs) == 24
        kinds.append((recipe.objective.kind, next(iter(block["objective"]))))
    assert kinds == [("bradley_terry", "ratings"), ("bradley_terry", "flipped"), ("listwise", "kind")]


def test_options_train_as_the_page_has_them(
    make_recipe: Callable, world: Any, read_metrics: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    parts, validated = blocks(OPTIONS)
    for name in ("validation.parquet", "charts.parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS[:2]), name)
    model, optimizer = parts["model"] | {"backbone": str(world.backbone)}, parts["optimizer"] | {"max_steps": 1}
    data = validated["data"] | {"train": [str(world.train)]}
    facts = train(make_recipe(model=model, optimizer=optimizer, data=data, run=validated["run"]), Path("run")).facts
    lines = read_metrics(Path("run"))
    assert facts["best"] == {"step": 1, "accuracy": lines[-2]["eval_charts_accuracy"]}
    assert {"eval_accuracy", "eval_charts_accuracy"} <= lines[-2].keys()
    assert (lines[0]["learning_rate_head"], lines[0]["learning_rate"]) == (1e-4, 3e-6)


def test_names_are_those_of_the_code() -> None:
    fields = OptimizerRecipe.model_fields
    table = {row[1]: row[2] for row in re.finditer(r"^\| `optimizer\.(.*?)` *,?.*?\| (.*) \|$", OPTIONS, re.MULTILINE)}
    for key, text in table.items():
        assert key.partition("`")[0] in fields
        if key in ("schedule", "algorithm"):
            assert tuple(re.findall(r"`([a-z]\w+)`", text)) == get_args(fields[key].annotation)
    assert {"schedule", "algorithm"} < table.keys()
    forms = re.findall(r"^\| `(\w+)` \| ", OBJECTIVES.partition("loss of a ranking")[2], re.MULTILINE)
    assert tuple(forms) == get_args(Listwise.model_fields["form"].annotation)
    named = re.findall(r"`objective\.(\w+)`", OBJECTIVES)
    assert set(named) - {"kind"} <= set(BradleyTerry.model_fields) | set(Listwise.model_fields)
