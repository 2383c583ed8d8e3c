"""What a reward costs under each paradigm on one backbone: a head, a critique and a head, or verdicts on all pairs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from basereward.data.outcomes import Scored, Verdict
from basereward.encoding.groups import EncodedGroup, GroupLength
from basereward.encoding.openings import Openings
from basereward.models.decoding import Decoder, Row, Written
from basereward.models.flops import measure_backbone
from basereward.models.generation import TreeShape, rows_at_once
from basereward.models.reward_model import RewardModel
from basereward.models.sampling import GREEDY
from basereward.scoring.local import LocalScorer, split_group
from basereward.scoring.tournament import TournamentOptions, tournament_rewards
from basereward.speed.measure import RoundSeconds, spread_of, time_round
from basereward.speed.memory import peak_bytes
from basereward.speed.paradigm_plan import NAIVE, Paradigm, ParadigmLengths, plan_paradigms
from basereward.speed.paradigm_report import ParadigmReport, ParadigmRow, ParadigmTiming
from basereward.speed.workloads import PRESETS, build_model, encode_lengths

# Stand for the tokens that name the first and the second response.
_NAMES = (5, 6)
Run = Callable[[], list[Scored]]


class ParadigmBench:
    """One backbone with random weights under a reward head and a vocabulary head, which runs any paradigm.

    It puts together what scorers, critics and judges are made of, on tokens and pixels that are ready: prompt and
    images pass the model once for all that goes on from them. No token ends an answer, so each has its full length.

    Args:
        model: without a template.
        batch_tokens: memory cap of what is written together.
    """

    def __init__(self, model: RewardModel, batch_tokens: int) -> None:
        text, weight = model.config.get_text_config(), next(model.backbone.parameters())
        lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False, dtype=weight.dtype, device=weight.device)
        model.use_backend("auto", scoring=True)
        self._config = model.config
        self._batch_tokens = batch_tokens
        self._scorer = LocalScorer(model, "speed")
        self._decoder = Decoder(model.backbone, lm_head, model.family.axes, ends=(), pad=0)

    def prepare(self, paradigm: Paradigm) -> Run:
        """Return what computes the rewards of a group; its tokens and pixels are made here."""
        if paradigm.opened is None:
            assert paradigm.scored
            group = self.encode(paradigm.scored)
            return lambda: self._score(group)
        opened = self.encode(paradigm.opened)
        return lambda: self._judge(opened, paradigm) if paradigm.shown else self._criticise(opened, paradigm)

    def encode(self, length: GroupLength) -> EncodedGroup:
        """Return random tokens and pixels of these lengths."""
        [group] = encode_lengths([length], self._config)
        return group

    def write(self, opened: EncodedGroup, tokens: int, watched: Sequence[int] = ()) -> list[Written]:
        """Return a greedy answer of so many tokens behind each suffix."""
        tree = Openings(opened.prefix, opened.suffixes, opened.positions, opened.images)
        shape = TreeShape(len(tree.prefix), max(map(len, tree.suffixes)), len(tree.suffixes))
        room = rows_at_once([shape], tokens, self._batch_tokens)
        found = self._decoder.decode([tree], tokens, GREEDY, watched, room)
        return [found[Row(0, place, 0)] for place in range(len(tree.suffixes))]

    def _score(self, group: EncodedGroup) -> list[Scored]:
        pieces = split_group(0, range(len(group.suffixes)), group, self._scorer.row_tokens)
        rows = self._scorer.rows(pieces)
        return [score for row in rows for scores in self._scorer.compute(row) for score in scores]

    def _criticise(self, opened: EncodedGroup, paradigm: Paradigm) -> list[Scored]:
        critiques = self.write(opened, paradigm.written)
        pairs = zip(opened.suffixes, critiques, strict=True)
        return self._score(replace(opened, suffixes=tuple(np.concatenate([own, said.ids]) for own, said in pairs)))

    def _judge(self, opened: EncodedGroup, paradigm: Paradigm) -> list[Scored]:
        answers = self.write(opened, paradigm.written, _NAMES)
        # Random words hold no verdict: which of two names is likelier stands for it.
        verdicts = [Verdict(int(answer.watched[0].argmax()), "") for answer in answers]
        judged = dict(zip(paradigm.shown, verdicts, strict=True))
        return tournament_rewards(judged, [1] * paradigm.responses, TournamentOptions())


def measure_paradigms(
    preset: str,
    lengths: ParadigmLengths,
    repeats: int = 3,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_round: Callable[[int], None] = lambda done: None,
) -> ParadigmReport:
    """Time the rewards of one group under every paradigm, in interleaved rounds, on the same weights.

    Args:
        repeats: rounds; 0 only counts operations, and builds no model.

    Raises:
        UnknownNameError: an unknown preset.
        RecipeError: the image does not fit the prompt.
    """
    size = measure_backbone(PRESETS.get(preset)())
    paradigms = plan_paradigms(lengths)
    costs = {paradigm.name: paradigm.cost(size) for paradigm in paradigms}
    timings: Mapping[str, ParadigmTiming] = {}
    if repeats:
        bench = ParadigmBench(build_model(preset, dtype, device), lengths.batch_tokens)
        runs = {paradigm.name: bench.prepare(paradigm) for paradigm in paradigms}
        timings = _time(runs, lengths.group, repeats, device, on_round)
    return ParadigmReport(
        preset=preset,
        lengths=lengths,
        device=device,
        dtype=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        repeats=repeats,
        torch_version=torch.__version__,
        rows=[
            ParadigmRow(
                paradigm=name,
                cost=cost,
                times_naive_flops=cost.flops_per_response / costs[NAIVE].flops_per_response,
                timing=timings.get(name),
            )
            for name, cost in costs.items()
        ],
    )


def _time(
    runs: Mapping[str, Run], responses: int, repeats: int, device: str, on_round: Callable[[int], None]
) -> dict[str, ParadigmTiming]:
    runs[NAIVE]()
    # The first run of each, which no round counts.
    memory = {name: peak_bytes(run, device) for name, run in runs.items()}
    rounds: dict[str, list[RoundSeconds]] = {name: [] for name in runs}
    for turn in range(repeats):
        for name, run in runs.items():
            rounds[name].append(time_round(run, device))
        on_round(turn + 1)
    return {name: _timing(own, rounds[NAIVE], responses, memory[name], memory[NAIVE]) for name, own in rounds.items()}


def _timing(
    own: Sequence[RoundSeconds], naive: Sequence[RoundSeconds], responses: int, peak: int | None, naive_peak: int | None
) -> ParadigmTiming:
    pairs = list(zip(own, naive, strict=True))
    return ParadigmTiming(
        rewards_per_second=spread_of([responses / turn.wall for turn in own]),
        seconds_per_response=spread_of([turn.cpu / responses for turn in own]),
        peak_memory_bytes=peak,
        times_naive_clock=spread_of([turn.wall / base.wall for turn, base in pairs]),
        times_naive_seconds=spread_of([turn.cpu / base.cpu for turn, base in pairs]),
        times_naive_memory=peak / naive_peak if peak and naive_peak else None,
    )
