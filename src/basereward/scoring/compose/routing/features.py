"""What a trained router sees of a prompt: words, form and the looks of images, or the state of a member.

Nothing of the responses is in it, so that all responses to a prompt go the same way.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from basereward.curation.fingerprints.text import hash_words
from basereward.curation.response_features import form_features
from basereward.data.images import load_image
from basereward.data.outcomes import Failure
from basereward.data.schema import Response, ResponseGroup, messages_from_text
from basereward.errors import RowError, ScoringError
from basereward.scoring.compose.members import Members
from basereward.scoring.projection import draw_projection

# Part of every trained router; grows with what the numbers mean.
FEATURES_VERSION = 1
# Words that a router knows, those of most prompts; a word of fewer prompts tells nothing that could be learned.
MOST_WORDS, LEAST_PROMPTS = 1024, 3
# Numbers of a state, and the response that it is read behind.
STATES = 256
RESPONSE = Response("state", messages_from_text("...", "assistant"))
# Images are looked at in this size: what they are, not what they say.
_SIDE = 64
_LOOKS = 10


# Features of prompts, shape (groups, d).
PromptReader = Callable[[Sequence[ResponseGroup]], np.ndarray]


class Seen(NamedTuple):
    """What is seen of prompts: ``words`` as ``choose_words`` gives them with form and images, or a member's state."""

    words: np.ndarray = np.array([], dtype=np.uint64)
    state_of: str | None = None


def choose_words(groups: Sequence[ResponseGroup]) -> np.ndarray:
    """Return the 64-bit hashes of the words that most prompts hold, uint64, sorted, shape (words,)."""
    words = hash_words([_text(group) for group in groups])
    places = np.repeat(np.arange(len(groups), dtype=np.uint64), np.diff(words.starts))
    in_prompts = np.unique(np.stack([places, words.hashes]), axis=1)[1]
    different, counts = np.unique(in_prompts, return_counts=True)
    # Of equally frequent words those with the lowest hash, so that the choice is one.
    order = np.argsort(-counts, kind="stable")[:MOST_WORDS]
    return np.sort(different[order[counts[order] >= LEAST_PROMPTS]])


def prompt_features(groups: Sequence[ResponseGroup], words: np.ndarray) -> np.ndarray:
    """Return features of prompts, shape (groups, d): words, form, and images and videos; 0 for those not there.

    Raises:
        RowError: an image or frame cannot be read.
    """
    texts = [_text(group) for group in groups]
    seen = np.array([_seen(group) for group in groups], dtype=np.float64).reshape(len(groups), 2 + _LOOKS)
    return np.concatenate([_count_words(texts, words), form_features(texts), seen], axis=1)


def open_reader(members: Members, seen: Seen) -> PromptReader:
    """Return what reads prompts.

    Raises:
        ScoringError: no such member, or one without states.
    """
    if seen.state_of is None:
        return lambda groups: prompt_features(groups, seen.words)
    found = [member for member in members.all if member.label == seen.state_of]
    if not found or not hasattr(members.opened(found[0]), "hidden_states"):
        raise ScoringError(
            f"{seen.state_of} has no states that can be read; expected a reward model in this process among the "
            f"members {', '.join(member.label for member in members.all)}."
        )
    # Opened in each call: with a limit of memory it may have made room for others.
    return lambda groups: prompt_states(members.opened(found[0]), groups)


def prompt_states(scorer: Any, groups: Sequence[ResponseGroup]) -> np.ndarray:
    """Return the state of a model behind each prompt: that which its head reads of the response ``RESPONSE``.

    The response is the same for every prompt, so that the state tells of nothing but the prompt and its images. States
    wider than ``STATES`` are projected, see ``draw_projection``.

    Raises:
        RowError: a prompt cannot be encoded or computed.
    """
    asked = [
        replace(group, responses=(RESPONSE,), images=group.prompt_images, videos=group.prompt_videos)
        for group in groups
    ]
    # One by one: what shares a row with others may differ in its last bit, and a decision with it.
    states = [scorer.hidden_states([group])[0][0] for group in asked]
    if failed := next((state for state in states if isinstance(state, Failure)), None):
        raise RowError(failed.reason, failed.message)
    found = np.array(states, dtype=np.float64)
    return found if found.shape[1] <= STATES else found @ draw_projection(found.shape[1], STATES, 0)


def _count_words(texts: Sequence[str], known: np.ndarray) -> np.ndarray:
    """Return how often each known word occurs, divided by the root of all words of the text."""
    words = hash_words(texts)
    counts = np.diff(words.starts)
    place = np.searchsorted(known, words.hashes)
    # With one more than any place, so that a word behind the last is none.
    found = np.flatnonzero(np.append(known, np.uint64(0))[place] == words.hashes)
    summed = np.zeros((len(texts), len(known)))
    np.add.at(summed, (np.repeat(np.arange(len(texts)), counts)[found], place[found]), 1.0)
    return summed / np.sqrt(np.maximum(counts, 1))[:, None]


def _text(group: ResponseGroup) -> str:
    return "\n".join(message.text for message in group.prompt)


def _seen(group: ResponseGroup) -> list[float]:
    """Return the logarithms of how many images and frames there are, and the mean looks of what is shown.

    Of a video its first frame is looked at.
    """
    videos = group.prompt_videos
    shown = [*group.prompt_images, *(video.frames[0] for video in videos)]
    counts = [len(group.prompt_images), sum(len(video.frames) for video in videos)]
    looks = np.mean([_looks(image) for image in shown], axis=0) if shown else np.zeros(_LOOKS)
    return [*np.log1p(counts).tolist(), *looks.tolist()]


def _looks(image: Any) -> list[float]:
    """Return size, shape, mean colour, contrast, saturation, edges, and how much is white or of one colour."""
    opened = load_image(image)
    width, height = opened.size
    pixels = np.asarray(opened.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float64) / 255
    grey = pixels.mean(axis=2)
    edges = np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean()
    # Charts, screens and scans have much of few colours; photos have little of many.
    coarse = (pixels * 7.999).astype(int) @ np.array([64, 8, 1])
    return [
        np.log(width * height),
        np.log(width / height),
        *pixels.mean(axis=(0, 1)),
        grey.std(),
        np.ptp(pixels, axis=2).mean(),
        edges,
        (grey > 0.94).mean(),
        np.bincount(coarse.ravel()).max() / coarse.size,
    ]
