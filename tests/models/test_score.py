"""``RewardModel.score``: one prompt, its images, and texts to score."""

import base64
from io import BytesIO

import pytest
import torch

from basereward.errors import RowError, TemplateError
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


def test_what_cannot_be_scored_is_an_error(vl_model, text_model, picture):
    with pytest.raises(RowError):
        vl_model.score("What?", [b"no image"], ANSWERS)
    with pytest.raises(TemplateError, match="0 image parts for 1 images"):
        vl_model.score([{"role": "user", "content": "What?"}], [picture()], ANSWERS)
    with pytest.raises(TemplateError, match="reads text only"):
        text_model.score("What?", [picture()], ANSWERS)
    with pytest.raises(TemplateError, match="no responses"):
        vl_model.score("What?")
