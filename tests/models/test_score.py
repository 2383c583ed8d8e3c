"""``RewardModel.score``: one prompt, its images, and texts to score."""

import base64
import copy
import math
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from basereward.encoding.template import Template
from basereward.errors import BackendError, DataError, RowError, TemplateError
from basereward.models.checkpoint import save_reward_model
from basereward.models.reward_model import RewardModel

ANSWERS = ("red", "It is blue.", "red")


def test_a_text_prompt(text_model, rewards_of, make_group):
    scores = text_model.score("What color?", responses=ANSWERS)
    assert scores == rewards_of(text_model, [make_group("What color?", ANSWERS)]).tolist()
    assert [type(score) for score in scores] == [float] * 3
    assert scores[0] == pytest.approx(scores[2], rel=1e-5)


def test_images_come_before_a_text_prompt(vl_model, rewards_of, make_group, picture):
    images = [picture(56, 84, 1), picture(56, 56, 2)]
    scores = vl_model.score("Same?", images, ANSWERS)
    assert scores == rewards_of(vl_model, [make_group("Same?", ANSWERS, images)]).tolist()
    assert scores != vl_model.score("Same?", images[::-1], ANSWERS)


def test_messages_say_where_images_stand(vl_model, rewards_of, make_group, say, picture):
    images = [picture(56, 84, 1), picture(56, 56, 2)]
    prompt = [
        {"role": "system", "content": "Be fair."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "Is "}, {"type": "image"}, {"type": "text", "text": " it?"}],
        },
        {"role": "assistant", "content": "It is."},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "And this?"}]},
    ]
    messages = (
        say("system", "Be fair."),
        say("user", "Is ", None, " it?"),
        say("assistant", "It is."),
        say("user", None, "And this?"),
    )
    group = make_group(messages, ANSWERS, images)
    assert vl_model.score(prompt, images, ANSWERS) == rewards_of(vl_model, [group]).tolist()


def test_images_as_paths_and_bytes(vl_model, picture, tmp_path):
    image = picture(64, 64, 5)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    (tmp_path / "image.png").write_bytes(buffer.getvalue())
    forms = [image, tmp_path / "image.png", buffer.getvalue(), base64.b64encode(buffer.getvalue()).decode()]
    scores = [vl_model.score("What?", [form], ANSWERS) for form in forms]
    assert all(own == scores[0] for own in scores)


def test_scores_survive_saving(vl_model, picture, tmp_path):
    expected = vl_model.score("What?", [picture()], ANSWERS)
    loaded = RewardModel.from_pretrained(save_reward_model(vl_model, tmp_path), device="cpu")
    assert not loaded.training
    assert loaded.score("What?", [picture()], ANSWERS) == expected


def test_scoring_leaves_no_gradient_and_no_inference_tensor_behind(vl_model, picture):
    vl_model.score("What?", [picture()], ANSWERS)
    loss = vl_model.head(torch.randn(2, 32, requires_grad=True)).sum()
    loss.backward()
    assert all(weight.grad is not None for weight in vl_model.head.parameters())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"responses": "circle"}, r"Found a text as responses; expected a list of texts: responses=\["),
        ({"responses": b"circle"}, "expected a list of texts"),
        ({"responses": {"role": "assistant", "content": "circle"}}, "expected a list of texts"),
        ({"responses": 3}, "expected a list of texts"),
        ({"responses": [{"role": "assistant", "content": "circle"}]}, r"Found a dict as response 0; expected its text"),
        ({"responses": ["a", [{"role": "assistant", "content": "circle"}]]}, r"Found a list as response 1"),
        ({"responses": ["a", None]}, r"Found a NoneType as response 1"),
        ({"images": Image.new("RGB", (56, 56))}, r"Found an Image as images; expected a list.*images=\[image\]"),
        ({"images": "scene.png"}, r"Found a text as images; expected a list"),
        ({"images": Path("scene.png")}, r"images=\[image\]"),
        ({"images": b"bytes"}, r"images=\[image\]"),
        ({"prompt": "<image>What?"}, r"mark '<image>'.*leave the mark out.*\{'type': 'image'\}"),
        ({"prompt": "A film: <video>"}, r"mark '<video>'.*\{'type': 'video'\}"),
        ({"prompt": {"role": "user", "content": "What?"}}, r"one message as prompt; .*prompt=\[message\]"),
        ({"prompt": 7}, "Found an int as prompt; expected a text or a list of messages"),
        ({"prompt": ["What?"]}, "Expected a message with 'role' and 'content'"),
        ({"prompt": []}, "non-empty list of messages"),
    ],
)
def test_a_value_of_the_wrong_kind_shows_the_right_one(arguments, expected, vl_model):
    with pytest.raises(ValueError, match=expected) as caught:
        vl_model.score(**{"prompt": "What?", "responses": ["circle"], **arguments})
    assert isinstance(caught.value, DataError)


