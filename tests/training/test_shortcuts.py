"""Weights by a text-only proxy, and image swaps: closed forms, what trains, and what is refused."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import logsigmoid

from basereward.data.annotations import weight_of
from basereward.data.pairs import load_pairs, pair_row
from basereward.data.schema import PreferencePair, messages_from_text
from basereward.data.storage import write_rows
from basereward.errors import DataError, RecipeError, RowError
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.models.shapes import backbone_config
from basereward.scoring.files import score_file
from basereward.scoring.spec import open_scorer
from basereward.training.collator import PreferenceCollator
from basereward.training.objectives import BradleyTerry
from basereward.training.partners import NONE, SwapFacts, find_partners, read_swap_facts
from basereward.training.plan import PlannedPairs, make_plan
from basereward.training.prepare import prepare_data, prepare_model, prepare_template
from basereward.training.run import train
from basereward.training.shortcuts import ImageSwap, ShortcutWeights, SwappedPair, check_proxy_scores, swap_images

PIXEL = Image.new("RGB", (56, 56))


def pair_of(margin: float | None = None, **changes) -> PreferencePair:
    extra = {} if margin is None else {"chosen_score": margin + 1.0, "rejected_score": 1.0}
    pair = PreferencePair(
        "p",
        "s",
        messages_from_text("Which?", images=1),
        messages_from_text("yes", "assistant"),
        messages_from_text("no", "assistant"),
        (PIXEL,),
        extra=extra,
    )
    return replace(pair, **changes)


@pytest.mark.parametrize("margin", [-30.0, -2.0, 0.0, 0.7, 30.0, 2000.0])
def test_the_weight_is_its_formula(margin):
    weights = ShortcutWeights(temperature=2.0, floor=0.2)
    expected = 0.2 + 0.8 * 2 / (1 + math.exp(min(margin / 2.0, 700)))
    assert weights.weigh(pair_of(margin)) == pytest.approx(expected, abs=1e-12)


def test_under_a_calibrated_proxy_the_text_says_nothing_any_more():
    # Of two responses the first is chosen with probability q, and the proxy knows it: its margin is the log-odds.
    for q in (0.02, 0.3, 0.5, 0.81, 0.99):
        odds = math.log(q / (1 - q))
        right, wrong = (ShortcutWeights().weigh(pair_of(margin)) for margin in (odds, -odds))
        assert q * right == pytest.approx((1 - q) * wrong)


def test_pairs_without_images_weigh_one_and_need_no_scores():
    text = pair_of(5.0, prompt=messages_from_text("Which?"), images=())
    assert ShortcutWeights().weigh(text) == 1.0
    check_proxy_scores(replace(text, extra={}))
    with pytest.raises(RowError, match="chosen_score and rejected_score"):
        check_proxy_scores(pair_of())
    with pytest.raises(RowError, match="finite number under 'chosen_score'"):
        ShortcutWeights().weigh(pair_of(extra={"chosen_score": math.nan, "rejected_score": 0.0}))


def test_scores_of_a_whole_record_are_no_scores_of_its_pairs(tmp_path):
    """``score`` writes the lowest score of a chosen response and the highest of a rejected one beside such a record."""
    PIXEL.save(tmp_path / "pixel.png")
    record = {
        "prompt": "<image>Which?",
        "chosen": ["yes", "yes, so it is"],
        "rejected": ["no"],
        "images": ["pixel.png"],
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(record) + "\n")
    score_file(open_scorer("baseline:longer"), tmp_path / "pairs.jsonl", tmp_path / "scored.jsonl")
    for pair in load_pairs([tmp_path / "scored.jsonl"]).pairs:
        assert pair.is_multimodal
        with pytest.raises(RowError, match="scores are of 3 responses"):
            check_proxy_scores(pair)


def test_weights_multiply_and_swaps_keep_the_pair_s_own():
    pair = pair_of(2.0)
    weighted = replace(pair, extra={**pair.extra, "weight": 0.5})
    objective = BradleyTerry(shortcut=ShortcutWeights(), image_swap=ImageSwap(weight=3.0))
    assert objective.weigh(weighted).rewards == pytest.approx(0.5 * 2 / (1 + math.exp(2.0)))
    assert objective.weigh_swap(weighted) == 1.5
    assert weight_of(weighted) == 0.5


def test_the_loss_of_swaps_is_bradley_terry_between_images():
    rewards = torch.tensor([0.3, -1.0, 2.0, 0.1, -0.4], dtype=torch.float64, requires_grad=True)
    batch = {
        "pairs": torch.tensor([[0, 1], [2, 3]]),
        "margins": torch.zeros(2),
        "weights": torch.ones(2, dtype=torch.float64),
        "answer_lengths": torch.ones(5, dtype=torch.long),
    }
    plain = BradleyTerry().loss(rewards, **batch).total
    swaps = {"swaps": torch.tensor([[2, 4]]), "swap_weights": torch.tensor([0.7], dtype=torch.float64)}
    objective = BradleyTerry(image_swap=ImageSwap())
    both = objective.loss(rewards, **batch, **swaps)
    torch.testing.assert_close(both.total, plain - 0.7 * logsigmoid(rewards[2] - rewards[4]))
    # What is logged is of the pairs alone.
    assert both.rewards.chosen.tolist() == [0.3, 2.0]
    none = {"swaps": torch.zeros(0, 2, dtype=torch.long), "swap_weights": torch.zeros(0)}
    torch.testing.assert_close(objective.loss(rewards, **batch, **none).total, plain)


def shown_of(prompts, chosen, images, counts=None) -> SwapFacts:
    arrays = [np.array(values, np.uint64) for values in (prompts, chosen, images)]
    counts = np.array(counts or [1] * len(images))
    return SwapFacts(*arrays, counts, arrays[2] > 0)


def test_partners_prefer_the_same_question_with_another_answer_and_never_share_an_image():
    generator = np.random.default_rng(0)
    prompts, chosen, images = (generator.integers(1, high, 300) for high in (6, 4, 40))
    shown = shown_of(prompts, chosen, images)
    partners = find_partners(shown, np.ones(300, dtype=bool))
    assert (partners != NONE).all()
    assert (images != images[partners]).all()
    assert (prompts == prompts[partners]).all()
    assert (chosen != chosen[partners]).all()
    # In another order of the rows each pair keeps a partner of the same content.
    order = generator.permutation(300)
    moved = find_partners(shown_of(prompts[order], chosen[order], images[order]), np.ones(300, dtype=bool))
    contents = np.stack([prompts, chosen, images], axis=1)
    first, second = contents[partners], contents[order][moved]
    distinct = np.unique(contents, axis=0, return_counts=True)
    once = {tuple(row) for row, number in zip(*distinct, strict=True) if number == 1}
    for place, row in enumerate(contents[order]):
        if tuple(row) in once:
            assert tuple(second[place]) == tuple(first[order[place]])


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (shown_of([1, 1], [1, 1], [5, 6]), [NONE, NONE]),  # the images of either fit the answer of the other
        (shown_of([1, 1], [1, 2], [5, 5]), [NONE, NONE]),  # one image
        (shown_of([1, 2], [1, 1], [5, 6]), [1, 0]),  # another question
        (shown_of([1, 1], [1, 2], [5, 6], [1, 2]), [NONE, NONE]),  # another number of images
        (shown_of([1, 1], [1, 2], [5, 0]), [NONE, NONE]),  # a pair without images lends none
    ],
)
def test_who_may_be_whose_partner(shown, expected):
    assert find_partners(shown, np.ones(2, dtype=bool)).tolist() == expected


def test_stored_pairs_tell_their_prompts_answers_and_images(tmp_path):
    drawn = list(draw_pairs(20, 3, WorldConfig(text_share=0.4)))
    write_rows(map(pair_row, drawn), tmp_path / "pairs.parquet")
    shown = read_swap_facts(load_pairs([tmp_path / "pairs.parquet"]).pairs)
    assert shown.is_multimodal.tolist() == [bool(pair.images) for pair in drawn]
    assert (shown.images > 0).tolist() == [bool(pair.images) for pair in drawn]
    texts = [pair.prompt[0].text for pair in drawn]
    assert [[texts[a] == texts[b] for a in range(20)] for b in range(20)] == (
        shown.prompts[:, None] == shown.prompts[None]
    ).tolist()


@pytest.fixture
def swap_recipe(make_recipe):
    return lambda **swap: make_recipe(objective={"kind": "bradley_terry", "image_swap": swap})


def test_a_swap_gives_the_reward_behind_the_other_image(swap_recipe):
    recipe = swap_recipe()
    model = prepare_model(recipe).eval()
    first, second = [pair for pair in draw_pairs(40, 5, WorldConfig()) if pair.extra["kind"] == "color1"][:2]
    collate = PreferenceCollator(model.template, recipe.objective)
    batch = collate([first, swap_images(second, first.images), second])
    rewards = model(
        **{
            key: value
            for key, value in batch.items()
            if key not in ("pairs", "margins", "weights", "word_weights", "answer_lengths", "swaps", "swap_weights")
        }
    )
    [[own, other]] = batch["swaps"].tolist()
    assert own == batch["pairs"][1, 0]
    moved = collate([replace(second, images=first.images)])
    alone = model(
        **{
            key: value
            for key, value in moved.items()
            if key
            in (
                "input_ids",
                "position_ids",
                "prefixes",
                "responses",
                "image_groups",
                "image_rows",
                "pixel_values",
                "image_grid_thw",
            )
        }
    )
    torch.testing.assert_close(rewards[other], alone[moved["pairs"][0, 0]], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(rewards[other], rewards[own], rtol=0, atol=1e-6)


def test_the_plan_counts_what_swaps_cost(swap_recipe, make_recipe):
    plans = []
    for recipe in (make_recipe(), swap_recipe(), swap_recipe(share=0.5)):
        data = prepare_data(recipe, prepare_template(recipe))
        own = [length for length in data.train.swaps.lengths if length] if data.train.swaps else []
        planned = PlannedPairs(data.train.lengths, 0, data.reserved, own)
        plans.append(make_plan(recipe, backbone_config(recipe.model.start), planned))
    plain, whole, half = plans
    assert (plain.swapped, plain.swap_flops_share) == (0, 0.0)
    assert 0 < half.swapped < whole.swapped
    added = whole.forward_flops_per_pair - plain.forward_flops_per_pair
    assert whole.swap_flops_share == pytest.approx(added / whole.forward_flops_per_pair)
    assert whole.tokens_per_pair > half.tokens_per_pair > plain.tokens_per_pair
    assert "image swaps" in dict(whole.lines())
    assert "image swaps" not in dict(plain.lines())


def test_swaps_are_measured_as_they_are_encoded(swap_recipe):
    recipe = swap_recipe()
    data = prepare_data(recipe, prepare_template(recipe)).train
    collate = PreferenceCollator(prepare_template(recipe), recipe.objective)
    for place, length in enumerate(data.lengths.tokens()):
        pair = data.shown[place]
        assert isinstance(pair, SwappedPair) == (data.swaps.lengths[place] is not None)
        batch = collate([pair])
        # Text alone brings a tiny image for the vision tower.
        if pair.images:
            assert batch["input_ids"].shape[1] == length
            assert pair.swapped != pair.images


def test_a_run_with_swaps_and_weights_trains_and_says_so(swap_recipe, world, tmp_path):
    drawn = list(draw_pairs(24, 0, WorldConfig(text_share=0.3)))
    rows = [pair_row(pair) | {"chosen_score": 0.5, "rejected_score": 0.1} for pair in drawn]
    write_rows(rows, tmp_path / "scored.parquet")
    recipe = swap_recipe()
    objective = recipe.objective.model_copy(update={"shortcut": ShortcutWeights()})
    data = recipe.data.model_copy(
        update={"train": [str(tmp_path / "scored.parquet")], "validation": [str(world.validation)]}
    )
    run = recipe.run.model_copy(update={"eval_every": 3})
    optimizer = recipe.optimizer.model_copy(update={"max_steps": 3})
    recipe = recipe.model_copy(update={"objective": objective, "data": data, "run": run, "optimizer": optimizer})
    facts = train(recipe, tmp_path / "run").facts
    counts = facts["image_swaps"]
    assert counts["swapped"] + counts["alone"] == sum(bool(pair.images) for pair in drawn)
    assert counts["swapped"] > 0
    assert facts["validation_pairs"] > 0


def test_pairs_without_scores_of_a_proxy_are_refused_by_number(make_recipe):
    recipe = make_recipe(objective={"kind": "bradley_terry", "shortcut": {}})
    with pytest.raises(
        DataError, match=r"of 30 pairs have no scores of a text-only proxy.*Of the first: The pair .*score --blind"
    ):
        prepare_data(recipe, prepare_template(recipe))


def test_swaps_without_any_other_image_are_refused(swap_recipe, tmp_path):
    pair = next(pair for pair in draw_pairs(9, 0, WorldConfig()))
    write_rows([pair_row(replace(pair, id=str(number))) for number in range(8)], tmp_path / "same.parquet")
    recipe = swap_recipe()
    data = recipe.data.model_copy(update={"train": [str(tmp_path / "same.parquet")]})
    with pytest.raises(DataError, match="finds no image for any of 8 pairs"):
        prepare_data(recipe.model_copy(update={"data": data}), prepare_template(recipe))


def test_a_blind_objective_shows_no_image(make_recipe):
    recipe = make_recipe(objective={"kind": "bradley_terry", "blind": True})
    assert not any(
        group.image_tokens
        for row in prepare_data(recipe, prepare_template(recipe)).train.lengths
        for group in row.groups
    )
    with pytest.raises(RecipeError, match="blind withholds the images"):
        make_recipe(objective={"kind": "bradley_terry", "blind": True, "image_swap": {}})
