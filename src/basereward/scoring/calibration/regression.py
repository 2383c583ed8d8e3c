"""Least squares and logistic regression with coefficients that are not negative, for a few columns."""

import numpy as np
from jaxtyping import Float

_STEPS, _SWEEPS, _HALVINGS = 50, 500, 30
_TOLERANCE = 1e-8


def softplus(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return ``log(1 + exp(x))`` without overflow."""
    return np.logaddexp(0.0, values)


def sigmoid(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    return np.exp(-softplus(-values))


def quadratic_minimum(
    hessian: Float[np.ndarray, "d d"], gradient: Float[np.ndarray, " d"], start: Float[np.ndarray, " d"]
) -> Float[np.ndarray, " d"]:
    """Return the ``b >= 0`` of least ``b' H b / 2 - g' b``: the free minimum if it is one, else by coordinates."""
    free = np.linalg.solve(hessian, gradient)
    if (free >= 0).all():
        return free
    found = start.copy()
    for _ in range(_SWEEPS):
        before = found.copy()
        for place in range(len(found)):
            rest = hessian[place] @ found - hessian[place, place] * found[place]
            found[place] = max(0.0, (gradient[place] - rest) / hessian[place, place])
        if np.abs(found - before).max() <= _TOLERANCE * max(1.0, np.abs(found).max()):
            break
    return found


def fit_least_squares(
    design: Float[np.ndarray, "n d"], values: Float[np.ndarray, " n"], penalty: float
) -> Float[np.ndarray, " d"]:
    """Return the ``b >= 0`` of least ``sum((v - X b)^2) + penalty sum(b^2)``."""
    hessian = design.T @ design + penalty * np.eye(design.shape[1])
    return quadratic_minimum(hessian, design.T @ values, np.zeros(design.shape[1]))


def fit_logistic(design: Float[np.ndarray, "n d"], penalty: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Return the ``b >= 0`` under which ``sigmoid(X b)`` is most likely to be 1 in every row, by Newton's steps.

    The target is ``(n + 1) / (n + 2)`` instead of 1, so that rows which are all right give no endless slope; the
    penalty is ``sum(p b^2) / 2``.

    Source: Platt, Probabilistic Outputs for Support Vector Machines, 1999 (the target).
    """
    target = (len(design) + 1) / (len(design) + 2)

    def loss(b: Float[np.ndarray, " d"]) -> float:
        odds = design @ b
        return float((softplus(odds) - target * odds).sum() + (penalty * b * b).sum() / 2)

    found = np.zeros(design.shape[1])
    least = loss(found)
    for _ in range(_STEPS):
        shares = sigmoid(design @ found)
        gradient = design.T @ (target - shares) - penalty * found
        hessian = (design * (shares * (1 - shares))[:, None]).T @ design + np.diag(penalty + 1e-9)
        step = quadratic_minimum(hessian, gradient + hessian @ found, found) - found
        for _ in range(_HALVINGS):
            if (new := loss(found + step)) <= least:
                break
            step = step / 2
        else:
            break
        found, gained, least = found + step, least - new, new
        if gained <= _TOLERANCE * max(1.0, least):
            break
    return found
