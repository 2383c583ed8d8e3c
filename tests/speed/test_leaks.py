"""Planted leaks of every mode are found, and pairs that leak nothing are no alarm."""

import numpy as np
import pytest
from PIL import Image

from basereward.errors import DataError
from basereward.speed.leaks import BAR, CONTROLS, SIBLINGS, measure_leaks
from basereward.speed.planted import IMAGE_MODES, TEXT_MODES, drawn_picture, question


def test_every_mode_with_a_bar_is_found_and_no_control_is():
    report = measure_leaks(items=8, controls=40)
    modes = {mode.name: mode for mode in report.modes}
    assert {name: mode.share for name, mode in modes.items() if mode.has_bar and mode.share < BAR} == {}
    assert sum(mode.has_bar for mode in report.modes) == 17
    assert (modes[CONTROLS].planted, modes[CONTROLS].found) == (40, 0)
    # What the controls share with items is told, and is no contamination.
    assert modes[CONTROLS].kinds["same_question_other_image"] == modes[CONTROLS].kinds["same_image_new_question"] == 10
    assert not modes[SIBLINGS].has_bar
    assert report.to_dict()["modes"][0]["planted"] == 8


def test_questions_and_pictures_are_distinct():
    assert len({question(number) for number in range(120)}) == 120
    pixels = [np.asarray(drawn_picture(number).resize((32, 32))).tobytes() for number in range(40)]
    assert len(set(pixels)) == 40


def test_modes_change_what_they_are_named_after():
    image = drawn_picture(0)
    sizes = {name: change(image).size for name, change in IMAGE_MODES.items()}
    assert image.size == (320, 240)
    assert sizes["centred crop of 10 %"] == (288, 216)
    assert sizes["padded to a square"] == (320, 320)
    assert sizes["border of 5 %"] == (352, 272)
    asked = question(3)
    held = {name: asked in str(ask(asked)) for name, ask in TEXT_MODES.items()}
    assert [name for name, is_held in held.items() if not is_held] == ["with zero-width characters"]


def test_pictures_of_a_folder_are_used_and_must_suffice(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "one.png")
    with pytest.raises(DataError, match="has 1 pictures, expected 3"):
        measure_leaks(items=1, controls=1, pictures=tmp_path)
    with pytest.raises(DataError, match="at least one item"):
        measure_leaks(items=0)
