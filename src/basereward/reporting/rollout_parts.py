"""What a page says of a run of reinforcement learning: held-out answers, and rollouts with their rewards and ranks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from basereward.reporting import tables
from basereward.reporting.documents import Chapter, Headline
from basereward.reporting.items import Card, CardList, ShownAnswer
from basereward.rl.run_facts import RlFacts
from basereward.rl.shown_rollouts import ShownGroup

RULE = "the groups of the last steps come first"
SCORES = ("reward", "model")
# Of a judge.
ORDER_ROWS = (
    ("consistent", "same in both orders"),
    ("first", "for the response shown first"),
    ("unparsable", "without a clear verdict"),
)


def policy_headlines(facts: RlFacts) -> Iterator[Headline]:
    """Yield how often the policy's answers match, before and after."""
    for name, own in (("at the start", facts.start), (_asked(facts), facts.end)):
        if own is not None:
            note = f"{tables.interval(*own.interval)} of {own.prompts:,}"
            yield Headline(name, tables.percent(own.matched), note)
    yield Headline("steps", tables.count(facts.steps), f"scheme {facts.scheme}")


def policy_chapter(facts: RlFacts) -> Chapter | None:
    """Return the held-out answers by source, None if there are none."""
    if facts.start is None or facts.end is None:
        return None
    rows = [
        (name, tables.percent(facts.start.sources.get(name)), tables.percent(share))
        for name, share in facts.end.sources.items()
    ]
    whole = ("all", tables.percent(facts.start.matched), tables.percent(facts.end.matched))
    table = tables.Table((_asked(facts), "start", "trained"), [whole, *rows, *_order_rows(facts)])
    if facts.end.orders is None:
        return Chapter("Held-out answers", "Greedy answers, compared by the kind of the right answer.", table=table)
    return Chapter("Held-out pairs", "Greedy verdicts on held-out pairs, each asked about in both orders.", table=table)


def _asked(facts: RlFacts) -> str:
    is_judge = facts.end is not None and facts.end.orders is not None
    return "held-out verdicts that are right" if is_judge else "held-out answers that match"


def _order_rows(facts: RlFacts) -> Iterator[tuple[str, str, str]]:
    """Yield what a judge's verdicts are beside right, before and after."""
    start, end = (own and own.orders for own in (facts.start, facts.end))
    if start and end:
        for name, title in ORDER_ROWS:
            yield title, tables.percent(getattr(start, name)), tables.percent(getattr(end, name))


def rollout_cards(groups: Sequence[ShownGroup], folder: Path) -> CardList | None:
    """Return the groups that a run kept as cards, each response with its rank by reward; None if it kept none.

    Source: the paper, Figure 4.
    """
    cards = [_card(number, group, folder) for number, group in enumerate(groups)][::-1]
    if not cards:
        return None
    filters = ("all steps", "all groups", "all kinds")
    return CardList("Rollouts", cards, RULE, SCORES, "spread of rewards", filters, "latest first")


def _card(number: int, group: ShownGroup, folder: Path) -> Card:
    rewards = [one.reward for one in group.rollouts if one.reward is not None]
    matched = [one.matched for one in group.rollouts if one.matched is not None]
    outcome = "no right answer known" if not matched else "some match" if any(matched) else "none matches"
    answers = tuple(
        ShownAnswer(
            f"rank {1 + sum(other > one.reward for other in rewards)}" if one.reward is not None else "no reward",
            one.response,
            (one.reward, one.model_reward),
        )
        for one in group.rollouts
    )
    return Card(
        row=number,
        id=f"step {group.step}",
        source=f"step {group.step}",
        outcome=outcome,
        margin=max(rewards) - min(rewards) if rewards else None,
        prompt=group.prompt + (f"\n\nRight answer: {group.answer}" if group.answer else ""),
        answers=answers,
        images=tuple(folder / name for name in group.images),
    )
