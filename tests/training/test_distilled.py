"""Training on what a judge prefers: the weights that ``data distill`` writes are those of the loss."""

import json
from itertools import pairwise

import pytest
import torch

from basereward.data.annotations import weight_of
from basereward.data.outcomes import About, Verdict
from basereward.data.pairs import load_pairs
from basereward.scoring.annotation.preferences import PreferenceTask
from basereward.scoring.annotation.run import annotate
from basereward.training.losses import bradley_terry
from basereward.training.prepare import prepare_model
from basereward.training.run import train


class Unsure:
    """A judge that prefers the second half of the alphabet, more surely the longer a response is."""

    about = About("unsure", sees_images=False, identity={"prompt": "digit"})

    def compare(self, questions):
        return [self._answer(*(side[0].text for side in own.responses)) for own in questions]

    def _answer(self, first, second):
        share = 0.5 + (0.06 * max(len(first), len(second))) * (1 if first > second else -1)
        return Verdict(0 if share > 0.5 else 1, "said", probabilities=(share, 1 - share), mass=1.0)


def test_the_loss_of_a_step_is_weighted_by_how_sure_the_judge_was(make_recipe, text_backbone, tmp_path):
    words = ["ant", "zebra", "bee", "yak", "cow", "xerus", "dog"]
    rows = [
        {"id": str(n), "prompt": f"Which animal, {n}?", "chosen": one, "rejected": other}
        for n, (one, other) in enumerate(pairwise(words))
    ]
    source = tmp_path / "pairs.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    annotate(Unsure(), PreferenceTask(), str(source), tmp_path / "distilled")
    recipe = make_recipe(
        model={"backbone": str(text_backbone)},
        data={"train": [str(tmp_path / "distilled")]},
        optimizer={"pairs_per_step": len(rows), "epochs": 1, "max_steps": 1},
    )
    pairs = load_pairs([tmp_path / "distilled"]).pairs
    assert [pair.chosen[0].text for pair in pairs] == ["zebra", "zebra", "yak", "yak", "xerus", "xerus"]
    weights = torch.tensor([weight_of(pair) for pair in pairs])
    assert len(set(weights.tolist())) > 1
    model = prepare_model(recipe).eval()
    asked = [[pair.chosen[0].text, pair.rejected[0].text] for pair in pairs]
    rewards = [model.score(pair.prompt[0].text, responses=own) for pair, own in zip(pairs, asked, strict=True)]
    terms = bradley_terry(*torch.tensor(rewards).unbind(1))
    train(recipe, tmp_path / "run")
    [line, *_] = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["loss"] == pytest.approx(float((weights * terms).mean()), rel=1e-4)
    assert float((weights * terms).mean()) != pytest.approx(float(terms.mean()), rel=0.1)
