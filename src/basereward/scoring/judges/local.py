"""A judge in this process: a Hugging Face model that generates; questions about the same request share it."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from basereward.data.digests import media_key
from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Verdict
from basereward.data.progress import Progress, no_progress
from basereward.data.record import read_record
from basereward.data.schema import Messages, ResponseGroup
from basereward.encoding.openings import Openings
from basereward.errors import CheckpointError, RowError, ScoringError
from basereward.models.facts import SECTION
from basereward.models.generation import Generated, Generator
from basereward.models.hub import ModelFolder, open_folder
from basereward.models.sampling import Sampling
from basereward.scoring.interface import failure_of
from basereward.scoring.judges.grades import grade, verdict_place, verdict_tokens
from basereward.scoring.judges.options import LOCAL_OPTIONS, JudgeOptions
from basereward.scoring.judges.votes import vote
from basereward.scoring.openings import NOT_FINITE, open_each
from basereward.scoring.weights import Weights, run_facts

# Batches' worth of encoded questions, pixels included, that are held in memory to fill batches from.
BATCHES_AT_ONCE = 8


class _Asked(NamedTuple):
    """The places of questions and the tree of their openings."""

    places: tuple[int, ...]
    tree: Openings


class LocalJudge:
    """Generates with a backbone of a known family; a verdict does not depend on what else is asked.

    Request and images are computed once for all questions about them, such as both orders of a pair or all of a
    tournament. A verdict is what the words say; its ``probabilities`` are those of the tokens that name the responses,
    at the place where the answer names one, and of the form ``digit`` at its first token whatever the words say. Of a
    vote they are shares of the answers.

    Args:
        place: folder or hub id, or a folder that is open already.
        prompt: how it is asked.
        options: sampling, and how much is held at once.
        dtype: by default the stored one.
        device: by default CUDA if there is one.

    Raises:
        CheckpointError: weights are missing, the vocabulary head of a reward model for one, or the family is unknown.
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        ScoringError: an option of servers, or several samples without a temperature.
    """

    def __init__(
        self,
        place: str | Path | ModelFolder,
        prompt: JudgePrompt,
        options: JudgeOptions | None = None,
        dtype: torch.dtype | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        chosen = options or JudgeOptions()
        self.sampling = _sampling(chosen)
        folder = open_folder(place)
        if SECTION in folder.content:
            raise CheckpointError(
                f"{folder.name} is a reward model, which scores and cannot judge; write it without judge:."
            )
        self.prompt = prompt
        self._name = f"judge:{folder.name}"
        self._weights = Weights([folder.path])
        self.generator = Generator(folder, prompt.max_tokens, chosen.batch_tokens, dtype, device)
        self._tokens_of = cache(lambda count: verdict_tokens(self.generator.template, prompt.format, count))

    @cached_property
    def about(self) -> About:
        """The judge, with everything that decides a verdict: weights, template, prompt, sampling, precision, libraries.

        Raises:
            ScoringError: a file of the model has changed since it was loaded.
        """
        template, drawn = self.generator.template, self.sampling
        facts = {"weights": self._weights.digest(), "template": template.hash}
        sampling = {"temperature": drawn.temperature, "samples": drawn.samples, "seed": drawn.seed}
        identity = {**facts, **self.prompt.identity, **sampling, **run_facts(self.generator.model)}
        return About(self._name, template.vision is not None, identity, read_record(self.generator.folder.path))

    def compare(self, questions: Sequence[JudgeQuestion], on_progress: Progress = no_progress) -> list[Judged]:
        """Return a verdict or a failure for each question, in order.

        A question that is asked again in one call gets further samples, and the same answer if they are greedy.

        Args:
            on_progress: called with the number of questions answered and their total.
        """
        judged: dict[int, Judged] = {}
        waiting: list[_Asked] = []
        for places in _together(questions):
            for own, outcome in self._open(questions, places):
                if isinstance(outcome, Failure):
                    judged.update(dict.fromkeys(own, outcome))
                else:
                    waiting.append(_Asked(own, self._number(questions, places, own, outcome)))
            if sum(asked.tree.tokens for asked in waiting) > BATCHES_AT_ONCE * self.generator.batch_tokens:
                judged |= self._answer(questions, waiting, len(judged), on_progress)
                waiting = []
        judged |= self._answer(questions, waiting, len(judged), on_progress)
        return [judged[place] for place in range(len(questions))]

    def _open(
        self, questions: Sequence[JudgeQuestion], places: Sequence[int]
    ) -> Iterator[tuple[tuple[int, ...], Openings | Failure]]:
        """Yield the places of questions and their tree, or why they cannot be asked."""
        asked: dict[int, Messages] = {}
        for place in places:
            try:
                asked[place] = self.prompt.ask(questions[place])
            except RowError as error:
                yield (place,), failure_of(error)
        if asked:
            order, shown = list(asked), questions[places[0]]
            group = ResponseGroup("question", (), (), shown.images, shown.videos)
            for members, outcome in open_each(self.generator, group, list(asked.values())):
                yield tuple(order[member] for member in members), outcome

    def _number(
        self, questions: Sequence[JudgeQuestion], places: Sequence[int], own: Sequence[int], tree: Openings
    ) -> Openings:
        """Return a tree in which a question that was asked before begins behind the samples that it had there."""
        before = {place: places[:rank] for rank, place in enumerate(places)}
        shown = [[questions[earlier].responses for earlier in before[place]] for place in own]
        times = [earlier.count(questions[place].responses) for place, earlier in zip(own, shown, strict=True)]
        return replace(tree, firsts=tuple(self.sampling.samples * count for count in times))

    def _answer(
        self, questions: Sequence[JudgeQuestion], waiting: Sequence[_Asked], done: int, on_progress: Progress
    ) -> dict[int, Judged]:
        counts = {len(questions[place].responses) for asked in waiting for place in asked.places}
        watched = sorted({token for count in counts for token in self._tokens_of(count)})
        answers = self.generator.write(
            [asked.tree for asked in waiting],
            self.sampling,
            watched,
            lambda own, _: on_progress(done + own, len(questions)),
        )
        return {
            place: self._vote(questions[place], own, watched)
            for asked, tree in zip(waiting, answers, strict=True)
            for place, own in zip(asked.places, tree, strict=True)
        }

    def _vote(self, question: JudgeQuestion, answers: Sequence[Generated], watched: Sequence[int]) -> Judged:
        if not all(answer.is_finite for answer in answers):
            return NOT_FINITE
        return vote([self._read(question, answer, watched) for answer in answers], len(question.responses))

    def _read(self, question: JudgeQuestion, answer: Generated, watched: Sequence[int]) -> Verdict:
        verdict = self.prompt.read(question, answer.text, answer.is_cut_off)
        form, tokens, written = self.prompt.format, self._tokens_of(len(question.responses)), answer.written
        if not tokens or written is None or (verdict.choice == "unparsable" and form.name != "digit"):
            return verdict
        place = verdict_place(form, tokens, written.ids, self.generator.decode)
        if place is None:
            return verdict
        return grade(verdict, np.array([written.watched[place, watched.index(token)] for token in tokens]))


def _together(questions: Sequence[JudgeQuestion]) -> list[list[int]]:
    """Return the places of questions, those about one request with the same number of responses together."""
    found: dict[Hashable, list[int]] = {}
    for place, own in enumerate(questions):
        key = own.prompt, len(own.responses), media_key(own.images, own.videos)
        found.setdefault(key, []).append(place)
    return list(found.values())


def _sampling(options: JudgeOptions) -> Sampling:
    if foreign := options.model_fields_set - LOCAL_OPTIONS:
        raise ScoringError(
            f"Judge option {', '.join(sorted(foreign))} is of servers; a model in this process takes "
            f"{', '.join(sorted(LOCAL_OPTIONS))}."
        )
    if options.temperature is None or options.seed is None:
        raise ScoringError("Judge options temperature=null and seed=null are of servers; give numbers.")
    try:
        return Sampling(options.temperature, samples=options.samples, seed=options.seed)
    except ValueError as error:
        raise ScoringError(f"Judge options: {error}") from error
