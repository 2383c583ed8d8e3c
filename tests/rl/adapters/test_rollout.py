"""Rows become groups: prompts in any form, images from parts or from beside the prompt, runs of one prompt."""

import pytest
from PIL import Image

from basereward.data.schema import Part
from basereward.errors import RewardError
from basereward.rl.adapters.rewarder import group_rollouts
from basereward.rl.adapters.rollout import Rollout, group_lengths, make_rollouts, rollout_key
from basereward.rl.adapters.sight import check_sight


def prompt_with(*parts):
    return [{"role": "user", "content": list(parts)}]


TEXT = {"type": "text", "text": "Q?"}


def test_every_form_of_a_prompt_is_the_same_group(picture):
    image = picture()
    forms = [
        Rollout("Q?", "a", image),
        Rollout("<image>Q?", "a", [image]),
        Rollout([{"role": "user", "content": "Q?"}], [{"role": "assistant", "content": "a"}], image),
        Rollout(prompt_with({"type": "image", "image": image}, TEXT), "a"),
        # TRL shows the image in the part and in the column; Arrow fills in keys.
        Rollout(prompt_with({"type": "image", "image": image, "text": None}, {**TEXT, "image": None}), "a", image),
        Rollout(prompt_with({"type": "image", "text": None}, TEXT), "a", [image]),
        Rollout(prompt_with({"type": "image_url", "image_url": {"url": image}}, TEXT), "a"),
    ]
    for row in forms:
        group = make_rollouts([row], "row").group
        assert group.prompt[0].content == (Part("image"), Part("text", "Q?")), row
        assert [response.text for response in group.responses] == ["a"]
        # Not encoded and decoded again on the way.
        assert group.images == (image,)
        assert group.images[0] is image


def test_a_path_stays_a_path_until_it_is_read():
    assert make_rollouts([Rollout("Q?", "a", "no/where.png")], "row").group.images == ("no/where.png",)


def test_prompt_and_images_that_do_not_fit_are_refused(picture):
    image = picture()
    for row, words in (
        (Rollout(prompt_with({"type": "image"}, TEXT), "a"), "placeholder_count"),
        (Rollout(prompt_with({"type": "image", "image": image}, {"type": "image"}), "a"), "2 image parts, 1 of which"),
        (Rollout(prompt_with({"type": "image", "image": image}, TEXT), "a", [image, image]), "2 images beside"),
        (Rollout(prompt_with({"type": "audio"}), "a"), "malformed"),
        (Rollout("Q?", [{"role": "tool", "content": "a"}]), "malformed"),
    ):
        with pytest.raises(RewardError, match=words):
            make_rollouts([row], "row")


def test_runs_of_one_prompt_with_one_image_are_groups(picture):
    one, copy, other = picture(seed=0), picture(seed=0), picture(seed=1)
    rows = [
        Rollout("Q", "a", one, "x"),
        Rollout("Q", "b", copy, "x"),
        Rollout("Q", "c", other, "x"),
        Rollout("Q", "d", one, "x"),
    ]
    assert [len(group.group.responses) for group in group_rollouts(rows)] == [2, 1, 1]
    assert rollout_key(rows[0]) != rollout_key(Rollout("Q", "a", one, "y"))
    assert group_lengths(list("aaaab"), 2) == [2, 2, 1]
    assert group_lengths(list("aaaab")) == [4, 1]
    assert group_lengths([]) == []


def test_answers_of_a_column_become_texts():
    for answer, expected in (("x", "x"), (3, "3"), (["x", 2], ("x", "2")), (None, None)):
        assert make_rollouts([Rollout("Q", "a", answer=answer)], "row").answer == expected
    known = make_rollouts([Rollout("Q", "a", is_truncated=True), Rollout("Q", "b", is_truncated=False)], "row")
    assert known.truncated == (True, False)
    assert make_rollouts([Rollout("Q", "a", is_truncated=True), Rollout("Q", "b")], "row").truncated == ()


@pytest.mark.parametrize(
    "value", ["scene.PNG", {"bytes": b"x", "path": None}, [Image.new("RGB", (4, 4))], "data:image/png;base64,xx"]
)
def test_a_column_of_images_that_no_prompt_shows_is_refused(value):
    rows = [Rollout("Q", "a"), Rollout("Q", "b")]
    with pytest.raises(RewardError, match=r"'img' holds images.*trained blind"):
        check_sight(rows, {"answer": ["x", "x"], "img": [value, value]}, None)
    check_sight(rows, {"img": [value, value]}, False)
    check_sight(rows, {"url": ["no image", "no image"]}, None)


def test_every_prompt_shows_an_image_where_that_is_expected(picture):
    rows = [Rollout("Q", "a", picture()), Rollout("Q", "b")]
    check_sight(rows, {"img": [picture()]}, None)
    with pytest.raises(RewardError, match="1 of 2 prompts show no image"):
        check_sight(rows, {}, True)
