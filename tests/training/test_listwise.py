"""Losses on rankings: closed forms, gradients, Bradley-Terry at two responses, and how pairs become rankings."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from basereward.data.schema import PreferencePair, messages_from_text
from basereward.errors import RecipeError
from basereward.training.collator import PreferenceCollator
from basereward.training.listwise import Listwise
from basereward.training.losses import best_of_ranking, bradley_terry, pairs_of_ranking, plackett_luce
from basereward.training.objectives import BradleyTerry
from basereward.training.prepare import prepare_data, prepare_template
from basereward.training.rankings import SharedPrompts, Sides, prompt_shares, ranking_tensors
from basereward.training.run import train

LOSSES = (plackett_luce, best_of_ranking, pairs_of_ranking)
FORMS = ("plackett_luce", "best", "pairwise")
# Two rankings: one of four responses with a tie in the middle, one of three with two best; members in no order.
RANKINGS = torch.tensor([(4, 1, 0), (0, 0, 1), (3, 0, 0), (6, 1, 1), (1, 0, 1), (2, 0, 2), (5, 1, 0)])


def by_hand(loss: Any, rewards: list[float], ranks: list[int]) -> float:
    """The definition, in plain numbers."""
    everyone = range(len(rewards))
    if loss is pairs_of_ranking:
        terms = [
            math.log(1 + math.exp(rewards[j] - rewards[i])) for i in everyone for j in everyone if ranks[i] < ranks[j]
        ]
    else:
        stages = [i for i in everyone if (ranks[i] == 0 if loss is best_of_ranking else ranks[i] < max(ranks))]
        left = [[j for j in everyone if loss is best_of_ranking or ranks[j] >= ranks[i]] for i in stages]
        terms = [
            math.log(sum(math.exp(rewards[j]) for j in own)) - rewards[i] for i, own in zip(stages, left, strict=True)
        ]
    return sum(terms) / len(terms)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_its_definition_and_its_gradient_that_of_finite_differences(loss: Any) -> None:
    rewards = torch.randn(7, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    values = rewards.tolist()
    expected = [
        by_hand(loss, [values[i] for i in (3, 0, 1, 2)], [0, 1, 1, 2]),
        by_hand(loss, [values[i] for i in (4, 5, 6)], [0, 0, 1]),
    ]
    torch.testing.assert_close(loss(rewards, RANKINGS), torch.tensor(expected, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda own: loss(own, RANKINGS), rewards)
    mixed = RANKINGS[torch.randperm(7, generator=torch.Generator().manual_seed(1))]
    torch.testing.assert_close(loss(rewards, mixed), loss(rewards, RANKINGS))
    torch.testing.assert_close(loss(rewards + 3, RANKINGS), loss(rewards, RANKINGS))


@pytest.mark.parametrize("loss", LOSSES)
def test_of_two_responses_each_is_bradley_terry(loss: Any) -> None:
    chosen, rejected = torch.tensor([[0.3, 1e4, -2.0], [1.0, 0.0, 1e4]], dtype=torch.float64)
    rankings = torch.tensor([(place, owner, place // 3) for owner in range(3) for place in (owner, owner + 3)])
    torch.testing.assert_close(loss(torch.cat([chosen, rejected]), rankings), bradley_terry(chosen, rejected))


def test_without_ties_plackett_luce_is_the_probability_of_the_order() -> None:
    rewards = torch.tensor([0.5, -1.0, 2.0, 0.1], dtype=torch.float64)
    total = 0.0
    for order in itertools.permutations(range(4)):
        rankings = torch.tensor([(response, 0, rank) for rank, response in enumerate(order)])
        total += math.exp(-3 * float(plackett_luce(rewards, rankings)))
    assert total == pytest.approx(1.0)


def pair(chosen: str, rejected: str, scores: tuple[float, ...], source: str = "s") -> PreferencePair:
    """A pair of responses told apart by one letter."""
    said = [messages_from_text(text, "assistant") for text in (chosen, rejected)]
    return PreferencePair(f"{chosen}{rejected}", source, messages_from_text("?"), *said, scores=scores)


def rank(pairs: list[PreferencePair]) -> tuple[list[set[tuple[str, int]]], list[int], list[bool]]:
    """The rankings of pairs by the letters of their responses."""
    letters = [own[0].text for one in pairs for own in (one.chosen, one.rejected)]
    sides = [Sides(2 * place, 2 * place + 1) for place in range(len(pairs))]
    found = ranking_tensors(pairs, sides, [ord(letter) for letter in letters])
    rankings: list[set[tuple[str, int]]] = [set() for _ in range(int(found["pair_rankings"].max()) + 1)]
    for response, owner, place in found["rankings"].tolist():
        rankings[owner].add((letters[response], place))
    assert sum(map(len, rankings)) == len(found["rankings"])
    return rankings, found["pair_rankings"].tolist(), found["unranked"].tolist()


def test_pairs_that_share_responses_are_one_ranking_with_ties() -> None:
    pairs = [pair("a", "b", (3, 1)), pair("a", "c", (3, 1)), pair("d", "c", (2, 1)), pair("x", "y", (9, 8))]
    ranked = {("a", 0), ("d", 1), ("b", 2), ("c", 2)}
    assert rank(pairs) == ([ranked, {("x", 0), ("y", 1)}], [0, 0, 0, 1], [False] * 4)
    assert rank(pairs[::-1]) == ([{("x", 0), ("y", 1)}, ranked], [0, 1, 1, 1], [False] * 4)


def test_what_has_no_single_order_stands_alone() -> None:
    alone = [{("a", 0), ("b", 1)}, {("c", 0), ("a", 1)}]
    # No scores; those of the wrong order; another score of the same response.
    for first in ((), (1, 3), (2, 2), (3, 1, 0)):
        assert rank([pair("a", "b", first), pair("c", "a", (4, 3))]) == (alone, [0, 1], [True, False])
    assert rank([pair("a", "b", (3, 1)), pair("c", "a", (4, 2))]) == (alone, [0, 1], [True, True])
    # Two sources have two scales.
    assert rank([pair("a", "b", (3, 1)), pair("c", "a", (400, 200), "t")]) == (alone, [0, 1], [False, False])
    # A cycle without scores is its pairs.
    assert rank([pair("a", "b", ()), pair("b", "a", ())])[0] == [{("a", 0), ("b", 1)}, {("b", 0), ("a", 1)}]


@pytest.mark.parametrize("form", FORMS)
def test_a_ranking_counts_its_pairs_wherever_it_stands(form: Any) -> None:
    objective = Listwise(kind="listwise", form=form)
    rewards = torch.randn(7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pairs = torch.tensor([(3, 0), (3, 2), (0, 2), (4, 6)])
    weights = torch.tensor([1.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    own = torch.tensor([0, 0, 0, 1])
    total = objective.loss(rewards, pairs, weights, RANKINGS, own).total
    parts = [RANKINGS[RANKINGS[:, 1] == number] - torch.tensor([0, number, 0]) for number in (0, 1)]
    cut = [objective.loss(rewards, pairs[own == n], weights[own == n], parts[n], own[own == n] * 0) for n in (0, 1)]
    torch.testing.assert_close(cut[0].total + cut[1].total, total)
    each = [(plackett_luce, best_of_ranking, pairs_of_ranking)[FORMS.index(form)](rewards, part)[0] for part in parts]
    torch.testing.assert_close(total, 3.5 * each[0] + 3.0 * each[1])


def test_prompts_share_what_pairs_count() -> None:
    shares = prompt_shares(np.array([7, 3, 7, 7, 3, 1]))
    assert shares.tolist() == pytest.approx([2 / 3, 1, 2 / 3, 2 / 3, 1, 2])
    pairs = [replace(pair("a", "b", ()), extra={"weight": 2.0}) for _ in range(6)]
    shared = SharedPrompts(pairs, shares)
    assert [one.extra["weight"] for one in shared] == pytest.approx([4 / 3, 2, 4 / 3, 4 / 3, 2, 4])
    assert [one.extra["weight"] for one in shared[4:]] == pytest.approx([2, 4])
    assert [one.id for one in shared] == ["ab"] * 6


@pytest.fixture(scope="module")
def rankings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve records of three or four responses, some of them tied."""
    path = tmp_path_factory.mktemp("rankings") / "rankings.jsonl"
    random = np.random.default_rng(0)
    rows = [
        {
            "id": str(number),
            "prompt": f"What is {number} plus {number}?",
            "responses": [f"It is {2 * number + off}." for off in range(3 + number % 2)],
            "scores": [3.0, *random.integers(0, 3, 2 + number % 2).tolist()],
        }
        for number in range(12)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def recipe_of(make_recipe: Callable, rankings: Path, objective: dict[str, Any], **sections: Any) -> Any:
    """A recipe on the rankings, all pairs of a prompt together."""
    optimizer = {"pairs_per_step": 10, "epochs": 1} | sections.pop("optimizer", {})
    data = {"train": [str(rankings)], "group": "prompt"}
    return make_recipe(data=data, objective={"kind": "listwise", **objective}, optimizer=optimizer, **sections)


def test_rankings_are_found_in_the_batches_of_a_run(make_recipe: Callable, rankings: Path, tmp_path: Path) -> None:
    recipe = recipe_of(make_recipe, rankings, {"normalize": "prompt"})
    template = prepare_template(recipe)
    prepared = prepare_data(recipe, template).train
    # As it stands in the file, record by record.
    batch: Any = PreferenceCollator(template, recipe.objective)(
        [prepared.shown[place] for place in range(len(prepared.pairs))]
    )
    given = [json.loads(line)["scores"] for line in rankings.read_text().splitlines()]
    members = batch["rankings"][:, 1].bincount().tolist()
    assert members == [len(scores) for scores in given]
    assert not batch["unranked"].any()
    for number, scores in enumerate(given):
        found = sorted(batch["rankings"][batch["rankings"][:, 1] == number, 2].tolist())
        assert found == sorted(sorted(set(scores), reverse=True).index(score) for score in scores)
    sums = torch.zeros(12).index_add(0, batch["pair_rankings"], batch["weights"])
    torch.testing.assert_close(sums, torch.full((12,), len(prepared.pairs) / 12))
    # Whole rankings, each of whose pairs counts once, are Bradley-Terry; equal responses have equal rewards.
    rewards = torch.randn(len(batch["nodes"]), generator=torch.Generator().manual_seed(3))[batch["leaves"]]
    read = {key: batch[key] for key in ("pairs", "weights", "rankings", "pair_rankings")}
    compared = {key: batch[key] for key in ("pairs", "weights", "margins", "answer_lengths")}
    whole = Listwise(kind="listwise", form="pairwise").loss(rewards, **read).total
    torch.testing.assert_close(whole, BradleyTerry().loss(rewards, **compared).total)
    facts = train(recipe, tmp_path / "run").facts
    assert facts["steps"] == len(prepared.pairs) // 10
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert line["unranked"] == 0
    assert line["pairs_per_ranking"] > 2


@pytest.mark.slow
def test_two_processes_train_as_one(
    make_recipe: Callable, rankings: Path, launch: Callable, read_state: Callable, tmp_path: Path
) -> None:
    recipe = recipe_of(make_recipe, rankings, {}, optimizer={"max_steps": 3, "pairs_per_step": 24})
    for ranks in (1, 2):
        assert launch(recipe, tmp_path / str(ranks), ranks=ranks).codes == [0] * ranks
    one, two = (read_state(tmp_path / name / "model") for name in "12")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5)


def test_pairs_drawn_one_by_one_are_no_rankings(make_recipe: Callable) -> None:
    with pytest.raises(RecipeError, match=r"data\.group: pair draws one by one; set data\.group to prompt or image"):
        make_recipe(objective={"kind": "listwise"})
