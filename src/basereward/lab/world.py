"""A procedural world of preferences: scenes, questions about them, and a right and a wrong answer.

What is true is computed from the scene, so that accuracy, label noise and length bias are known exactly. Pair ``i`` of
a seed depends on the seed, ``i`` and the kinds alone: the knobs for noise and length change labels and lengths and
leave scenes and questions as they are.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from basereward.data.schema import Messages, PreferencePair, messages_from_text
from basereward.errors import RecipeError
from basereward.lab.questions import KINDS, Item, draw_item
from basereward.registry import Registry

QUICK_KINDS = ("color1", "shape1", "size1", "pos1", "count", "yesno", "barlr")
TEXT_KINDS = ("arithmetic", "refusal")
FILLER = "I would say "
ODD_SHARES: Registry[float] = Registry("kind of rejected answers", {"listed": 0.0, "varied": 0.25})
# What a policy may write that is no answer to anything: marks, a cut answer, words without end.
_BROKEN = (".", "?", "@", "\ufffd", ", ,", "I would say", "a", "{first}", "{truth} {truth} {truth}", "{truth}, {wrong}")


@dataclass(frozen=True)
class WorldConfig:
    """The knobs of the world; every share lies in [0, 1].

    Args:
        kinds: the kinds with images, drawn uniformly; the default seven are learnt within minutes on a CPU.
        text_kinds: the kinds without an image, drawn uniformly.
        text_share: share of pairs without an image. Their truth is in the text, so a world that should be blind
            without its images keeps the default 0.
        padded_share: share of pairs in which one response starts with filler words. Above about 0.5, length
            dominates the reward for hundreds of steps, with or without a bias.
        length_bias: among padded pairs, the share in which the chosen response is the longer one.
        label_noise: share of pairs whose chosen and rejected are swapped.
        odd_share: share of pairs whose wrong answer is none of the kind's: one of another kind, or a broken text. A
            reward model that never saw any has no reason to rank them low, and a policy finds that.

    Raises:
        RecipeError: a share outside [0, 1], no kinds, or a kind on the wrong list.
        UnknownNameError: no such kind.
    """

    kinds: tuple[str, ...] = QUICK_KINDS
    text_kinds: tuple[str, ...] = TEXT_KINDS
    text_share: float = 0.0
    padded_share: float = 0.0
    length_bias: float = 0.5
    label_noise: float = 0.0
    odd_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("text_share", "padded_share", "length_bias", "label_noise", "odd_share"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise RecipeError(f"{name} is {value}; a share lies between 0 and 1.")
        for name, kinds, has_image in (("kinds", self.kinds, True), ("text_kinds", self.text_kinds, False)):
            if not kinds:
                raise RecipeError(f"{name} is empty; name at least one of {', '.join(KINDS.names())}.")
            if misplaced := [kind for kind in kinds if KINDS.get(kind).has_image != has_image]:
                raise RecipeError(f"{name} has {misplaced}; kinds with an image go to kinds, others to text_kinds.")


def draw_pairs(count: int, seed: int, config: WorldConfig | None = None) -> Iterator[PreferencePair]:
    """Draw ``count`` pairs with PIL images; more pairs of one seed begin with the same pairs.

    Every pair has the extra columns ``axis``, ``kind``, ``truth`` (the right answer), ``flipped`` (whether label noise
    swapped the responses), ``padded`` (``chosen``, ``rejected`` or ``neither``) and ``odd`` (whether the wrong answer
    is none of the kind's).
    """
    config = config or WorldConfig()
    for index in range(count):
        yield draw_pair(index, seed, config)


def draw_rows(count: int, seed: int, config: WorldConfig | None = None) -> Iterator[dict[str, Any]]:
    """Draw the same pairs as canonical records, with PNG bytes as images."""
    for pair in draw_pairs(count, seed, config):
        yield {
            **_asked(pair),
            "chosen": [message.to_dict() for message in pair.chosen],
            "rejected": [message.to_dict() for message in pair.rejected],
            **pair.extra,
        }


def draw_prompts(count: int, seed: int, config: WorldConfig | None = None) -> Iterator[dict[str, Any]]:
    """Draw the questions of the same pairs with their right answers, as records of prompts for reinforcement learning.

    The answer of an open-ended question is one of its good answers, not the only one.
    """
    for pair in draw_pairs(count, seed, config):
        yield {**_asked(pair), "answer": pair.extra["truth"], "kind": pair.extra["kind"]}


def world_texts() -> list[str]:
    """Return texts that hold every word of the world: the training text of the lab's tokenizer."""
    texts = [FILLER + "so"]
    for kind in KINDS.names():
        rng = Random(kind)
        for item in (draw_item(kind, rng) for _ in range(200 if not KINDS.get(kind).has_image else 60)):
            texts += [item.question, item.truth, f"{FILLER}{item.wrong}"]
    return texts


def draw_pair(index: int, seed: int, config: WorldConfig) -> PreferencePair:
    """Draw pair ``index`` of a seed, as ``draw_pairs`` does."""
    rng = Random(f"{seed}/{index}")
    # The knobs have a generator of their own, always read in full: changing one share leaves the rest unchanged.
    knobs = Random(f"{seed}/{index}/knobs")
    is_text, is_flipped, is_padded, is_chosen_longer, is_odd = (
        knobs.random() < share
        for share in (
            config.text_share,
            config.label_noise,
            config.padded_share,
            config.length_bias,
            config.odd_share,
        )
    )
    kind = rng.choice(config.text_kinds if is_text else config.kinds)
    item = draw_item(kind, rng)
    wrong = odd_answer(kind, item, knobs) if is_odd else item.wrong
    chosen, rejected = (wrong, item.truth) if is_flipped else (item.truth, wrong)
    padded = ("chosen" if is_chosen_longer else "rejected") if is_padded else "neither"
    axis = KINDS.get(kind).axis
    return PreferencePair(
        id=f"lab-{seed}-{index}",
        source=f"lab/{axis}/{kind}",
        prompt=messages_from_text(item.question, images=int(item.image is not None)),
        chosen=_answer(chosen, padded == "chosen"),
        rejected=_answer(rejected, padded == "rejected"),
        images=() if item.image is None else (item.image,),
        extra={"axis": axis, "kind": kind, "truth": item.truth, "flipped": is_flipped, "padded": padded, "odd": is_odd},
    )


def odd_answer(kind: str, item: Item, rng: Random) -> str:
    """Draw an answer that is none to a question of this kind: half of them are answers of other kinds."""
    own = KINDS.get(kind).answers
    if rng.random() < 0.5:
        others = {answer for name in KINDS.names() for answer in KINDS.get(name).answers}
        return rng.choice(sorted(others - set(own)))
    broken = rng.choice(_BROKEN).format(truth=item.truth, wrong=item.wrong, first=item.truth[:1])
    # A digit is cut to itself.
    return "@" if broken in (item.truth, *own) else broken


def _asked(pair: PreferencePair) -> dict[str, Any]:
    """Return what a record says of the question of a pair, with PNG bytes as images."""
    return {
        "id": pair.id,
        "source": pair.source,
        "images": [{"bytes": _png(image), "path": None} for image in pair.images],
        "prompt": [message.to_dict() for message in pair.prompt],
    }


def _answer(text: str, is_padded: bool) -> Messages:
    return messages_from_text(FILLER + text if is_padded else text, role="assistant")


def _png(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
