"""Trees are continued as transformers continues each conversation alone, whatever else is in the batch."""

import json
import shutil
from functools import cache

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from basereward.data.schema import Message, Part, ResponseGroup, Video
from basereward.encoding.groups import EncodedPrompt
from basereward.encoding.openings import encode_openings
from basereward.errors import TemplateError
from basereward.models.generation import Generator, TreeShape, fill_batches, rows_at_once

FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "qwen3")
TOKENS = 24


@pytest.fixture(scope="module")
def generator_of(backbone_of):
    """``generator_of(family)``: a tiny one in fp32 that ends at several tokens; do not change it."""

    @cache
    def make(family):
        generator = Generator(backbone_of(family), TOKENS, 10_000, torch.float32, "cpu")
        # Random weights end an answer by chance if a few dozen tokens do.
        generator.decoder.ends = (*generator.decoder.ends, *range(40, 400, 9))
        return generator

    return make


@pytest.fixture(scope="module")
def forest(generator_of, say, picture):
    """``forest(family)``: trees of one to four openings of several lengths, with images and videos if it reads them."""

    @cache
    def make(family):
        template = generator_of(family).template
        clip = Video(tuple(picture(56, 84, seed=step) for step in range(4)), 2.0)
        shown = [((picture(84, 56, 1),), ()), ((), ()), ((picture(112, 84, 2), picture(28, 56, 3)), ()), ((), (clip,))]
        asks = ["Why?", "Which one is red? " * 3, "And the color?", "Which one is red? And how many are there?"]
        trees = []
        for number, (images, videos) in enumerate(shown[1:2] * 2 if family == "qwen3" else shown):
            beginning = say("user", *[None] * len(images), f"Look {'here ' * number}", *asks[:number])
            if videos:
                beginning = Message("user", (Part("video"), *beginning.content))
            own = [(beginning, say("assistant", "red"), say("user", ask)) for ask in asks[: (3, 2, 2, 1)[number]]]
            group = ResponseGroup("g", (), (), images, videos)
            trees.append(encode_openings(template, group, own))
        return trees

    return make


def whole(tree):
    """Each conversation of a tree alone."""
    return [EncodedPrompt(np.concatenate([tree.prefix, suffix]), tree.images) for suffix in tree.suffixes]


def reference(generator, prompt):
    """What transformers generates behind one prompt."""
    inputs = generator.inputs([prompt])
    ends = list(generator.decoder.ends)
    settings = GenerationConfig(do_sample=False, max_new_tokens=TOKENS, eos_token_id=ends, pad_token_id=0)
    ids = generator.model.generate(**inputs, generation_config=settings)[0, len(prompt.ids) :].tolist()
    return ids[:-1] if ids[-1] in ends else ids


def ids_of(answers):
    return [[one.written.ids for one in own] for tree in answers for own in tree]


