"""Conflicts: for one prompt the same two responses are preferred both ways."""

import numpy as np


def conflicting_pairs(prompt: np.ndarray, chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """Return which pairs contradict at least as many others as agree with them, a mask of shape (n,).

    Of the pairs with one prompt and the same two responses, the direction with fewer pairs conflicts; at equal numbers
    both do.

    Args:
        prompt: hash of each pair's prompt and images, shape (n,).
        chosen: hash of the chosen response, shape (n,).
        rejected: hash of the rejected response, shape (n,).
    """
    # Ordered by their hashes, the two responses are one question, whichever of them a pair prefers.
    sides = [np.minimum(chosen, rejected), np.maximum(chosen, rejected)]
    _, group = np.unique(np.stack([prompt, *sides], axis=1), axis=0, return_inverse=True)
    group = group.reshape(-1)
    is_forward = chosen < rejected
    forward = np.bincount(group, weights=is_forward)[group]
    backward = np.bincount(group, weights=~is_forward)[group]
    agreeing, contradicting = np.where(is_forward, (forward, backward), (backward, forward))
    return (contradicting > 0) & (contradicting >= agreeing)
