"""Exchanged images: everybody shows the images of another pair, and nothing else changes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from basereward.benchmarks.items import BenchmarkItem, survey
from basereward.benchmarks.pairs import PairItems
from basereward.data.schema import PreferencePair, Video, messages_from_text
from basereward.errors import DataError
from basereward.evaluation.blind import Exchange, ExchangedItems, exchange_images


class Permuted(NamedTuple):
    """Groups before and after the exchange; those that are left out are in neither."""

    before: list
    after: list
    exchange: Exchange


def permute_images(groups, seed=0):
    items = [BenchmarkItem((group,), ()) for group in groups]
    exchange = exchange_images(survey(items), seed=seed)
    shown = ExchangedItems(items, exchange)
    kept = [number for number in range(len(items)) if number not in exchange.left_out]
    return Permuted([groups[number] for number in kept], [shown[number].groups[0] for number in kept], exchange)


def make_pair(number, *images):
    """The group of a pair."""
    pair = PreferencePair(
        id=str(number),
        source="s",
        prompt=messages_from_text(f"Question {number}?", images=len(images)),
        chosen=messages_from_text(f"good {number}", "assistant"),
        rejected=messages_from_text(f"bad {number}", "assistant"),
        images=images,
    )
    return PairItems([pair])[0].groups[0]


@pytest.fixture
def pairs():
    """Six pairs with one image, four with two, three with none, mixed."""
    ones = [make_pair(number, f"one{number}.png") for number in range(6)]
    twos = [make_pair(number, f"a{number}.png", {"bytes": b"%d" % number, "path": None}) for number in range(6, 10)]
    return [*ones[:3], *twos[:2], make_pair(10), *ones[3:], make_pair(11), *twos[2:], make_pair(12)]


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_shows_the_images_of_another_one(pairs, seed):
    before, after, _ = permute_images(pairs, seed)
    assert before == pairs
    for old, new in zip(before, after, strict=True):
        assert len(new.images) == len(old.images)
        assert replace(new, images=old.images) == old
        if old.images:
            assert new.images != old.images
    shown = [Counter(map(repr, (pair.images for pair in own))) for own in (before, after)]
    assert shown[0] == shown[1]


def test_it_depends_on_the_seed_alone(pairs):
    assert permute_images(pairs, 3) == permute_images(pairs, 3)
    assert len({str([pair.images for pair in permute_images(pairs, seed).after]) for seed in range(5)}) > 1


def test_pairs_without_images_stay_as_they_are(pairs):
    texts = [pair for pair in pairs if not pair.images]
    assert all(new is old for old, new in zip(texts, permute_images(texts).after, strict=True))
    assert permute_images([]).exchange == Exchange({}, ())


def test_equal_images_count_as_the_same():
    """Several questions about one picture must not get that picture again."""
    contents = [b"x"] * 3 + [b"y"] * 2 + [b"z"]
    pairs = [make_pair(number, {"bytes": content, "path": str(number)}) for number, content in enumerate(contents)]
    for seed in range(5):
        for old, new in zip(pairs, permute_images(pairs, seed).after, strict=True):
            assert new.images[0]["bytes"] != old.images[0]["bytes"]


def test_equal_files_of_other_names_count_as_the_same(tmp_path):
    for name, content in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")):
        (tmp_path / name).write_text(content)
    pairs = [make_pair(number, str(tmp_path / name)) for number, name in enumerate("abcd")]
    for seed in range(5):
        shown = [Path(new.images[0]).read_text() for new in permute_images(pairs, seed).after]
        assert shown == ["y", "y", "x", "x"]


@pytest.mark.parametrize(
    ("images", "left_out"),
    [
        ([["a", "b"], ["c"], ["d"]], 1),
        ([["a"], ["a"], ["b"]], 1),
        ([["a"], ["a"], ["a"], ["b"], ["c"], ["d"], []], 0),
        ([["a"]] * 9 + [["b"], ["c"]], 7),
    ],
)
def test_the_surplus_of_equal_images_is_left_out_and_counted(images, left_out):
    pairs = [make_pair(number, *own) for number, own in enumerate(images)]
    before, after, exchange = permute_images(pairs)
    assert len(exchange.left_out) == left_out
    assert len(after) == len(pairs) - left_out
    for old, new in zip(before, after, strict=True):
        assert new.id == old.id
        assert not new.images or new.images != old.images
    shown = sum(bool(own) for own in images)
    assert exchange.notes == [] or exchange.notes[0].startswith(f"{left_out} of {shown} prompts")


@pytest.mark.parametrize("images", [[["a"]], [["a"], ["a"]], [["a"], ["b", "c"], []]])
def test_nothing_to_exchange_is_an_error(images):
    with pytest.raises(DataError, match="no two show as many"):
        permute_images([make_pair(number, *own) for number, own in enumerate(images)])


def test_groups_of_several_responses_are_exchanged_as_pairs_are(make_group):
    groups = [make_group("?", ["yes", "no", "perhaps"], [f"{number}.png"]) for number in range(5)]
    _, after, _ = permute_images([*groups, make_group("?", ["yes", "no"])])
    for old, new in zip(groups, after, strict=False):
        assert new.images != old.images
        assert replace(new, images=old.images) == old
    assert sorted(new.images[0] for new in after[:5]) == sorted(old.images[0] for old in groups)


def test_responses_with_images_of_their_own_get_those_of_the_same_place():
    def pair(number):
        messages = (messages_from_text(text, role, images=1) for text, role in (("?", "user"), ("a", "assistant")))
        prompt, chosen = messages
        rejected = messages_from_text("b", "assistant", images=1)
        images = tuple(f"{side}{number}.png" for side in ("prompt", "chosen", "rejected"))
        return PreferencePair(str(number), "s", prompt, chosen, rejected, images)

    items = PairItems([pair(number) for number in range(4)])
    shown = ExchangedItems(items, exchange_images(survey(items)))
    for number, item in enumerate(shown):
        [first, second] = item.groups
        giver = first.images[0].removeprefix("prompt")
        assert giver != f"{number}.png"
        assert first.images == (f"prompt{giver}", f"chosen{giver}")
        assert second.images == (f"prompt{giver}", f"rejected{giver}")


def test_pil_images_can_be_exchanged(picture):
    pairs = [make_pair(number, picture(8, 8, number)) for number in range(4)]
    assert all(new.images[0] is not old.images[0] for old, new in zip(pairs, permute_images(pairs).after, strict=True))


def test_videos_are_exchanged_too():
    videos = [Video((f"{number}-0.png", f"{number}-1.png"), 2.0) for number in range(4)]
    pairs = [replace(make_pair(number), videos=(video,)) for number, video in enumerate(videos)]
    _, after, _ = permute_images([*pairs, make_pair(4)])
    assert all(new.videos != old.videos for old, new in zip(pairs, after[:4], strict=True))
    assert sorted(map(str, videos)) == sorted(str(pair.videos[0]) for pair in after[:4])
    with pytest.raises(DataError, match="of 1 prompts"):
        permute_images(pairs[:1])


def test_it_is_a_sequence(pairs):
    items = [BenchmarkItem((group,), ()) for group in pairs]
    exchanged = ExchangedItems(items, exchange_images(survey(items)))
    assert len(exchanged) == len(pairs)
    assert exchanged[-1] == exchanged[len(pairs) - 1]
    assert exchanged[2:5] == [exchanged[2], exchanged[3], exchanged[4]]
    with pytest.raises(IndexError):
        exchanged[len(pairs)]
