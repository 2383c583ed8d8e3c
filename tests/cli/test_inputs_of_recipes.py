"""What ``train`` says where an installed recipe's inputs are not made yet."""

import pytest


@pytest.mark.parametrize("copied", [False, True])
def test_a_recipe_without_its_inputs_names_the_commands_that_make_them(command, tmp_path, copied):
    if copied:
        assert command("init", "tiny").code == 0
    ended = command("train", "tiny.yaml" if copied else "tiny", "--plan")
    assert ended.code == 1
    assert "  basereward lab backbone --out runs/tiny-backbone" in ended.err
    assert "  basereward lab world --out runs/world/train.parquet --pairs 20000 --seed 0" in ended.err


def test_what_is_there_already_is_not_named(command, tmp_path):
    (tmp_path / "runs" / "tiny-backbone").mkdir(parents=True)
    ended = command("train", "tiny", "--resume")
    assert ended.code == 1
    assert "lab backbone" not in ended.err


def test_a_recipe_that_names_no_commands_keeps_its_error(command, tiny, tmp_path):
    ended = command("train", tiny.recipe, "data.train=none.jsonl")
    assert ended.code == 1
    assert "none.jsonl does not exist" in ended.err
    assert "what makes its inputs" not in ended.err
