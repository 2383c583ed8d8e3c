"""How good a judge's greedy verdicts on held-out pairs are, each pair asked about in both orders."""

from collections.abc import Sequence
from pathlib import Path

from basereward.data.progress import Progress, no_progress
from basereward.data.schema import ResponseGroup
from basereward.models.inputs import TemplateSettings
from basereward.rl.held_out import Answer, generate_answers, match_shares
from basereward.rl.judge_prompts import JudgePrompts, OrderedPair
from basereward.rl.judge_rewards import read_choice, split_answer
from basereward.rl.run_facts import HeldOut, OrderRates
from basereward.statistics import Stratum, stratified_interval

_OTHER = {"1": "2", "2": "1"}


def answer_pairs(
    judge: str | Path,
    prompts: JudgePrompts,
    device: str | None = None,
    limits: TemplateSettings | None = None,
    on_progress: Progress = no_progress,
) -> list[Answer]:
    """Return a judge's greedy answers to questions about pairs, in order.

    Args:
        judge: folder or hub id.
        prompts: the questions, and how long an answer may be.
        device: by default CUDA if there is one.
        limits: of images; by default those of the folder.
        on_progress: called with the number of questions answered and their total.
    """
    asked = list(prompts.ordered())
    groups = (_group(one, prompts) for one in asked)
    generated = generate_answers(judge, groups, prompts.prompt.max_tokens, device, limits, on_progress)
    return [_answer(one, own.text, own.is_cut_off) for one, own in zip(asked, generated, strict=True)]


def summarize_verdicts(answers: Sequence[Answer]) -> HeldOut:
    """Return how good a judge's answers to the questions about pairs are.

    The interval is over pairs, because the two orders of one say much the same.

    Args:
        answers: both of a pair side by side, as ``answer_pairs`` gives them; ids need not tell pairs apart.
    """
    clear = [answer for answer in answers if answer.extracted in _OTHER]
    # The response that is meant: the chosen one if the verdict is the right one.
    meant = [answer.matched if answer.extracted in _OTHER else None for answer in answers]
    preferred = list(zip(meant[::2], meant[1::2], strict=True))
    n = len(answers)
    matched = [float(answer.matched) for answer in answers]
    return HeldOut(
        prompts=n,
        matched=sum(matched) / n,
        interval=stratified_interval([Stratum(matched, [place // 2 for place in range(n)])]),
        strict=sum(answer.strict for answer in answers) / n,
        truncated=sum(answer.truncated for answer in answers) / n,
        sources=match_shares(answers),
        orders=OrderRates(
            pairs=len(preferred),
            consistent=sum(None not in own and len(set(own)) == 1 for own in preferred) / len(preferred),
            first=sum(answer.extracted == "1" for answer in clear) / len(clear) if clear else 0.0,
            unparsable=1 - len(clear) / n,
        ),
    )


def _group(asked: OrderedPair, prompts: JudgePrompts) -> ResponseGroup:
    question = asked.question
    return ResponseGroup(asked.pair.id, prompts.prompt.ask(question), (), question.images)


def _answer(asked: OrderedPair, text: str, is_cut_off: bool) -> Answer:
    choice = read_choice(text, is_cut_off)
    said = str(choice + 1) if isinstance(choice, int) else choice
    matched = said == asked.answer
    return Answer(
        id=asked.pair.id,
        source=asked.pair.source,
        answer=asked.answer,
        response=text,
        extracted=None if said == "unparsable" else said,
        strict=matched and split_answer(text) is not None,
        matched=matched,
        truncated=is_cut_off,
    )
