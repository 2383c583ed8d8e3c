"""How often a critic is right about pairs by its own critiques; that behind given ones says nothing of it."""

from collections.abc import Sequence

import torch

from basereward.data.judging.critiques import REQUESTS, ask_for_critiques, with_critiques
from basereward.data.schema import PreferencePair, ResponseGroup
from basereward.encoding.openings import encode_openings
from basereward.errors import RowError, TemplateError
from basereward.models.facts import CriticRole
from basereward.models.generation import TreeGenerator
from basereward.models.reward_model import RewardModel

# Pairs that are looked at: writing takes longer than reading.
PAIRS = 64
_BATCH_TOKENS = 16384


@torch.no_grad()
def own_accuracy(model: RewardModel, role: CriticRole, pairs: Sequence[PreferencePair]) -> float:
    """Return the share of the first 64 pairs whose chosen response gets the higher reward, behind greedy critiques.

    A pair with a critique that makes a sequence too long, or that the chat template cannot hold, has no rewards, and is
    not right.

    Args:
        model: with all its weights on one device.
        role: how critiques are asked for.
        pairs: at least one.
    """
    request, template = REQUESTS.get(role.request), model.template
    ends = model.generation.eos_token_id if model.generation else None
    generator = TreeGenerator(
        model.backbone,
        model.lm_head,
        template,
        role.max_tokens,
        _BATCH_TOKENS,
        [ends] if isinstance(ends, int) else ends,
    )
    comparisons = [pairs[place].comparison() for place in range(min(PAIRS, len(pairs)))]
    groups = [group for comparison in comparisons for group in comparison.groups]
    asked = [ask_for_critiques(group, request) for group in groups]
    trees = [
        encode_openings(template, group, [group.prompt + response.messages for response in group.responses])
        for group in asked
    ]
    critiques = [[own[0].text for own in written] for written in generator.write(trees)]
    whole = [with_critiques(group, request, own) for group, own in zip(groups, critiques, strict=True)]
    left = iter(whole)
    right = 0
    for comparison in comparisons:
        own = _rewards(model, [next(left) for _ in comparison.groups])
        right += own is not None and own[comparison.chosen] > own[comparison.rejected]
    return right / len(comparisons)


def _rewards(model: RewardModel, groups: Sequence[ResponseGroup]) -> list[float] | None:
    """Return the rewards of all responses; None where a critique cannot be read, which must not end a run."""
    try:
        return [reward for own in model.score_groups(groups, has_critiques=True) for reward in own]
    except (RowError, TemplateError):
        return None
