"""The changes that probes make: what they change, and all that they leave as it is."""

from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from basereward.benchmarks.items import BenchmarkItem, ItemRow
from basereward.data.schema import Part, Response, ResponseGroup, messages_from_text
from basereward.errors import UnknownNameError
from basereward.evaluation.audit.attacks import TEXTS, as_list
from basereward.evaluation.audit.blindness import BLANK, grey_image
from basereward.evaluation.audit.edits import change_responses, change_text, turn_responses
from basereward.evaluation.audit.pictures import compress_image, crop_image, resize_image
from basereward.evaluation.audit.probe import PROBE_KINDS
from basereward.evaluation.audit.probes import PROBES, choose_probes
from basereward.evaluation.audit.sets import draw_pair_of, make_set
from basereward.evaluation.audit.wordings import mistype
from tests.evaluation.audit.conftest import opened


@pytest.fixture(scope="module")
def asked():
    """The world of colours as an audit asks about it."""
    return make_set(opened().items, 0)


def texts(item, side):
    return [item.responses[place].text for place in getattr(item.rows[0], side)]


@pytest.mark.parametrize("name", [probe for probe in PROBES.names() if PROBES.get(probe).kind == "attacks"])
def test_an_attack_changes_the_rejected_response_alone(asked, name):
    changed = PROBES.get(name).prepare(asked)
    assert list(changed.numbers) == list(asked.usable)
    for number in changed.numbers[:20]:
        before, after = asked.items[number], changed.item(number)
        assert texts(before, "correct") == texts(after, "correct")
        assert texts(before, "rejected") != texts(after, "rejected")
        assert (before.prompt, before.images) == (after.prompt, after.images)
        assert len({response.id for response in after.responses}) == 2
        if name in TEXTS:
            assert any(texts(after, "rejected")[0].endswith(text) for text in TEXTS[name])


@pytest.mark.parametrize("name", ["format", "length"])
def test_a_form_is_put_on_both_responses_alike(asked, name):
    changed = PROBES.get(name).prepare(asked)
    for number in changed.numbers[:20]:
        before, after = asked.items[number], changed.item(number)
        own = [one.text.removesuffix(other.text) for one, other in zip(after.responses, before.responses, strict=True)]
        assert own[0] == own[1] != ""


def test_the_prompt_loses_its_words_and_keeps_its_images(asked):
    item = PROBES.get("prompt_blind").prepare(asked).item(0)
    assert item.prompt[-1].content == (Part("image"), Part("text", BLANK))
    assert item.responses == asked.items[0].responses


def test_images_come_from_items_that_show_others(asked):
    changed = PROBES.get("image_swap").prepare(asked)
    assert all(changed.item(number).images != asked.items[number].images for number in changed.numbers)


def test_an_item_is_changed_as_if_it_were_alone(asked):
    alone = PROBES.get("length").prepare(replace(asked, usable=[7]))
    assert alone.numbers == [7]
    assert alone.item(7) == PROBES.get("length").prepare(asked).item(7)


def test_a_sample_is_drawn_by_the_seed(asked):
    first, again, other = (PROBES.get("batch").prepare(replace(asked, seed=seed)).numbers for seed in (0, 0, 1))
    assert first == again != other
    assert len(first) == len(set(first)) == 64


def test_typing_mistakes_keep_letters_and_ends_of_words():
    text = "Which of these enormous buildings was photographed before the earthquake, and which one afterwards?"
    found = mistype(text, Random(0))
    assert found != text
    for before, after in zip(text.split(), found.split(), strict=True):
        assert sorted(before) == sorted(after)
        assert (before[0], before[-1]) == (after[0], after[-1])
    assert mistype("Is it so?", Random(0)) == "Is it so?"
    assert mistype("aaaaa bbbbbb", Random(0)) == "aaaaa bbbbbb"


def test_sentences_become_entries():
    assert as_list("One. Two!\n\nThree") == "- One.\n- Two!\n- Three"


@pytest.mark.parametrize(
    ("change", "size"),
    [(resize_image, (90, 54)), (crop_image, (94, 56)), (compress_image, (100, 60)), (grey_image, (100, 60))],
)
def test_images_change_as_the_probe_says(picture, change, size):
    before = picture(100, 60)
    after = change(before)
    assert (after.size, after.mode) == (size, "RGB")
    assert after.tobytes() != before.tobytes()


def test_the_smallest_images_stay_images():
    image = Image.new("RGB", (2, 2))
    assert (crop_image(image).size, resize_image(image).size) == ((2, 2), (2, 2))


def test_turning_twice_is_nothing(asked):
    item = asked.items[0]
    turned = turn_responses(item)
    assert turned.responses == item.responses[::-1]
    assert texts(turned, "correct") == texts(item, "correct")
    assert turn_responses(turned) == item


def make_item(*words, correct=(0,), rejected=(1,), alone=False):
    """An item of responses, in one group or in a group each."""
    responses = tuple(
        Response(f"r{number}", messages_from_text(word, "assistant")) for number, word in enumerate(words)
    )
    parts = [(one,) for one in responses] if alone else [responses]
    groups = tuple(ResponseGroup(f"g{number}", messages_from_text("?"), part) for number, part in enumerate(parts))
    return BenchmarkItem(groups, (ItemRow(5, "five", "", correct, rejected),))


@pytest.mark.parametrize("alone", [False, True])
def test_an_item_of_many_responses_gives_one_pair(alone):
    item = make_item("a", "b", "c", "d", correct=(3, 1), rejected=(0, 2), alone=alone)
    drawn = [draw_pair_of(item, seed) for seed in range(20)]
    found = {(*texts(own, "correct"), *texts(own, "rejected")) for own in drawn}
    assert found == {("d", "a"), ("d", "c"), ("b", "a"), ("b", "c")}
    assert all(len(own.responses) == 2 and own.rows[0].row == 5 for own in drawn)


def test_an_item_of_equal_responses_gives_none():
    assert draw_pair_of(make_item("a", correct=(0,), rejected=(0,)), 0) is None


def test_responses_in_groups_of_their_own_are_changed_too():
    item = change_responses(make_item("a", "b", alone=True), str.upper, rejected_only=True)
    assert [response.text for response in item.responses] == ["a", "B"]
    changed = PROBES.get("order").prepare(make_set([item], 0))
    assert list(changed.numbers) == []


def test_a_message_without_a_text_gets_one(say):
    assert change_text(say("assistant", None), lambda text: text + "x").content == (Part("image"), Part("text", "x"))


def test_probes_are_chosen_kind_by_kind():
    kinds = [PROBE_KINDS.index(probe.kind) for probe in choose_probes()]
    assert kinds == sorted(kinds)
    assert [probe.name for probe in choose_probes(("list", "batch", "list"))] == ["batch", "list"]
    with pytest.raises(UnknownNameError, match="Did you mean 'jpeg'"):
        choose_probes(("jpg",))
