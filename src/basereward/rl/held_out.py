"""How often a policy's greedy answers to held-out prompts match the right ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from basereward.configuration import Section
from basereward.data.io import replacing, write_lines
from basereward.data.progress import Progress, no_progress
from basereward.data.schema import ResponseGroup
from basereward.errors import CheckpointError
from basereward.models.generation import Generated, Generator
from basereward.models.inputs import TemplateSettings
from basereward.rl.matching.match import match
from basereward.rl.prompts import Prompts, prompt_group
from basereward.rl.run_facts import HeldOut
from basereward.statistics import wilson_interval

# Prompts, padding and answers of one batch.
_BATCH_TOKENS = 16_384


class Answer(Section):
    """A policy's answer to one prompt, a line of ``held_out.jsonl``."""

    id: str
    source: str
    answer: str
    """The right one."""
    response: str
    extracted: str | None
    """What was taken for the answer."""
    strict: bool
    """Whether the response is the right answer to the character (paper, appendix C.0.1)."""
    matched: bool
    """Whether it matches by the kind of the right answer."""
    truncated: bool
    """Whether it was cut off by the limit of tokens; it never matches then."""


def answer_prompts(
    policy: str | Path,
    prompts: Prompts,
    max_tokens: int,
    device: str | None = None,
    limits: TemplateSettings | None = None,
    on_progress: Progress = no_progress,
) -> list[Answer]:
    """Return greedy answers, in order.

    Args:
        policy: folder or hub id.
        max_tokens: the longest answer; what is cut off there never matches.
        device: by default CUDA if there is one.
        limits: of images; by default those of the folder.
        on_progress: called with the number of prompts answered and their total.
    """
    generated = generate_answers(policy, map(prompt_group, prompts.rows), max_tokens, device, limits, on_progress)
    answers = []
    for row, own in zip(prompts.rows, generated, strict=True):
        robust, strict = (match(own.text, row["answer"], kind) for kind in ("robust", "strict"))
        answers.append(
            Answer(
                id=row["id"],
                source=row["source"],
                answer=row["answer"],
                response=own.text,
                extracted=robust.extracted,
                strict=strict.matched and not own.is_cut_off,
                matched=robust.matched and not own.is_cut_off,
                truncated=own.is_cut_off,
            )
        )
    return answers


def generate_answers(
    policy: str | Path,
    prompts: Iterable[ResponseGroup],
    max_tokens: int,
    device: str | None,
    limits: TemplateSettings | None,
    on_progress: Progress,
) -> list[Generated]:
    """Return the greedy answer to each prompt, in order; arguments as for ``answer_prompts``.

    Raises:
        CheckpointError: the policy's logits are not finite, so that its answers would only look like wrong ones.
    """
    generator = Generator(policy, max_tokens, _BATCH_TOKENS, torch.float32, device, limits)
    answers = generator.generate([generator.template.encode_prompt(prompt) for prompt in prompts], on_progress)
    if broken := sum(not answer.is_finite for answer in answers):
        raise CheckpointError(
            f"{policy} wrote {broken} of {len(answers)} answers with logits that are not finite; its weights are "
            "broken. Train with a lower grpo.learning_rate or grpo.max_grad_norm."
        )
    return answers


def summarize_answers(answers: Sequence[Answer]) -> HeldOut:
    """Return how good answers are."""
    n, hits = len(answers), sum(answer.matched for answer in answers)
    return HeldOut(
        prompts=n,
        matched=hits / n,
        interval=wilson_interval(hits, n),
        strict=sum(answer.strict for answer in answers) / n,
        truncated=sum(answer.truncated for answer in answers) / n,
        sources=match_shares(answers),
    )


def match_shares(answers: Sequence[Answer]) -> dict[str, float]:
    """Return the share of matches of each source, sorted by name."""
    by_source = defaultdict(list)
    for answer in answers:
        by_source[answer.source].append(answer.matched)
    return {name: sum(found) / len(found) for name, found in sorted(by_source.items())}


def write_answers(answers: Sequence[Answer], path: Path) -> None:
    """Write answers, a line each."""
    with replacing(path) as temporary:
        write_lines(temporary, (answer.model_dump() for answer in answers))
