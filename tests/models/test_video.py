"""Videos: the processor's own ids and frames, the backbone's own positions, the same rewards with shared prompts."""

import dataclasses

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoProcessor

from basereward.data.images import VideoSize
from basereward.data.schema import Message, Part, Response, ResponseGroup, Video
from basereward.encoding.collate import collate, take_images
from basereward.errors import RowError, TemplateError
from basereward.models.checkpoint import new_reward_model
from basereward.models.families import FAMILIES
from basereward.models.inputs import TemplateSettings

VISION_FAMILIES = [name for name, family in FAMILIES.items() if family.vision]
KINDS = ("one", "odd", "between", "mixed", "unknown rate")


@pytest.fixture(params=VISION_FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def model(family, backbone_of):
    torch.manual_seed(0)
    return new_reward_model(backbone_of(family), template=TemplateSettings(image_backend="pil")).eval()


@pytest.fixture
def processor(family, backbone_of):
    processor = AutoProcessor.from_pretrained(backbone_of(family))
    processor.image_processor = AutoImageProcessor.from_pretrained(backbone_of(family), backend="pil")
    return processor


@pytest.fixture(scope="module")
def film(picture):
    """``film(frames, fps, width, height)``: a video of noise."""

    def make(frames, fps, width=64, height=96):
        return Video(tuple(picture(width, height, 100 + frame) for frame in range(frames)), fps)

    return make


@pytest.fixture(scope="module")
def groups(film, picture):
    """Videos of one group have as many frames as each other: InternVL's processor reads no others together."""

    def group(name, parts, images=(), videos=(), answers=("red", "It is blue, I think.")):
        kinds = {"image": Part("image"), "video": Part("video")}
        prompt = (Message("user", tuple(kinds.get(part, Part("text", part)) for part in parts)),)
        responses = tuple(
            Response(f"{name} {text}", (Message("assistant", (Part("text", text),)),)) for text in answers
        )
        return ResponseGroup(name, prompt, responses, tuple(images), tuple(videos))

    return {
        "one": group("one", ["video", "What moves?"], videos=[film(4, 2.0)]),
        "odd": group("odd", ["video", "What?"], videos=[film(5, 0.5, 150, 70)], answers=("a", "b", "a longer answer")),
        "between": group("between", ["Now ", "video", "or then", "video", "?"], videos=[film(4, 1.0), film(4, 30.0)]),
        "mixed": group(
            "mixed",
            ["video", "and ", "image", "or ", "video", "image"],
            [picture(84, 56, 1), picture(56, 120, 2)],
            [film(4, 1.0), film(4, 2.0, 80, 56)],
        ),
        "unknown rate": group("unknown rate", ["video", "What?"], videos=[film(6, None)]),
        "image": group("image", ["image", "What?"], [picture(84, 56, 3)]),
        "text": group("text", ["What?"]),
    }


def processed(processor, group, response):
    """What the processor makes of the whole conversation, the frames as they are."""
    text = processor.apply_chat_template(
        [message.to_dict() for message in group.prompt + response.messages], tokenize=False
    )
    videos = [list(video.frames) for video in group.videos]
    facts = [
        None
        if video.fps is None
        else {"total_num_frames": len(frames), "fps": video.fps, "frames_indices": list(range(len(frames)))}
        for video, frames in zip(group.videos, videos, strict=True)
    ]
    metadata = {} if None in facts else {"video_metadata": facts}
    return processor(
        text=[text],
        images=list(group.images) or None,
        videos=videos or None,
        videos_kwargs={"do_sample_frames": False, **metadata} if videos else {},
        return_tensors="pt",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_pixels_equal_the_processor(kind, groups, model, processor):
    group = groups[kind]
    encoded = model.template.encode(group)
    for response, suffix in zip(group.responses, encoded.suffixes, strict=True):
        expected = processed(processor, group, response)
        assert [*encoded.prefix, *suffix] == expected["input_ids"][0].tolist()
        for key, own in encoded.images.tensors.items():
            assert torch.equal(own, expected[key])


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_equals_encoding(kind, groups, model, image_tokens):
    group = groups[kind]
    encoded = model.template.encode(group)
    sizes = [VideoSize(len(video.frames), *video.frames[0].size) for video in group.videos]
    measured = model.template.measure(group, [image.size for image in group.images], sizes)
    assert (measured.prefix, measured.suffixes) == (len(encoded.prefix), tuple(map(len, encoded.suffixes)))
    assert measured.image_tokens == image_tokens(encoded.images)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
def test_rewards_are_those_of_the_backbone_alone(kind, groups, model, processor, shared):
    """The backbone makes its own positions, from the processor's own seconds per grid."""
    group = groups[kind]
    model.use_backend("plain")
    expected = torch.cat(
        [
            model.head(
                model.backbone(**processed(processor, group, response), use_cache=False).last_hidden_state[:, -1]
            )
            for response in group.responses
        ]
    )
    for backend in ("plain", shared):
        model.use_backend(backend, scoring=True)
        rewards = model(**collate([model.template.encode(group)]))
        assert (rewards - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_responses_continue_as_text_and_not_behind_the_time_of_the_video(groups, backbone_of):
    vision = new_reward_model(backbone_of("qwen2_5_vl")).template
    encoded = vision.encode(groups["odd"])
    assert encoded.positions.following < encoded.positions.prefix.max() + 1
    slower = dataclasses.replace(groups["odd"], videos=(dataclasses.replace(groups["odd"].videos[0], fps=4.0),))
    assert not np.array_equal(vision.encode(slower).positions.prefix, encoded.positions.prefix)


@torch.no_grad()
def test_rewards_do_not_depend_on_the_batch(groups, model, shared):
    mixed = [groups[kind] for kind in ("text", "mixed", "image", "one", "between")]
    model.use_backend(shared, scoring=True)
    expected = torch.cat([model(**collate([model.template.encode(group)])) for group in mixed])
    for backend in (shared, "plain"):
        model.use_backend(backend, scoring=True)
        rewards = model(**collate([model.template.encode(group) for group in mixed]))
        assert (rewards - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_of_training_equal_plain_ones(groups, model, checkpointing, gradients, worst_difference, trained):
    batch = collate([model.template.encode(groups[kind]) for kind in ("one", "text", "mixed", "odd", "image")])
    expected = gradients(model, batch, "plain")
    if checkpointing:
        model.enable_checkpointing()
        model.train()
    assert worst_difference(gradients(model, batch, trained), expected) <= 1e-4


def test_items_of_a_batch_are_taken_with_their_own_rows(groups, model):
    batch = collate([model.template.encode(groups[kind]) for kind in ("image", "text", "mixed", "one")])
    assert batch["image_items"].tolist() == list(range(6))
    again = take_images(batch, torch.arange(6))
    assert again.keys() == take_images(batch).keys()
    assert all(torch.equal(again[key], batch[key]) for key in again)
    alone = collate([model.template.encode(groups["one"])])
    assert all(torch.equal(own, alone[key]) for key, own in take_images(batch, torch.tensor([5])).items())
    assert take_images(batch, torch.tensor([], dtype=torch.long)) == {}


@torch.no_grad()
def test_every_row_can_be_given_an_image_and_a_video(groups, model, trained):
    """So that every rank runs the tower as often as the others, which FSDP2 waits for."""
    calls = []
    tower = model.backbone.get_submodule(model.family.vision_module)
    tower.register_forward_pre_hook(lambda module, inputs: calls.append(1))
    kinds = model.template.vision.kinds
    for kind in ("text", "image", "one", "mixed"):
        encoded = model.template.encode(groups[kind])
        expected = model(**collate([encoded]))
        calls.clear()
        for backend in (trained, "plain"):
            model.use_backend(backend)
            rewards = model(**collate([encoded], model.template.vision, ("image", "video")))
            assert (rewards - expected).abs().max() <= 1e-5 * expected.abs().max()
        assert len(calls) == 2 * len(kinds)


def test_bad_videos_are_bad_rows(groups, model, film, picture):
    frames = (picture(64, 64, 1), picture(64, 96, 2))
    for video, message in ((Video(()), "without frames"), (Video(frames), "several sizes")):
        with pytest.raises(RowError, match=message) as caught:
            model.template.encode(dataclasses.replace(groups["one"], videos=(video,)))
        assert caught.value.reason == "video"
    with pytest.raises(TemplateError, match="1 video parts for 2 videos"):
        model.template.encode(dataclasses.replace(groups["one"], videos=(film(2, 1.0),) * 2))


def test_one_frame(groups, family, model, film, image_tokens):
    group = dataclasses.replace(groups["one"], videos=(film(1, 1.0),))
    if not family.startswith("qwen3"):
        tokens = image_tokens(model.template.encode(group).images)
        assert model.template.measure(group, [], [VideoSize(1, 64, 96)]).image_tokens == tokens > 0
        return
    for call in (
        lambda: model.template.encode(group),
        lambda: model.template.measure(group, [], [VideoSize(1, 64, 96)]),
    ):
        with pytest.raises(RowError, match="refuses 1 frame ") as caught:
            call()
        assert caught.value.reason == "video"


def test_a_text_backbone_refuses_videos(groups, text_template):
    for call in (
        lambda: text_template.encode(groups["one"]),
        lambda: text_template.measure(groups["one"], [], [VideoSize(4, 64, 96)]),
    ):
        with pytest.raises(TemplateError, match="reads text only"):
            call()
