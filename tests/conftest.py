"""Tiny backbones and the groups that several rooms test with."""

from functools import cache
from itertools import count

import pytest

from basereward.data.schema import Message, Part, Response, ResponseGroup


@pytest.fixture(scope="session")
def backbone_of(tmp_path_factory):
    """``backbone_of(family)``: the folder of a tiny backbone."""
    from basereward.lab.backbone import write_backbone

    return cache(lambda family: write_backbone(tmp_path_factory.mktemp(family) / "backbone", family, "test"))


@pytest.fixture(scope="session")
def vl_backbone(backbone_of):
    """The folder of a tiny Qwen2.5-VL."""
    return backbone_of("qwen2_5_vl")


@pytest.fixture(scope="session")
def text_backbone(backbone_of):
    """The folder of a tiny Qwen3."""
    return backbone_of("qwen3")


@pytest.fixture(scope="session")
def vl_template(vl_backbone):
    """The template of the tiny Qwen2.5-VL; do not change it."""
    from basereward.models.checkpoint import load_template

    return load_template(vl_backbone)


@pytest.fixture(scope="session")
def text_template(text_backbone):
    """The template of the tiny Qwen3; do not change it."""
    from basereward.models.checkpoint import load_template

    return load_template(text_backbone)


@pytest.fixture(scope="session")
def picture():
    """``picture(width, height, seed)``: an image of noise."""
    import numpy as np
    from PIL import Image

    def make(width=56, height=56, seed=0):
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make


@pytest.fixture(scope="session")
def say():
    """``say(role, *parts)``: a message; ``None`` among the parts is an image."""

    def make(role, *parts):
        return Message(role, tuple(Part("image") if part is None else Part("text", part) for part in parts))

    return make


@pytest.fixture(scope="session")
def make_group(say):
    """``make_group(prompt, responses, images)``: a prompt text (images before it) or messages, and response texts."""
    numbers = count()

    def make(prompt, responses, images=()):
        messages = (say("user", *[None] * len(images), prompt),) if isinstance(prompt, str) else tuple(prompt)
        name = f"group {next(numbers)}"
        answers = tuple(Response(f"{name} {place}", (say("assistant", text),)) for place, text in enumerate(responses))
        return ResponseGroup(name, messages, answers, tuple(images))

    return make
