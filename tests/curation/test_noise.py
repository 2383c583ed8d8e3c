"""Label noise: planted swapped labels are what the cross-fitted model does not expect."""

import numpy as np
import pytest

from basereward.curation.noise import expected_agreement
from basereward.errors import DataError


def planted(n: int = 4000, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Differences whose first features decide the preference, and which labels are swapped."""
    generator = np.random.default_rng(0)
    weights = np.concatenate([np.ones(4), np.zeros(12)])
    x = generator.normal(size=(n, 16))
    x *= np.sign(x @ weights)[:, None]
    is_swapped = generator.random(n) < noise
    x[is_swapped] *= -1
    return x, is_swapped


def test_swapped_labels_are_not_expected() -> None:
    x, is_swapped = planted()
    agreement = expected_agreement(x, np.arange(len(x)))
    flagged = agreement < 0.3
    assert is_swapped[flagged].mean() > 0.95
    # Near the boundary nobody can tell: a swapped label is below an unswapped one in most pairs of the two.
    below = agreement[is_swapped][:, None] < agreement[~is_swapped]
    assert below.mean() > 0.97


def test_features_without_signal_expect_nothing() -> None:
    x = np.random.default_rng(1).normal(size=(4000, 16))
    agreement = expected_agreement(x, np.arange(4000))
    assert abs(agreement - 0.5).max() < 0.2


def test_a_swapped_pair_has_the_opposite_expectation() -> None:
    x, _ = planted()
    prompt = np.arange(len(x))
    swapped = x.copy()
    swapped[7] *= -1
    before, after = (expected_agreement(each, prompt)[7] for each in (x, swapped))
    assert after == pytest.approx(1 - before, abs=1e-9)


def test_a_prompt_never_teaches_about_itself() -> None:
    # One prompt fills half of the rows with the opposite preference of all others.
    x = np.ones((200, 1))
    x[:100] *= -1
    prompt = np.concatenate([np.zeros(100), np.arange(1, 101)])
    agreement = expected_agreement(x, prompt, folds=5)
    assert (agreement[:100] < 0.1).all()


def test_the_scale_of_a_feature_does_not_matter() -> None:
    x, _ = planted(500)
    prompt = np.arange(500)
    assert np.allclose(expected_agreement(x, prompt), expected_agreement(x * np.logspace(-3, 3, 16), prompt))
    with_constant = np.concatenate([x, np.zeros((500, 1))], axis=1)
    assert np.allclose(expected_agreement(x, prompt), expected_agreement(with_constant, prompt))


def test_too_few_prompts_are_refused() -> None:
    with pytest.raises(DataError, match="2 to 1 folds for 1 prompts, found 5"):
        expected_agreement(np.ones((9, 2)), np.zeros(9))
