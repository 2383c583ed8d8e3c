"""Which responses of a row are compared with each other, for heads that compare."""

from collections.abc import Sequence

import torch
from torch import Tensor


def compared_tensors(owners: Sequence[int], leaves: Sequence[int]) -> dict[str, Tensor]:
    """Return the sets of different responses that are compared, and where each response stands in its own.

    Equal responses of a set stand in it once, so that a copy changes nothing for anyone.

    Args:
        owners: for each response of a row the number of its set.
        leaves: the node that each ends with; equal ones are the same response to the same prompt.

    Returns:
        ``sets`` of shape [set, member]: responses, -1 behind the last; ``set_places`` of shape [response]: places in
        the flattened ``sets``.
    """
    sets: dict[int, dict[int, int]] = {}
    for response, (owner, leaf) in enumerate(zip(owners, leaves, strict=True)):
        sets.setdefault(owner, {}).setdefault(leaf, response)
    longest = max(map(len, sets.values()), default=0)
    places = {
        (owner, leaf): number * longest + place
        for number, (owner, members) in enumerate(sets.items())
        for place, leaf in enumerate(members)
    }
    rows = [[*members.values(), *[-1] * (longest - len(members))] for members in sets.values()]
    return {
        "sets": torch.tensor(rows, dtype=torch.long).reshape(len(rows), longest),
        "set_places": torch.tensor([places[own] for own in zip(owners, leaves, strict=True)], dtype=torch.long),
    }
