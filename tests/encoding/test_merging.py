"""Merged groups: the same sequences at the same positions, and nothing shared that is not equal."""

from dataclasses import replace

import numpy as np
import pytest

from basereward.encoding.merging import merge_groups
from basereward.encoding.template import EncodedGroup


def sequences(group: EncodedGroup) -> list[tuple[list[int], list[list[int]]]]:
    """Ids and positions of every response's whole sequence."""
    axes, following = len(group.positions.prefix), group.positions.following
    return [
        (
            [*group.prefix.tolist(), *suffix.tolist()],
            np.concatenate(
                [group.positions.prefix, np.tile(following + np.arange(len(suffix)), (axes, 1))], axis=1
            ).tolist(),
        )
        for suffix in group.suffixes
    ]


RESPONSES = ["red", "red, I would say", "blue", "blue", "red, I would say, and green"]


@pytest.fixture(scope="module")
def whole(vl_template, make_group, picture):
    group = make_group("Which colour is it?", RESPONSES, [picture(84, 56)])
    return group, vl_template.encode(group)


def alone(template, group, *places):
    return template.encode(replace(group, responses=tuple(group.responses[place] for place in places)))


@pytest.mark.parametrize("parts", [[(0,), (1,), (2,), (3,), (4,)], [(0, 1, 4), (2,), (3,)], [(2, 3), (0, 1, 4)]])
def test_requests_with_one_prompt_become_the_group_that_they_are(vl_template, whole, parts):
    group, encoded = whole
    merged = merge_groups([alone(vl_template, group, *places) for places in parts])
    order = [place for places in parts for place in places]
    assert sequences(merged) == [sequences(encoded)[place] for place in order]
    assert merged.tokens == encoded.tokens
    assert merged.answer_lengths == tuple(encoded.answer_lengths[place] for place in order)
    assert merged.images is not None


def test_the_prefix_is_shared_to_the_last_common_token(vl_template, whole):
    group, encoded = whole
    merged = merge_groups([alone(vl_template, group, 1), alone(vl_template, group, 4)])
    assert len(merged.prefix) > len(encoded.prefix)
    assert sequences(merged) == [sequences(encoded)[place] for place in (1, 4)]


def test_a_prefix_is_never_longer_than_its_known_positions(vl_template, whole):
    """Pieces of a split group hold the short prefix of all, though their own responses have more in common."""
    _, encoded = whole
    pieces = [
        replace(
            encoded,
            suffixes=(encoded.suffixes[place],),
            answer_lengths=(1,),
            removed=encoded.removed._replace(responses=(0,)),
        )
        for place in (2, 3)
    ]
    merged = merge_groups(pieces)
    assert len(merged.prefix) == len(encoded.prefix)
    assert sequences(merged) == [sequences(encoded)[place] for place in (2, 3)]


def test_text_alone_merges_too(text_template, make_group):
    group = make_group("Which?", ["a", "b c", "b d"])
    merged = merge_groups([alone(text_template, group, place) for place in range(3)])
    assert sequences(merged) == sequences(text_template.encode(group))
