"""Does a score depend on what is beside it? The other order, a call of its own, and a much longer neighbour."""

from collections.abc import Mapping, Sequence
from random import Random

from basereward.benchmarks.items import BenchmarkItem
from basereward.benchmarks.records import RowRecord
from basereward.data.outcomes import About, Failure, Scored
from basereward.data.schema import Response, ResponseGroup, messages_from_text
from basereward.evaluation.asking import Ask, ask_scorer
from basereward.evaluation.audit.edits import turn_responses
from basereward.evaluation.audit.measures import largest_difference
from basereward.evaluation.audit.probe import Changed, Probe, each_item, needs_numbers
from basereward.evaluation.audit.sets import AuditSet
from basereward.scoring.interface import Scorer, checked_scores

# A certificate needs few items: what depends on its neighbours does so for nearly all of them.
SAMPLE = 64
# The neighbour is longer than the longest response by this factor, but no longer than this.
FACTOR, LONGEST = 4, 4000
COMPANION = "companion"


class Accompanied:
    """A scorer that is always asked about one more group, whose scores are dropped.

    Args:
        companion: the group that stands at the end of each call.
    """

    def __init__(self, scorer: Scorer, companion: ResponseGroup) -> None:
        self._scorer = scorer
        self._companion = companion

    @property
    def about(self) -> About:
        """What the scorer behind it is."""
        return self._scorer.about

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return the scores of the groups; failures if the neighbour had none, as then nothing was beside them."""
        *scores, own = checked_scores(self._scorer, [*groups, self._companion])
        lost = next((one for one in own if isinstance(one, Failure)), None)
        if lost is None:
            return scores
        failure = Failure(COMPANION, f"The longer neighbour has no score: {lost.message}")
        return [[failure] * len(group.responses) for group in groups]


def ask_alone(scorer: Scorer, asked: AuditSet) -> Ask:
    """Return how each item is asked about in a call of its own."""
    ask = ask_scorer(scorer)

    def ask_each(items: Mapping[int, BenchmarkItem]) -> list[RowRecord]:
        return [record for number, item in items.items() for record in ask({number: item})]

    return ask_each


def ask_accompanied(scorer: Scorer, asked: AuditSet) -> Ask:
    """Return how items are asked about beside a group whose responses are much longer than all of theirs."""
    longest = max(max(asked.lengths[number]) for number in asked.usable)
    words = "so on and " * (min(FACTOR * longest, LONGEST) // 10 + 1)
    responses = tuple(
        Response(f"{COMPANION}-{end}", messages_from_text(words + end, "assistant")) for end in ("so on", "so forth")
    )
    companion = ResponseGroup(COMPANION, messages_from_text("And then?"), responses)
    return ask_scorer(Accompanied(scorer, companion))


def _turn(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    return turn_responses(item)


def _same(item: BenchmarkItem, generator: Random) -> BenchmarkItem:
    return item


def _is_one_group(item: BenchmarkItem) -> bool:
    return len(item.groups) == 1


def _all_alone(asked: AuditSet) -> Changed:
    # A call of one item was its own before: that it gives the same again certifies nothing.
    return Changed((), asked.items.__getitem__) if len(asked.items) == 1 else each_item(_same, sample=SAMPLE)(asked)


PROBES = (
    Probe(
        "order",
        "same numbers",
        "How far does a score move when the responses stand in the other order?",
        largest_difference,
        each_item(_turn, _is_one_group, SAMPLE),
        unsuited=needs_numbers,
        nothing="every response stands in a group of its own",
    ),
    Probe(
        "batch",
        "same numbers",
        "How far does a score move when nothing else is in the call?",
        largest_difference,
        _all_alone,
        ask_alone,
        needs_numbers,
        "there is one item, which was alone before",
    ),
    Probe(
        "padding",
        "same numbers",
        "How far does a score move when a much longer group is in the call?",
        largest_difference,
        each_item(_same, sample=SAMPLE),
        ask_accompanied,
        needs_numbers,
    ),
)
