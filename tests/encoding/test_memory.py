"""What a template keeps: the same groups as without it, each image encoded once, and never more than the bound."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from threading import Event

import numpy as np
import pytest
import torch

from basereward.data.bounded import BoundedCache
from basereward.encoding.collate import collate
from basereward.encoding.memory import PromptMemory
from basereward.errors import RowError
from basereward.models.inputs import load_template


def bounded(most: int) -> BoundedCache[int]:
    return BoundedCache(most, lambda key, size: size)


def test_the_least_recently_used_is_forgotten_first():
    cache = bounded(10)
    for key in "abc":
        cache[key] = 3
    assert cache.get("a") == 3
    cache["d"] = 4
    assert [cache.get(key) for key in "abcd"] == [3, None, 3, 4]
    assert cache.size == 10


def test_what_is_larger_than_the_bound_throws_out_nothing():
    cache = bounded(10)
    cache["a"] = 3
    cache["b"] = 11
    assert (cache.get("a"), cache.get("b"), cache.size) == (3, None, 3)


def test_a_new_value_replaces_the_old_one():
    cache = bounded(10)
    cache["a"] = 3
    cache["a"] = 5
    assert (cache.get("a"), cache.size) == (5, 5)


def test_threads_that_ask_for_one_key_make_it_once():
    cache, made, started = bounded(10), [], Event()

    def make():
        made.append(1)
        started.set()
        Event().wait(0.1)
        return 2

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: cache.get_or_make("a", make), range(4))) == {2}
    assert len(made) == 1


def test_a_failure_is_not_kept():
    cache = bounded(10)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_make("a", lambda: 1 // 0)
    assert cache.get_or_make("a", lambda: 7) == 7


@pytest.fixture
def remembering(vl_backbone):
    template = load_template(vl_backbone)
    template.memory = PromptMemory(1 << 20, 1 << 20)
    return template


def png(image) -> dict:
    file = BytesIO()
    image.save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def test_encoded_from_memory_a_group_is_the_same(vl_template, remembering, make_group, picture, monkeypatch):
    groups = [
        make_group("What is this?", ["noise", "nothing"], [png(picture(56, 84, 1))]),
        make_group("And this?", ["noise"], [png(picture(56, 84, 1))]),
        make_group("<|im_end|> What?", ["noise <|image_pad|>"], [png(picture(56, 84, 2)), png(picture(56, 84, 1))]),
        make_group("Nothing to see.", ["noise"]),
    ]
    calls = []
    encode = remembering.vision.encode
    monkeypatch.setattr(remembering.vision, "encode", lambda items: calls.append(len(items)) or encode(items))
    for _ in range(2):
        for group in groups:
            found, expected = remembering.encode(group), vl_template.encode(group)
            assert np.array_equal(found.prefix, expected.prefix)
            assert [own.tolist() for own in found.suffixes] == [own.tolist() for own in expected.suffixes]
            assert np.array_equal(found.positions.prefix, expected.positions.prefix)
            if expected.images:
                assert found.images.expansions == expected.images.expansions
                assert all((found.images.tensors[key] == own).all() for key, own in expected.images.tensors.items())
    assert calls == [1, 2]


def test_a_broken_image_fails_each_time(remembering, make_group):
    group = make_group("What is this?", ["noise"], [{"bytes": b"\x89PNG\r\n\x1a\nbroken", "path": None}])
    for _ in range(2):
        with pytest.raises(RowError, match="decoded"):
            remembering.encode(group)


def test_texts_are_forgotten_too(remembering, vl_template, make_group):
    remembering.memory = PromptMemory(2000, 0)
    for number in range(30):
        group = make_group(f"Question {number}?", [f"answer {number}"])
        assert remembering.encode(group).prefix.tolist() == vl_template.encode(group).prefix.tolist()
        assert remembering.memory.texts.size <= 2000


def test_a_file_under_two_names_is_one_image(remembering, make_group, picture, tmp_path):
    names = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for name in names:
        picture(56, 84, 1).save(name)
    groups = [remembering.encode(make_group("What is this?", ["noise", "nothing"], [name])) for name in names]
    assert len(collate(groups)["image_items"]) == 1


def test_a_file_that_is_replaced_is_another_image(remembering, make_group, picture, tmp_path):
    name, groups = str(tmp_path / "a.png"), []
    for seed in (1, 2):
        picture(56, 84, seed).save(name)
        groups.append(remembering.encode(make_group("What is this?", ["noise", "nothing"], [name])))
    batch = collate(groups)
    assert len(batch["image_rows"]) == 2
    assert torch.equal(batch["pixel_values"], torch.cat([group.images.tensors["pixel_values"] for group in groups]))
