"""How the next token is chosen: the likeliest, or one drawn by a number that no other row of the batch can change."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from basereward.encoding.openings import Openings


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn.

    Args:
        temperature: divides the logits; 0 is greedy.
        top_p: tokens are drawn from the fewest likeliest ones whose probability together is at least this.
        samples: answers to each opening.
        seed: of all draws.

    Raises:
        ValueError: a negative temperature, ``top_p`` outside (0, 1], fewer than one sample, or several greedy ones,
            which would all be the same.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < float("inf") and 0 < self.top_p <= 1 and self.samples >= 1):
            raise ValueError(f"Found {self}; expected temperature >= 0, 0 < top_p <= 1 and samples >= 1.")
        if self.samples > 1 and not self.temperature:
            raise ValueError(f"{self.samples} greedy samples are all the same; give a temperature, or one sample.")


GREEDY = Sampling()


def content_digests(tree: Openings) -> list[bytes]:
    """Return what tells each opening of a tree from all others: a hash of its tokens and pixels.

    Where the tree was split depends on its other openings, so prefix and suffix are hashed as one.
    """
    pixels = hashlib.sha256()
    for key, tensor in sorted(tree.images.tensors.items()) if tree.images else ():
        pixels.update(key.encode() + tensor.contiguous().cpu().numpy().tobytes())
    whole = (np.concatenate([tree.prefix, suffix]).tobytes() for suffix in tree.suffixes)
    return [hashlib.sha256(pixels.digest() + ids).digest() for ids in whole]


def draw_uniform(content: bytes, sample: int, seed: int, count: int) -> Float[np.ndarray, " count"]:
    """Return the draws in [0, 1) of one sample, one for each token; a longer count begins with those of a shorter."""
    digest = hashlib.sha256(f"{seed} {sample} ".encode() + content).digest()
    return np.random.default_rng(int.from_bytes(digest)).random(count)


def choose(
    logits: Float[Tensor, "row token"], sampling: Sampling, uniform: Float[Tensor, " row"] | None = None
) -> Int[Tensor, " row"]:
    """Return the next token of every row: the likeliest, or the one in whose share of [0, 1) the row's draw falls.

    Shares lie in the order of the vocabulary. In the order of probability, two tokens that are about as likely would
    change places, and the draw its token, with the rounding of another batch.
    """
    if uniform is None:
        return logits.argmax(-1)
    shares = torch.softmax(logits.double() / sampling.temperature, -1)
    if sampling.top_p < 1:
        shares = _nucleus(shares, sampling.top_p)
    ends = shares.cumsum(-1)
    # From the right: a token without a share is never met.
    found = torch.searchsorted(ends, uniform[:, None] * ends[:, -1:], right=True)[:, 0]
    return found.clamp(max=logits.shape[1] - 1)


def _nucleus(shares: Float[Tensor, "row token"], top_p: float) -> Float[Tensor, "row token"]:
    """Return the shares with those outside of the nucleus set to zero.

    Source: Holtzman et al., The Curious Case of Neural Text Degeneration, section 3.1.
    """
    ordered, places = shares.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(shares).scatter(-1, places, ordered.masked_fill(before >= top_p, 0))
