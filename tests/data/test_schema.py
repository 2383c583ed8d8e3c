"""What the canonical types accept, refuse and derive."""

import pytest

from basereward.data.messages import parse_messages
from basereward.data.parsing import check_columns, parse_pair
from basereward.data.schema import PAIR_KEYS, messages_from_text
from basereward.errors import DataError, RowError

IMAGE_PROMPT = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]

VIDEO_PROMPT = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What happens?"}]}]


def record(**changes):
    return {"id": "a", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", **changes}


def test_strings_become_messages_with_one_text_part():
    pair = parse_pair(record(), "0")
    assert pair.prompt == messages_from_text("Why?")
    assert pair.chosen == messages_from_text("Because.", role="assistant")


def test_part_with_none_filled_image_key_stays_a_text():
    (message,) = parse_messages([{"role": "user", "content": [{"type": "text", "text": "a", "image": None}]}], "user")
    assert message.to_dict()["content"] == [{"type": "text", "text": "a"}]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"prompt": None}, "malformed"),
        ({"prompt": [{"role": "user"}]}, "malformed"),
        ({"chosen": [{"role": "assistant", "content": [{"type": "sound"}]}]}, "malformed"),
        ({"chosen": [{"role": "assistant", "content": "Wait.", "tool_calls": [{"name": "f"}]}]}, "malformed"),
        ({"chosen": [{"role": "assistant", "content": "So.", "reasoning_content": "Hm."}]}, "malformed"),
        ({"rejected": " \n"}, "empty_response"),
        ({"rejected": "Because."}, "equal_responses"),
        ({"rejected": "\n Because.  "}, "equal_responses"),
        ({"prompt": IMAGE_PROMPT}, "placeholder_count"),
        ({"images": ["a.png"]}, "placeholder_count"),
        ({"prompt": VIDEO_PROMPT}, "placeholder_count"),
        ({"videos": [{"frames": ["a.png"]}]}, "placeholder_count"),
        ({"prompt": VIDEO_PROMPT, "images": ["a.png"]}, "placeholder_count"),
        ({"prompt": VIDEO_PROMPT, "videos": [{"frames": []}]}, "video"),
        ({"prompt": VIDEO_PROMPT, "videos": [{"frames": ["a.png"], "fps": 0}]}, "video"),
        ({"prompt": VIDEO_PROMPT, "videos": [{"frames": ["a.png"], "fps": "2"}]}, "video"),
        ({"prompt": VIDEO_PROMPT, "videos": ["a.mp4"]}, "malformed"),
        ({"prompt": VIDEO_PROMPT, "videos": "a.mp4"}, "malformed"),
    ],
)
def test_bad_record_names_its_reason(changes, reason):
    with pytest.raises(RowError) as caught:
        parse_pair(record(**changes), "0")
    assert caught.value.reason == reason


def test_extra_columns_are_kept():
    pair = parse_pair(record(group="7", options=["a", "b"], unset=None), "0")
    assert pair.extra == {"group": "7", "options": ["a", "b"]}


@pytest.mark.parametrize(("wrong", "right"), [("imges", "images"), ("choosen", "chosen"), ("margins", "margin")])
def test_misspelt_column_is_named_with_the_right_one(wrong, right):
    names = [name for name in ("prompt", "chosen", "rejected") if name != right]
    with pytest.raises(DataError, match=rf"here: unknown column '{wrong}'.*'{right}'"):
        check_columns([*names, wrong], PAIR_KEYS, "here")


def test_unrelated_columns_are_accepted():
    names = ["id", "source", "images", "prompt", "chosen", "rejected", "group", "answer", "options", "prompt_id"]
    check_columns(names, PAIR_KEYS, "here")


def test_place_of_chosen_does_not_depend_on_which_answer_is_chosen():
    one = parse_pair(record(), "0").comparison()
    other = parse_pair(record(chosen="No.", rejected="Because."), "0").comparison()
    assert one.groups == other.groups
    assert (one.chosen, one.rejected) == (other.rejected, other.chosen)


def test_images_inside_responses_make_two_groups_with_their_own_images():
    answer = [{"role": "assistant", "content": [{"type": "image"}]}]
    pair = parse_pair(record(prompt=IMAGE_PROMPT, chosen=answer, rejected=answer, images=["p", "c", "r"]), "0")
    comparison = pair.comparison()
    assert [group.images for group in comparison.groups] == [("p", "c"), ("p", "r")]
    assert (comparison.chosen, comparison.rejected) == (0, 1)
