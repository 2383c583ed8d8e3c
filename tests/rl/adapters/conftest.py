"""Rows as a data set with images gives them."""

import pytest


@pytest.fixture
def vl_rows(picture):
    """Four prompts with an image each, the right answer, and the question."""
    return [
        {
            "prompt": [{"role": "user", "content": f"Which color? {number}"}],
            "image": picture(seed=number),
            "answer": "red",
        }
        for number in range(4)
    ]
