"""Draws belong to the seed, the question and the sample; shares are those of the softmax."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from basereward.data.schema import ResponseGroup
from basereward.encoding.openings import Openings, encode_openings
from basereward.models.generation import Generator
from basereward.models.sampling import GREEDY, Sampling, choose, content_digests, draw_uniform

DRAWN = Sampling(temperature=1.0, samples=3, seed=5)


@pytest.fixture(scope="module")
def generator(vl_backbone):
    return Generator(vl_backbone, 12, 10_000, torch.float32, "cpu")


@pytest.fixture(scope="module")
def trees(generator, say, picture):
    """Two trees about different images, with the same three texts."""
    asked = [(say("user", None, "Look"), say("assistant", ""), say("user", ask)) for ask in ("Why?", "How so?", "Why?")]
    return [
        encode_openings(generator.template, ResponseGroup("g", (), (), (picture(84, 56, seed),)), asked)
        for seed in (1, 2)
    ]


def texts(answers):
    return [[[one.text for one in own] for own in tree] for tree in answers]


def test_shares_are_those_of_the_softmax():
    logits = torch.tensor([1.0, -2.0, 0.5, 3.0, -9.0])
    for sampling in (Sampling(1.0), Sampling(0.5), Sampling(2.0)):
        draws = torch.arange(20_000, dtype=torch.float64) / 20_000
        found = choose(logits.expand(20_000, -1), sampling, draws).bincount(minlength=5) / 20_000
        assert (found - (logits / sampling.temperature).softmax(0)).abs().max() < 1e-3


def test_the_nucleus_is_the_fewest_likeliest_tokens():
    logits = torch.tensor([[0.2, 0.1, 0.4, 0.3]]).log()
    draws = torch.arange(4000, dtype=torch.float64) / 4000
    for top_p, expected in ((0.4, [0, 0, 1, 0]), (0.41, [0, 0, 4 / 7, 3 / 7]), (0.8, [2 / 9, 0, 4 / 9, 3 / 9])):
        found = choose(logits.expand(4000, -1), Sampling(1.0, top_p), draws).bincount(minlength=4) / 4000
        assert (found - torch.tensor(expected)).abs().max() < 1e-3


def test_a_token_without_a_share_is_never_drawn():
    logits = torch.tensor([[float("-inf"), 0.0, float("-inf")]])
    for draw in (0.0, 0.5, 1 - 2**-53):
        assert choose(logits, Sampling(1.0), torch.tensor([draw], dtype=torch.float64)).tolist() == [1]


def test_a_longer_answer_has_the_draws_of_a_shorter():
    longer = draw_uniform(b"x", 1, 2, 9)
    assert (longer[:4] == draw_uniform(b"x", 1, 2, 4)).all()
    others = [draw_uniform(*own, 9) for own in ((b"y", 1, 2), (b"x", 2, 2), (b"x", 1, 3))]
    assert not any((longer == own).any() for own in others)


def test_where_a_tree_is_split_changes_nothing(trees):
    tree, other = trees
    ids = np.concatenate([tree.prefix, tree.suffixes[0]])
    moved = Openings(ids[:-1], (ids[-1:],), tree.positions, tree.images)
    assert content_digests(moved)[0] == content_digests(tree)[0] != content_digests(other)[0]


def test_samples_do_not_depend_on_the_batch(generator, trees, monkeypatch):
    together = texts(generator.write(trees, DRAWN))
    assert len({text for tree in together for own in tree for text in own}) > 9
    assert texts(generator.write(trees[::-1], DRAWN))[::-1] == together
    for cap in (1, 200):
        monkeypatch.setattr(generator, "batch_tokens", cap)
        assert texts(generator.write(trees, DRAWN)) == together
    fewer = texts(generator.write(trees[1:], Sampling(temperature=1.0, seed=5)))
    assert fewer[0][:2] == [own[:1] for own in together[1][:2]]


def test_further_samples_go_on_from_a_number(generator, trees):
    [[first, _, same]] = texts(generator.write(trees[:1], DRAWN))
    [[_, _, further]] = texts(generator.write([replace(trees[0], firsts=(0, 0, 3))], DRAWN))
    [[six, *_]] = texts(generator.write([trees[0]], Sampling(temperature=1.0, samples=6, seed=5)))
    assert first == same
    assert six == first + further


def test_watched_are_the_probabilities_of_every_place(generator, trees):
    watched = list(range(len(generator.template.tokenizer)))
    [[[one], *_], _] = generator.write(trees, GREEDY, watched)
    assert one.written.watched.shape == (12, len(watched))
    assert np.allclose(np.exp(one.written.watched).sum(1), 1, atol=1e-5)
    assert one.written.watched.argmax(1).tolist() == one.written.ids


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"samples": 0}, {"samples": 2}])
def test_what_cannot_be_drawn_is_refused(wrong):
    with pytest.raises(ValueError, match=r"expected|greedy"):
        Sampling(**wrong)
