"""What a training run takes from the card of the model that it started from."""

import pytest

from basereward.training.card import card_of_run, stated_licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\nA model.\n", "mit"),
        ("---\nlicense: other\nlicense_name: qwen\n---\n", "qwen"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("A model.\n", None),
        ("---\nlicense: 'mit\n---\n", None),
        ("---\n- mit\n---\n", None),
    ],
)
def test_a_card_that_cannot_be_read_costs_no_model(text, licence, tmp_path):
    (tmp_path / "README.md").write_text(text)
    assert stated_licence(str(tmp_path)) == licence


@pytest.mark.parametrize("text", ["backbone: 7\n", "of_a_later_version: 1\n", "backbone: 'a\n", "- a\n"])
def test_a_card_of_another_version_costs_no_model(text, make_recipe, tmp_path, caplog):
    (tmp_path / "card.yaml").write_text(text)
    recipe = make_recipe(model={"init_from": str(tmp_path), "backbone": None})
    facts = card_of_run(recipe, pairs=3, steps=2, drops={})
    assert (facts.backbone, facts.run.steps) == (tmp_path.name, 2)
    assert "card.yaml is not read" in caplog.text
