"""Preference pairs as what a judge is asked in reinforcement learning: a question, its images, the right verdict."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import datasets

from basereward.data.images import load_image
from basereward.data.judging.examples import question_of
from basereward.data.judging.prompts import JudgePrompt, make_prompt
from basereward.data.outcomes import JudgeQuestion
from basereward.data.pairs import LoadedPairs, PairDataset, load_pairs
from basereward.data.schema import Comparison, PreferencePair, Response, ResponseGroup, messages_from_text
from basereward.data.validation import DropLedger
from basereward.encoding.measuring import Trees, measure_lengths
from basereward.encoding.template import Template
from basereward.errors import DataError
from basereward.rl.prompts import have_images
from basereward.rl.recipe import PairRecipe


class OrderedPair(NamedTuple):
    """A pair, and which of its responses the judge is shown first."""

    pair: PreferencePair
    is_chosen_first: bool

    @property
    def question(self) -> JudgeQuestion:
        """What the judge is asked about."""
        return question_of(self.pair, self.is_chosen_first)

    @property
    def answer(self) -> str:
        """The right verdict: the place of the chosen response, counted from 1."""
        return "1" if self.is_chosen_first else "2"


class JudgePrompts(NamedTuple):
    """The questions of pairs, made when they are asked for; ``rows`` say of each its pair and its order.

    Args:
        rows: ``pair``, a place in ``pairs``, and ``is_chosen_first``.
        ledger: what was dropped.
        pairs: read when they are asked about, so that no image is stored twice.
        prompt: how the judge is asked.
        has_images: whether the questions show images; all of them do or none does.
    """

    rows: datasets.Dataset
    ledger: DropLedger
    pairs: PairDataset
    prompt: JudgePrompt
    has_images: bool

    def find(self, row: Mapping[str, Any]) -> OrderedPair:
        """Return the pair of a row in its order."""
        return OrderedPair(self.pairs[row["pair"]], row["is_chosen_first"])

    def read(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as policies take it, its images in the order in which the question shows them."""
        found = self.find(row)
        messages = [message.to_dict() for message in self.prompt.ask(found.question)]
        # A response may hold images of its own, and they follow it to its place.
        images = [load_image(image) for image in found.question.images]
        shown = {"images": images} if images else {}
        return {"prompt": messages, "id": found.pair.id, "answer": found.answer, "source": found.pair.source, **shown}

    def ordered(self) -> Iterator[OrderedPair]:
        """Yield all pairs in their orders."""
        return map(self.find, self.rows)


def is_chosen_first(name: str, before: int = 0) -> bool:
    """Return whether the chosen response is shown first in the order that the id decides: as if drawn, always the same.

    Args:
        name: id of the pair.
        before: how many pairs in front of it have the same id; with one order for all of a set whose ids are alike, the
            place would tell the verdict.
    """
    drawn = f"{name} {before}" if before else name
    return hashlib.sha256(drawn.encode("utf-8", "surrogatepass")).digest()[0] % 2 == 0


def load_judge_prompts(
    recipe: PairRecipe, max_tokens: int, paths: list[str] | None = None, template: Template | None = None
) -> JudgePrompts:
    """Read pairs and return the questions about them; what cannot be used is dropped and counted.

    Args:
        recipe: which pairs, in which orders, asked how.
        max_tokens: the longest answer.
        paths: these pairs instead, all of them and in both orders, to evaluate on.
        template: of the judge; pairs whose question and longest answer are longer than it can place are dropped.

    Raises:
        MissingFileError: there is nothing at a path.
        DataError: no pair is left, some have images and others none, one has a video, or with ``strict`` a bad pair.
        UnknownNameError: no such prompt.
    """
    limit = recipe.limit if paths is None else None
    loaded = load_pairs(paths or recipe.pairs, limit=limit, strict=recipe.strict, options=recipe.reading())
    if videos := len(loaded.sidecar.video_sizes):
        raise DataError(
            f"The pairs hold {videos} videos, which TRL's GRPO does not show; give pairs with images alone."
        )
    prompt = make_prompt(recipe.prompt, max_tokens)
    pairs = _fitting(loaded, prompt, template, recipe.strict) if template else loaded.pairs
    has_both = paths is not None or recipe.order == "both"
    ids = (name for table in pairs.tables(["id"]) for name in table.column("id").to_pylist())
    names = [name or str(row) for name, row in zip(ids, pairs.rows, strict=True)]
    orders = [
        {"pair": place, "is_chosen_first": first}
        for place, (name, before) in enumerate(zip(names, _counts_before(names), strict=True))
        for first in ((True, False) if has_both else (is_chosen_first(name, before),))
    ]
    return JudgePrompts(datasets.Dataset.from_list(orders), loaded.ledger, pairs, prompt, have_images(pairs))


def _fitting(loaded: LoadedPairs, prompt: JudgePrompt, template: Template, strict: bool) -> PairDataset:
    """Return the pairs that fit with their longest answer; others are counted in the ledger.

    Raises:
        DataError: none is left, or with ``strict`` one does not fit.
    """
    name = json.dumps({"asked": prompt.identity}, sort_keys=True)
    lengths = measure_lengths(loaded, template, trees=Trees(lambda pair: _asked(pair, prompt), name))
    any_turn = messages_from_text("?")
    opening = len(template.conversation_ids(any_turn, prompt=True)) - len(template.conversation_ids(any_turn))
    fitting = []
    for place, row in enumerate(lengths):
        problem, tokens = row.problem, max((group.longest for group in row.groups), default=0) + opening
        if problem is None and template.positions and tokens + prompt.max_tokens > template.positions:
            told = f"A question of {tokens} tokens and {prompt.max_tokens} of the answer are more than"
            problem = "too_long", f"{told} the judge's {template.positions} positions."
        if problem is None:
            fitting.append(place)
            continue
        if strict:
            raise DataError(f"{problem[0]}: {problem[1]}")
        loaded.ledger.add(*problem)
    if not fitting:
        raise DataError(f"No pair can be asked about ({loaded.ledger.tell()}).")
    return loaded.pairs.select(fitting)


def _asked(pair: PreferencePair, prompt: JudgePrompt) -> Comparison:
    """Return the question about a pair in both orders, each as the whole conversation of a group."""
    groups = []
    for first in (True, False):
        question = question_of(pair, first)
        whole = Response(f"{pair.id}/{first}", prompt.ask(question))
        groups.append(ResponseGroup(pair.id, (), (whole,), question.images, question.videos))
    return Comparison(tuple(groups), 0, 1)


def _counts_before(names: Sequence[str]) -> Iterator[int]:
    """Yield for each name how often it stands before."""
    seen: Counter[str] = Counter()
    for name in names:
        yield seen[name]
        seen[name] += 1
