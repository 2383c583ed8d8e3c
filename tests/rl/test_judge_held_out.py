"""What a judge's answers on held-out pairs come to, whatever the pairs are called."""

import pytest
import torch

from basereward.data.progress import no_progress
from basereward.errors import CheckpointError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.facts import JudgeRole
from basereward.rl.held_out import Answer, generate_answers
from basereward.rl.judge_held_out import summarize_verdicts

# The verdicts on a pair with its chosen response first, and with its rejected response first.
SAID = [("1", "2"), ("1", "1"), ("2", "1"), ("1", None)]


def answers(names):
    return [
        Answer(
            id=name,
            source="s",
            answer=right,
            response="",
            extracted=said,
            strict=said == right,
            matched=said == right,
            truncated=False,
        )
        for name, own in zip(names, SAID, strict=True)
        for right, said in zip("12", own, strict=True)
    ]


@pytest.mark.parametrize("names", ["abcd", "aabb", "aaaa"])
def test_rates_are_of_pairs_and_not_of_ids(names):
    found = summarize_verdicts(answers(names))
    assert (found.prompts, found.matched) == (8, 0.5)
    assert (found.orders.pairs, found.orders.consistent) == (4, 0.5)
    assert (found.orders.first, found.orders.unparsable) == (5 / 7, 1 - 7 / 8)
    assert found.interval == summarize_verdicts(answers("abcd")).interval


def test_a_policy_without_numbers_is_broken_and_not_wrong(text_backbone, make_group, tmp_path):
    model = new_reward_model(text_backbone, role=JudgeRole(prompt="digit", max_tokens=2))
    with torch.no_grad():
        model.lm_head.weight.fill_(torch.nan)
    folder = save_reward_model(model, tmp_path / "broken")
    with pytest.raises(CheckpointError, match="2 of 2 answers"):
        generate_answers(folder, [make_group("a", []), make_group("b", [])], 2, "cpu", None, no_progress)
