"""Image tokens, sizes and positions are those of the Hugging Face processor and the backbone itself."""

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoProcessor

from basereward.encoding.collate import collate
from basereward.encoding.groups import EncodedGroup
from basereward.encoding.media import Positions
from basereward.errors import TemplateError

SIZES = ((56, 56), (28, 28), (57, 83), (300, 40), (40, 300), (640, 480), (14, 100))


@pytest.fixture(scope="module")
def processor(vl_backbone):
    return AutoProcessor.from_pretrained(vl_backbone)


@pytest.fixture(scope="module")
def rope_model(vl_backbone):
    with torch.device("meta"):
        return AutoModel.from_config(AutoConfig.from_pretrained(vl_backbone))


@pytest.fixture
def groups(make_group, say, picture):
    between = (
        say("system", "Look."),
        say("user", "A ", None, " or B ", None, "?"),
        say("assistant", "Which?"),
        say("user", "Well."),
    )
    return {
        "no image": make_group("What color?", ["red", "blue, I think"]),
        "one image": make_group("What color?", ["red", "blue, I think", "red"], [picture(100, 60)]),
        "two images": make_group(between, ["A", "B, surely"], [picture(56, 140), picture(90, 56)]),
    }


@pytest.mark.parametrize("size", SIZES)
def test_token_counts_equal_the_processor(size, vl_template, processor, picture):
    image = picture(*size)
    ids = processor(text=["<|image_pad|>"], images=[image], return_tensors="pt")["input_ids"][0]
    assert vl_template.vision.expand_image(*size).counts == (len(ids),)
    assert vl_template.vision.encode([image]).expansions[0].counts == (len(ids),)


@pytest.mark.parametrize("kind", ["no image", "one image", "two images"])
def test_ids_and_pixels_equal_the_processor(kind, groups, vl_template, processor):
    group = groups[kind]
    encoded = vl_template.encode(group)
    for response, suffix in zip(group.responses, encoded.suffixes, strict=True):
        messages = [message.to_dict() for message in group.prompt + response.messages]
        text = processor.apply_chat_template(messages, tokenize=False)
        expected = processor(text=[text], images=list(group.images) or None, return_tensors="pt")
        assert [*encoded.prefix, *suffix] == expected["input_ids"][0].tolist()
        if group.images:
            assert all(torch.equal(own, expected[key]) for key, own in encoded.images.tensors.items())
            assert encoded.images.tensors.keys() == {"pixel_values", "image_grid_thw"}


@pytest.mark.parametrize("kind", ["no image", "one image", "two images"])
def test_measuring_equals_encoding(kind, groups, vl_template, image_tokens):
    group = groups[kind]
    encoded = vl_template.encode(group)
    measured = vl_template.measure(group, [image.size for image in group.images])
    assert measured.prefix == len(encoded.prefix)
    assert measured.suffixes == tuple(map(len, encoded.suffixes))
    assert measured.image_tokens == image_tokens(encoded.images)
    assert measured.total == encoded.tokens


@pytest.mark.parametrize("kind", ["no image", "one image", "two images"])
def test_positions_equal_the_backbone_on_every_full_sequence(kind, groups, vl_template, rope_model):
    encoded = vl_template.encode(groups[kind])
    for suffix in encoded.suffixes:
        ids = torch.from_numpy(np.concatenate([encoded.prefix, suffix]))[None]
        expected, _ = rope_model.get_rope_index(
            ids,
            mm_token_type_ids=(ids == rope_model.config.image_token_id).int(),
            image_grid_thw=encoded.images.tensors["image_grid_thw"] if encoded.images else None,
        )
        continued = encoded.positions.following + np.arange(len(suffix))
        ours = np.concatenate([encoded.positions.prefix, np.tile(continued, (3, 1))], axis=1)
        assert ours.tolist() == expected[:, 0].tolist()


def test_text_positions_have_one_axis(text_template, make_group):
    encoded = text_template.encode(make_group("What color?", ["red", "blue"]))
    assert encoded.positions.prefix.tolist() == [list(range(len(encoded.prefix)))]
    assert encoded.positions.following == len(encoded.prefix)


def test_an_image_inside_a_response_that_shares_a_prompt_is_refused(vl_template, make_group, say, picture):
    """Its tokens would stand in a suffix, where positions count on as for text."""
    group = make_group("Draw.", ["a", "b"])
    answers = (say("assistant", "This: ", None), say("assistant", "Or this: ", None))
    responses = tuple(
        type(response)(response.id, (answer,)) for response, answer in zip(group.responses, answers, strict=True)
    )
    both = type(group)("both", group.prompt, responses, (picture(),))
    with pytest.raises(TemplateError, match="group of its own"):
        vl_template.encode(both)
    alone = vl_template.encode(type(group)("alone", group.prompt, responses[:1], (picture(),)))
    assert (alone.prefix == vl_template.vision.pad_ids[0]).sum() == 4


def test_a_row_without_images_gets_one_tiny_image(groups, vl_template):
    text = vl_template.encode(groups["no image"])
    plain, dummy = collate([text]), collate([text], vl_template.vision)
    assert "pixel_values" not in plain
    size = plain["input_ids"].shape[1]
    assert dummy["input_ids"][0, :size].tolist() == plain["input_ids"][0].tolist()
    assert torch.equal(dummy["leaves"], plain["leaves"])
    assert dummy["nodes"].tolist() == [*plain["nodes"].tolist(), [-1, size, size + 3]]
    assert (dummy["input_ids"] == vl_template.vision.pad_ids[0]).sum() == 1
    assert dummy["image_grid_thw"].tolist() == [[1, 2, 2]]
    assert dummy["image_nodes"].tolist() == [len(plain["nodes"])]
    assert not dummy["pixel_values"].any()


def test_a_row_with_images_gets_none(groups, vl_template):
    rows = [vl_template.encode(groups[kind]) for kind in ("no image", "one image")]
    plain, asked = collate(rows), collate(rows, vl_template.vision)
    assert plain.keys() == asked.keys()
    assert all(torch.equal(plain[key], asked[key]) for key in plain)


def test_dummy_pixels_have_the_shape_of_real_ones(vl_template, picture):
    real, dummy = vl_template.vision.encode([picture()]), vl_template.vision.dummy_images()
    assert dummy.tensors["pixel_values"].shape[1] == real.tensors["pixel_values"].shape[1]
    assert len(dummy.tensors["pixel_values"]) == dummy.tensors["image_grid_thw"].prod()
    assert isinstance(vl_template.vision.positions(vl_template.vision.dummy_ids(), dummy), Positions)


def test_an_encoded_group_of_one_keeps_its_last_token(groups, vl_template):
    group = groups["one image"]
    encoded = vl_template.encode(type(group)("one", group.prompt, group.responses[:1], group.images))
    assert isinstance(encoded, EncodedGroup)
    assert len(encoded.suffixes[0]) == 1
