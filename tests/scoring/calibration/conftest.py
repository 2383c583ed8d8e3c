"""A model whose rewards are known, and files of pairs that it scores."""

import json
from math import log1p

import numpy as np
import pytest

from basereward.data.outcomes import About, Failure, Score

WORDS = np.array(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])


class Known:
    """Rewards the number that a response begins with, and ``bias`` for its length beside."""

    def __init__(self, bias=0.0, name="known", identity=True):
        self.bias = bias
        self.about = About(name, sees_images=False, identity={"weights": f"bias {bias}"} if identity else None)

    def score(self, groups):
        """One number for each response; one that begins with none has no score."""
        return [[self._score(response.text) for response in group.responses] for group in groups]

    def _score(self, text):
        first = text.partition(" ")[0]
        try:
            return Score(float(first) + self.bias * log1p(len(text)), parts={"first": float(first)})
        except ValueError:
            return Failure("no_number", f"{first!r} is no number.")


@pytest.fixture(scope="session")
def known():
    """``known(bias, name, identity)``: such a model."""
    return Known


def write_pairs(path, count=600, seed=0):
    """Write pairs whose responses begin with their quality, in texts of any length."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        quality = rng.normal(0, 1.5, 2)
        texts = [
            f"{own:.4f} " + " ".join(rng.choice(WORDS, size))
            for own, size in zip(quality, rng.integers(2, 300, 2), strict=True)
        ]
        first = rng.random() < 1 / (1 + np.exp(quality[1] - quality[0]))
        chosen, rejected = texts if first else texts[::-1]
        lines.append(json.dumps({"prompt": f"Question {number}?", "chosen": chosen, "rejected": rejected}))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    """A file of such pairs."""
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")
