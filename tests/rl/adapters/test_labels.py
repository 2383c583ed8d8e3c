"""Prompts by id: what a framework that hands on a label alone can be given back."""

import json

import pytest

from basereward.errors import RewardError
from basereward.rl.adapters.labels import PromptTable, require_prompt


@pytest.fixture
def prompts(tmp_path, picture):
    """A file of two prompts with images beside it."""
    for seed in range(2):
        picture(seed=seed).save(tmp_path / f"{seed}.png")
    rows = [{"id": f"p{n}", "prompt": f"Q{n}", "images": [f"{n}.png"], "answer": f"a{n}"} for n in range(2)]
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_label_is_an_id_or_an_object_with_one(prompts):
    table = PromptTable(prompts)
    expected = ("Q1", "said", [str(prompts.parent / "1.png")], "a1")
    for label in ("p1", {"id": "p1"}, json.dumps({"id": "p1"})):
        row = table.rollout(label, "said")
        assert (row.prompt, row.response, row.images, row.answer) == expected
    assert table.rollout({"id": "p1", "answer": "other"}, "said").answer == "other"


def test_without_a_table_a_label_is_the_right_answer():
    table = PromptTable()
    assert table.rollout("{1, 2}", "said").answer == "{1, 2}"
    row = table.rollout({"question": "Q?", "image": {"bytes": b"x"}, "answer": 3}, "said")
    assert (row.prompt, row.images, row.answer) == ("Q?", [{"bytes": b"x"}], 3)


def test_what_a_table_does_not_hold_is_refused(prompts):
    with pytest.raises(RewardError, match="no id 'p7'"):
        PromptTable(prompts).rollout("p7", "said")
    with pytest.raises(RewardError, match="needs one of its own"):
        PromptTable([{"id": "p", "prompt": "Q"}, {"id": "p", "prompt": "R"}])
    with pytest.raises(RewardError, match="id None"):
        PromptTable([{"prompt": "Q"}])


def test_a_model_needs_the_prompt_and_its_image(prompts):
    row = PromptTable(prompts).rollout("p0", "said")
    assert require_prompt(row, True, None) is row
    blind = PromptTable().rollout({"prompt": "Q"}, "said")
    assert require_prompt(blind, False, None) is require_prompt(blind, True, False) is blind
    with pytest.raises(RewardError, match="no image and the model looks at images"):
        require_prompt(blind, True, None)
    with pytest.raises(RewardError, match="names no prompt"):
        require_prompt(PromptTable().rollout("a", "said"), False, None)
