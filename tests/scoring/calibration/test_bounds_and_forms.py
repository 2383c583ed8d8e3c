"""Ranks of conformal bounds, features of texts, and pixels of prompts."""

from math import log1p

import numpy as np
import pytest

from basereward.data.outcomes import Failure
from basereward.data.schema import Response, ResponseGroup
from basereward.errors import ScoringError
from basereward.scoring.calibration.bounds import fit_bounds
from basereward.scoring.calibration.forms import read_form, text_features


def bounds(margins, alpha, shows=False):
    kinds = np.full(len(margins), shows)
    return fit_bounds(np.array(margins), kinds, np.arange(len(margins), dtype=np.uint64), alpha)


def test_the_bound_is_a_rank():
    # ceil((19 + 1) 0.9) = 18: the 18th smallest of -m is the second largest.
    margins = [-3.0, -2.0, *np.linspace(1, 5, 17)]
    assert bounds(margins, 0.1).text == 2.0
    assert bounds(margins, 0.05).text == 3.0
    assert bounds(margins, 0.3).text == 0.0
    with pytest.raises(ScoringError, match=r"alpha of 0\.04 needs 24 prompts"):
        bounds(margins, 0.04)


def test_a_prompt_counts_once_and_kinds_with_enough_prompts_alone():
    margins = np.concatenate([np.linspace(-1, 5, 100), np.linspace(-4, 20, 100)])
    shows = np.repeat([False, True], 100)
    prompts = np.arange(200, dtype=np.uint64)
    found = fit_bounds(margins, shows, prompts, 0.1)
    assert found.images == pytest.approx(4 * found.text)
    assert found.pairs == 200
    twice = fit_bounds(np.repeat(margins, 2), np.repeat(shows, 2), np.repeat(prompts, 2), 0.1)
    assert twice == found
    assert found.half_widths(np.array([False, True])).tolist() == [found.text / 2, found.images / 2]
    few = fit_bounds(margins[:150], shows[:150], prompts[:150], 0.1)
    assert few.images not in (few.text, found.images)


def test_features_count_characters_and_markup():
    text = "# Title\n- one\n* two\n 3. three\n**bold** and **more**\n```python\nx\n```\n"
    assert text_features(text) == tuple(map(log1p, (len(text), 3, 1, 2, 1)))
    assert text_features("") == (0, 0, 0, 0, 0)
    assert text_features("a - b\n#tag\n5.5 metres\n```")[1:] == (0, 0, 0, log1p(1))


def test_pixels_are_those_of_the_prompt(make_group, picture, say):
    group = make_group("What?", ["a", "b"], [picture(30, 20), picture(10, 10)])
    found = read_form(group)
    assert (found.visual, found.shows) == (log1p(700), True)
    assert read_form(group, looks=False).visual == 0
    assert read_form(make_group("What?", ["a"])).shows is False
    drawn = ResponseGroup("d", (say("user", "Draw."),), (Response("r", (say("assistant", None),)),), (picture(8, 8),))
    assert (read_form(drawn).visual, read_form(drawn).shows) == (0, False)


def test_an_image_that_cannot_be_read_is_a_failure(make_group):
    found = read_form(make_group("What?", ["a"], ["/nowhere.png"]))
    assert isinstance(found, Failure)
    assert found.reason == "image_missing"