@pytest.fixture(scope="module")
def expected(generator_of, forest):
    """``expected(family)``: what transformers says behind each opening of the forest."""
    return cache(
        lambda family: [[reference(generator_of(family), prompt)] for tree in forest(family) for prompt in whole(tree)]
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_answers_are_those_of_transformers_on_each_conversation_alone(family, generator_of, forest, expected):
    generator = generator_of(family)
    answers = generator.write(forest(family))
    assert ids_of(answers) == expected(family)
    lengths = {len(own) for [own] in expected(family)}
    # They are not all the same, some are cut off and, of those with images, some end.
    assert len({tuple(own) for [own] in expected(family)}) > 2
    assert TOKENS in lengths
    assert family == "qwen3" or len(lengths) > 1
    assert [one.is_cut_off for tree in answers for [one] in tree] == [len(own) == TOKENS for [own] in expected(family)]


@pytest.mark.parametrize(("family", "cap"), [("qwen2_5_vl", 1), ("qwen2_5_vl", 500), ("internvl", 160)])
def test_answers_do_not_depend_on_the_size_of_batches(family, cap, generator_of, forest, expected, monkeypatch):
    generator = generator_of(family)
    monkeypatch.setattr(generator, "batch_tokens", cap)
    seen = []
    answers = generator.write(forest(family)[::-1], on_progress=lambda *done: seen.append(done))
    assert ids_of(answers[::-1]) == expected(family)
    assert seen == sorted(seen)
    assert seen[-1] == (8, 8)


def test_images_pass_the_tower_once_however_small_the_batches(generator_of, forest, monkeypatch):
    generator = generator_of("qwen2_5_vl")
    patches = []
    hook = generator.model.model.visual.register_forward_hook(lambda _, args, __: patches.append(len(args[0])))
    generator.write(forest("qwen2_5_vl"))
    together, patches[:] = sum(patches), []
    monkeypatch.setattr(generator, "batch_tokens", 1)
    generator.write(forest("qwen2_5_vl"))
    hook.remove()
    pixels = [tree.images.tensors for tree in forest("qwen2_5_vl") if tree.images]
    assert together == sum(patches) == sum(len(value) for own in pixels for key, value in own.items() if "pix" in key)
    assert len(patches) == 3


def test_finished_rows_leave(generator_of, forest, expected, monkeypatch):
    generator = generator_of("qwen2_5_vl")
    known = [own for [own] in expected("qwen2_5_vl")]
    ends = {own[place] for place, own in enumerate(known[:-1], 3) if place < len(own)}
    monkeypatch.setattr(generator.decoder, "ends", (*generator.decoder.ends, *ends))
    step, sizes = generator.decoder._step, []

    def counted(rows, ids, positions):
        sizes.append(len(ids))
        return step(rows, ids, positions)

    monkeypatch.setattr(generator.decoder, "_step", counted)
    cut = [own[: next((place for place, token in enumerate(own) if token in ends), None)] for own in known]
    assert ids_of(generator.write(forest("qwen2_5_vl"))) == [[own] for own in cut]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= sizes[0] / 2


@pytest.mark.parametrize("fault", ["following", "mask", "suffix", "owner"])
def test_what_goes_silently_wrong_is_seen_here(fault, generator_of, forest, expected, monkeypatch):
    generator = generator_of("qwen2_5_vl")
    trees, decoder = forest("qwen2_5_vl"), generator.decoder
    step = decoder._step
    if fault == "following":
        # Tokens counted instead of positions: behind an image they differ.
        trees = [
            type(tree)(tree.prefix, tree.suffixes, tree.positions._replace(following=len(tree.prefix)), tree.images)
            for tree in trees
        ]
    elif fault == "owner":
        monkeypatch.setattr(decoder, "_integers", lambda values: torch.tensor(sorted(values)[::-1], dtype=torch.long))
    else:

        def broken(rows, ids, positions):
            if fault == "mask":
                rows.mask = torch.ones_like(rows.mask)
            elif ids.shape[1] == 1:
                positions = positions + 1
            return step(rows, ids, positions)

        monkeypatch.setattr(decoder, "_step", broken)
    assert ids_of(generator.write(trees)) != expected("qwen2_5_vl")


WINDOW = {"use_sliding_window": True, "sliding_window": 6, "layer_types": ["full_attention", "sliding_attention"]}


def test_rows_without_padding_where_layers_would_see_it(text_backbone, forest, tmp_path):
    folder = tmp_path / "sliding"
    shutil.copytree(text_backbone, folder)
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **WINDOW}))
    generator = Generator(folder, TOKENS, 10_000, torch.float32, "cpu")
    assert not generator.decoder.takes_padding
    trees = forest("qwen3")
    expected = [[reference(generator, prompt)] for tree in trees for prompt in whole(tree)]
    assert ids_of(generator.write(trees)) == expected


def test_openings_share_what_they_begin_with(generator_of, forest, say, picture):
    template = generator_of("qwen2_5_vl").template
    tree, *_ = forest("qwen2_5_vl")
    text = template.tokenizer.decode(tree.prefix)
    assert text.endswith("<|im_start|>user\n")
    begun = [template.tokenizer.decode(own[:1]) for own in tree.suffixes]
    assert len(set(begun)) > 1
    asked = [(say("user", "Why? " * number, None),) for number in (1, 2)]
    with pytest.raises(TemplateError, match="share no beginning with all images"):
        encode_openings(template, ResponseGroup("g", (), (), (picture(),)), asked)


def test_batches_hold_the_longest_first_under_the_cap():
    shapes = [TreeShape(size - 1, 1, 1) for size in (5, 90, 7, 6, 40)]
    assert list(fill_batches(shapes, 10, 100)) == [[1], [4, 2], [3, 0]]
    assert list(fill_batches([], 10, 100)) == []
    many = [TreeShape(30, 10, 4), TreeShape(20, 20, 2), TreeShape(5, 5, 1)]
    assert list(fill_batches(many, 10, 200)) == [[0], [1, 2]]
    assert [rows_at_once(many[:1], 10, cap) for cap in (1, 120, 200)] == [1, 2, 4]
