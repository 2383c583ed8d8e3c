"""``basereward card``: as the guide says, of a trained model and evaluations of it."""

import shlex
import shutil
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"


def test_results_are_added_as_the_guide_says(command, tiny):
    guide = (Path(__file__).parents[2] / "docs" / "checkpoints.md").read_text()
    alone, named = (
        shlex.split(line, comments=True)[1:] for line in guide.splitlines() if line.startswith("basereward card runs/")
    )
    model = Path(alone[1])
    shutil.copytree(tiny.model, model)
    before = (model / "README.md").read_text()
    assert "Recipe `tiny`, seed 0" in before
    asked = {named[3]: "rewardbench2", named[5]: "judgebench", str(model.parent / "eval"): "rewardbench"}
    for place, bench in asked.items():
        ended = command("eval", model, "--bench", bench, "--data-root", FIXTURES, "--out", place, "--device", "cpu")
        assert ended.code == 0
    assert command(*alone).out.splitlines() == [str(model / "README.md")]
    found = command(*named, "--json").json
    assert sorted({own["benchmark"] for own in found["results"]}) == sorted(asked.values())
    assert found["left_out"] == []
    assert "| judgebench | official | accuracy |" in (model / "README.md").read_text()


def test_what_is_no_checkpoint_is_named(command):
    ended = command("card", "nothing")
    assert (ended.code, ended.out) == (1, "")
    assert "no folder nothing" in ended.err
