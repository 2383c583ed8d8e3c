"""The local scorer: every reward is that of the sequence alone, and a failure touches nobody else."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from basereward.data.outcomes import Failure, Score
from basereward.encoding.collate import collate
from basereward.encoding.template import Template
from basereward.models.checkpoint import new_reward_model
from basereward.models.inputs import TemplateSettings, load_template
from basereward.models.reward_model import RewardModel
from basereward.scoring import local
from basereward.scoring.local import LocalScorer

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def model(vl_backbone):
    torch.manual_seed(0)
    return new_reward_model(vl_backbone)


@pytest.fixture(scope="module")
def groups(make_group, say, picture):
    """Text, one image, two images of several sizes, a dialogue, and a large group."""
    return [
        make_group("Which colour?", ["red", "blue, I would say", "neither"]),
        make_group("What is this?", ["noise", "a very long answer " * 6], [picture(56, 84, 1)]),
        make_group("Compare them.", ["equal", "not equal"], [picture(28, 56, 2), picture(112, 56, 3)]),
        make_group(
            [say("system", "Be brief."), say("user", "Hi"), say("assistant", "Hi."), say("user", "?")], ["Yes."]
        ),
        make_group("Pick one.", [f"number {number} " * (1 + number % 4) for number in range(9)], [picture(84, 84, 4)]),
    ]


@pytest.fixture(scope="module")
def alone(model, groups):
    """The rewards of every sequence by itself, without a packed row."""
    plain = RewardModel(model.backbone, model.head, model.template, "plain").eval()
    rewards = []
    with torch.inference_mode():
        for group in groups:
            own = [replace(group, responses=(response,)) for response in group.responses]
            rewards.append([plain(**collate([plain.template.encode(one)])).item() for one in own])
    model.use_backend("auto")
    return rewards


def difference(found, expected) -> float:
    """Largest difference relative to the largest reward."""
    assert all(isinstance(own, Score) for mine in found for own in mine)
    flat = [
        (own.value, other)
        for mine, theirs in zip(found, expected, strict=True)
        for own, other in zip(mine, theirs, strict=True)
    ]
    return max(abs(own - other) for own, other in flat) / max(abs(other) for _, other in flat)


class RowSpy:
    """Remembers the tokens and responses of every row that the model computes."""

    def __init__(self, model, monkeypatch):
        self.rows = []
        compute = model.forward

        def forward(**batch):
            self.rows.append((batch["input_ids"].shape[1], len(batch["leaves"])))
            return compute(**batch)

        monkeypatch.setattr(model, "forward", forward)


@pytest.mark.parametrize("backend", ["split", "plain", "expand"])
@pytest.mark.parametrize("row_tokens", [1, 60, 16384])
def test_a_reward_is_that_of_the_sequence_alone(model, groups, alone, row_tokens, backend):
    model.use_backend(backend, scoring=True)
    assert difference(LocalScorer(model, "m", row_tokens).score(groups), alone) <= TOLERANCE
    model.use_backend("auto")


def test_neither_the_batch_nor_the_order_changes_a_reward(model, groups, alone):
    scorer = LocalScorer(model, "m", 200)
    assert difference([scorer.score([group])[0] for group in groups], alone) <= TOLERANCE
    assert difference(scorer.score(groups[::-1])[::-1], alone) <= TOLERANCE
    turned = [replace(group, responses=group.responses[::-1]) for group in groups]
    assert difference([own[::-1] for own in scorer.score(turned)], alone) <= TOLERANCE
    repeated = scorer.score([groups[1], groups[1], groups[0], groups[1]])
    assert difference(repeated, [alone[1], alone[1], alone[0], alone[1]]) <= TOLERANCE


def test_the_rewards_differ_enough_to_tell(alone):
    flat = [reward for own in alone for reward in own]
    assert max(flat) - min(flat) > 100 * TOLERANCE * max(map(abs, flat))


def test_a_large_group_is_split_under_the_cap_and_rejoined(model, groups, alone, monkeypatch):
    prefix = len(model.template.encode(groups[4]).prefix)
    spy = RowSpy(model, monkeypatch)
    cap = prefix + 60
    assert difference(LocalScorer(model, "m", cap).score([groups[4]]), [alone[4]]) <= TOLERANCE
    assert len(spy.rows) > 2
    assert sum(responses for _, responses in spy.rows) == len(groups[4].responses)
    assert all(tokens <= cap for tokens, _ in spy.rows)


def test_small_groups_share_a_row(model, groups, monkeypatch):
    spy = RowSpy(model, monkeypatch)
    LocalScorer(model, "m").score(groups)
    assert [responses for _, responses in spy.rows] == [sum(len(group.responses) for group in groups)]


def test_few_groups_are_held_encoded_at_once(model, groups, monkeypatch):
    monkeypatch.setattr(local, "ROWS_AT_ONCE", 1)
    encoded, seen = [], []
    encode, spy = local.encode_each, RowSpy(model, monkeypatch)
    monkeypatch.setattr(local, "encode_each", lambda template, group: encoded.append(group) or encode(template, group))
    monkeypatch.setattr(
        model, "forward", (lambda inner: lambda **b: seen.append(len(encoded)) or inner(**b))(model.forward)
    )
    many = [groups[0]] * 60
    scores = LocalScorer(model, "m", 300).score(many)
    assert all(difference([own], [[score.value for score in scores[0]]]) <= TOLERANCE for own in scores)
    assert seen[0] < 20
    assert sum(responses for _, responses in spy.rows) == 180


def test_each_step_alone_gives_what_the_next_one_takes(model, groups, alone, make_group):
    scorer = LocalScorer(model, "m", 200)
    missing = make_group("And this?", ["a", "b"], ["/nowhere/x.png"])
    [refused] = scorer.encode(missing, 7)
    assert (refused.group, refused.responses, refused.failure.reason) == (7, (0, 1), "image_missing")
    pieces = [piece for number, group in enumerate(groups) for piece in scorer.encode(group, number)]
    assert [(piece.group, place) for piece in pieces for place in piece.responses] == [
        (number, place) for number, group in enumerate(groups) for place in range(len(group.responses))
    ]
    rows = list(scorer.rows(pieces))
    assert len(rows) > 2
    assert sorted((piece.group, piece.responses) for row in rows for piece in row.pieces) == [
        (piece.group, piece.responses) for piece in pieces
    ]
    for row in rows:
        assert sum(piece.encoded.tokens for piece in row.pieces) <= 200 or len(row.pieces) == 1
        expected = [[alone[piece.group][place] for place in piece.responses] for piece in row.pieces]
        assert difference(scorer.compute(row), expected) <= TOLERANCE
    assert scorer.encode(make_group("Nobody answers.", [])) == []
    assert list(scorer.rows([])) == []


def test_the_steps_in_threads_give_the_same_to_the_last_bit(model, groups):
    """Four threads encode, one packs, one computes, as a server does."""
    scorer, many = LocalScorer(model, "m", 300), groups * 8
    expected = scorer.score(many)
    with ThreadPoolExecutor(4) as encoding, ThreadPoolExecutor(1) as packing, ThreadPoolExecutor(1) as computing:
        encoded = list(encoding.map(scorer.encode, many, range(len(many))))
        pieces = [piece for own in encoded for piece in own]
        windows, tokens = [[]], 0
        for own in encoded:
            windows[-1] += own
            tokens += sum(piece.encoded.tokens for piece in own)
            if tokens > local.ROWS_AT_ONCE * scorer.row_tokens:
                windows.append([])
                tokens = 0
        rows = [row for window in windows for row in packing.submit(lambda own=window: list(scorer.rows(own))).result()]
        computed = [computing.submit(scorer.compute, row) for row in rows]
        found = {
            (piece.group, place): score
            for row, future in zip(rows, computed, strict=True)
            for piece, scores in zip(row.pieces, future.result(), strict=True)
            for place, score in zip(piece.responses, scores, strict=True)
        }
    assert len(windows) > 2
    assert sum(len(piece.responses) for piece in pieces) == len(found)
    assert [[found[n, place] for place in range(len(own))] for n, own in enumerate(expected)] == expected


def test_an_unreadable_image_fails_its_own_group_alone(model, groups, alone, make_group):
    broken = make_group("What is this?", ["a", "b"], [{"bytes": b"\x89PNG\r\n\x1a\nbroken", "path": None}])
    missing = make_group("And this?", ["a"], ["/nowhere/x.png"])
    scores = LocalScorer(model, "m").score([groups[0], broken, *groups[1:3], missing, *groups[3:]])
    assert [failure.reason for failure in scores.pop(1)] == ["image_unreadable"] * 2
    [failure] = scores.pop(3)
    assert failure.reason == "image_missing"
    assert "/nowhere/x.png" in failure.message
    assert difference(scores, alone) <= TOLERANCE


def test_a_response_that_is_too_long_fails_alone(model, groups, alone, vl_backbone):
    longest = max(len(model.template.encode(groups[0]).suffixes[place]) for place in (0, 2))
    limit = len(model.template.encode(groups[0]).prefix) + longest
    template = load_template(vl_backbone, TemplateSettings(max_length=limit))
    scorer = LocalScorer(RewardModel(model.backbone, model.head, template), "m")
    [[first, second, third]] = scorer.score([groups[0]])
    assert isinstance(second, Failure)
    assert second.reason == "too_long"
    assert difference([[first, third]], [[alone[0][0], alone[0][2]]]) <= TOLERANCE


def test_text_that_is_no_unicode_fails_alone(model, groups, alone, say):
    responses = list(groups[0].responses)
    responses[1] = replace(responses[1], messages=(say("assistant", "half \ud83d"),))
    [scores] = LocalScorer(model, "m").score([replace(groups[0], responses=tuple(responses))])
    assert scores[1].reason == "malformed"
    assert difference([[scores[0], scores[2]]], [[alone[0][0], alone[0][2]]]) <= TOLERANCE


def test_images_for_a_text_backbone_are_a_failure(text_backbone, groups):
    scores = LocalScorer(new_reward_model(text_backbone), "m").score(groups[:2])
    assert all(isinstance(score, Score) for score in scores[0])
    assert [failure.reason for failure in scores[1]] == ["template"] * 2
    assert "text only" in scores[1][0].message


@pytest.mark.parametrize("place", ["backbone", "head"])
def test_broken_weights_give_failures_and_never_a_number(vl_backbone, groups, place):
    broken = new_reward_model(vl_backbone)
    with torch.no_grad():
        for parameter in getattr(broken, place).parameters():
            parameter.fill_(float("nan"))
    scores = LocalScorer(broken, "m").score(groups[:2])
    assert {score.reason for own in scores for score in own} == {"not_finite"}


def test_nothing_gives_nothing(model, groups, alone, make_group):
    scorer = LocalScorer(model, "m")
    assert scorer.score([]) == []
    empty = make_group("Nobody answers.", [])
    assert scorer.score([empty]) == [[]]
    scores = scorer.score([empty, groups[0], empty])
    assert (scores[0], scores[2]) == ([], [])
    assert difference([scores[1]], [alone[0]]) <= TOLERANCE


def test_scoring_leaves_training_mode_and_builds_no_graph(model, groups):
    model.train()
    scorer = LocalScorer(model, "m")
    assert not model.training
    scorer.score(groups[:1])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_the_template_leaves_out_is_counted_with_the_score(text_backbone, make_group, caplog):
    text_model = new_reward_model(text_backbone)
    tokenizer = copy.deepcopy(text_model.template.tokenizer)
    tokenizer.chat_template = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    model = RewardModel(text_model.backbone, text_model.head, Template(tokenizer))
    scorer = LocalScorer(model, "m", row_tokens=4)
    group = make_group("Which?", ["<think>hidden words</think>yes", "yes", "<think>a</think>yes"])
    assert [score.parts for score in scorer.score([group])[0]] == [
        {"removed_characters": 12},
        None,
        {"removed_characters": 1},
    ]
    scorer.score([group])
    assert caplog.text.count("leaves out text of answers with thoughts") == 1