def test_other_sequences_than_lists_are_fine(text_model):
    expected = text_model.score("What?", responses=["red", "blue"])
    assert text_model.score("What?", responses=("red", "blue"), images=None) == expected
    assert text_model.score("What?", responses=(text for text in ("red", "blue"))) == expected
    assert text_model.score(({"role": "user", "content": "What?"},), responses=["red", "blue"]) == expected


def test_the_mark_of_an_image_is_a_word_in_messages(vl_model):
    [score] = vl_model.score([{"role": "user", "content": "What does <image> mean?"}], responses=["A tag."])
    assert math.isfinite(score)


@pytest.mark.parametrize("row_tokens", [1, 60, 16384])
def test_many_prompts_in_one_call(vl_model, row_tokens, picture):
    asked = [
        {"prompt": "What color?", "responses": ["red", "It is blue.", "red"]},
        {"prompt": "Same?", "responses": ["yes"], "images": [picture(56, 84, 1), picture(56, 56, 2)]},
        {"prompt": [{"role": "user", "content": "How many?"}], "responses": ["three of them", "two"]},
    ]
    alone = [vl_model.score(each["prompt"], each.get("images", ()), each["responses"]) for each in asked]
    together = vl_model.score_groups(asked, row_tokens)
    assert [len(own) for own in together] == [3, 1, 2]
    for own, expected in zip(together, alone, strict=True):
        assert own == pytest.approx(expected, rel=1e-5)
    assert vl_model.score_groups([]) == []


def test_groups_are_taken_as_they_are(text_model, make_group):
    group = make_group("What color?", ANSWERS)
    assert text_model.score_groups([group])[0] == pytest.approx(text_model.score("What color?", responses=ANSWERS))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"prompt": "q"}, "Group 1 has no responses"),
        ({"prompt": "q", "responses": ["a"], "image": []}, r"Unknown key 'image' in group 1\. Did you mean 'images'"),
        (("q", ["a"]), "Found a tuple as group 1"),
        ({"prompt": "q", "responses": "a"}, "expected a list of texts"),
    ],
)
def test_a_bad_group_is_named(asked, expected, text_model):
    with pytest.raises(DataError, match=expected):
        text_model.score_groups([{"prompt": "q", "responses": ["a"]}, asked])


def test_characters_that_the_template_leaves_out_are_told(text_model, caplog):
    template = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}"
    tokenizer = copy.deepcopy(text_model.template.tokenizer)
    tokenizer.chat_template = template
    model = RewardModel(text_model.backbone, text_model.head, Template(tokenizer))
    seen, whole = (model.score("q", responses=[text]) for text in ("<think>hidden</think>yes", "yes"))
    assert seen == whole
    assert "leaves out 6 characters" in caplog.text


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "cpu:x"])
def test_a_device_that_is_not_there_is_named(text_model, device, tmp_path):
    folder = save_reward_model(text_model, tmp_path)
    with pytest.raises(BackendError, match=f"Device '{device}' cannot be used here .*expected cpu"):
        RewardModel.from_pretrained(folder, device=device)


def test_what_cannot_be_scored_is_an_error(vl_model, text_model, picture):
    with pytest.raises(RowError):
        vl_model.score("What?", [b"no image"], ANSWERS)
    with pytest.raises(TemplateError, match="0 image parts for 1 images"):
        vl_model.score([{"role": "user", "content": "What?"}], [picture()], ANSWERS)
    with pytest.raises(TemplateError, match="reads text only"):
        text_model.score("What?", [picture()], ANSWERS)
    with pytest.raises(TemplateError, match="no responses"):
        vl_model.score("What?")
