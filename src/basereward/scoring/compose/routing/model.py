"""A trained router as a file: weights by expert, what each costs, and what was measured on pairs that it never saw."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import Field, JsonValue, PositiveFloat, model_validator

from basereward.configuration import Section
from basereward.data.io import read_json, write_json
from basereward.errors import MissingFileError, ScoringError
from basereward.scoring.compose.routing.features import FEATURES_VERSION, Seen
from basereward.scoring.compose.routing.fit import Scaling
from basereward.scoring.compose.routing.policy import choose


class ClusterMean(Section):
    """A mean over pairs with its 95 % interval, prompts as clusters."""

    value: float
    low: float
    high: float


class CurvePart(Section):
    """A point of the accuracy-cost curve: what a price would have given on pairs held out."""

    price: float
    cost: float
    accuracy: float


class CoveragePart(Section):
    """What abstaining would have given on pairs held out: pairs whose best predicted share reaches ``least``."""

    least: float
    coverage: float
    accuracy: float


class ExpertRecord(Section):
    """What was measured of one expert.

    ``accuracy`` is of all pairs: what it cannot score counts as not right. ``brier`` is the mean squared error of its
    predicted shares on pairs held out, ``brier_constant`` that of its accuracy as the only prediction; ``chosen`` is
    the share of pairs that the router sent to it, and ``failed`` how many pairs it could not score.
    """

    accuracy: ClusterMean
    cost: float
    brier: float
    brier_constant: float
    chosen: float
    failed: int


class RoutingRecord(Section):
    """What was measured, all on pairs of prompts that the weights, the ridge and the price had not seen.

    ``oracle`` asks, for each pair, the cheapest expert that is right; ``single`` is the best expert that alone is
    within the budget. ``gain`` is router minus single, ``regret`` oracle minus router. Costs are means, those of
    ``cheapest`` for asking the cheapest expert of every prompt; that of the router holds ``overhead``, which deciding
    costs for a prompt.
    """

    pairs: int
    prompts: int
    folds: int
    data_sha256: str
    budget: float
    cheapest: float
    overhead: float
    router: ClusterMean
    router_cost: float
    soft: ClusterMean
    soft_cost: float
    oracle: ClusterMean
    oracle_cost: float
    single: str
    gain: ClusterMean
    regret: ClusterMean
    experts: dict[str, ExpertRecord]
    curve: list[CurvePart]
    coverage: list[CoveragePart]


class ExpertModel(Section):
    """How an expert's share of right rankings is predicted, and what it costs.

    ``identity`` is a hash of what decided its scores when the router was trained; None if it did not tell.
    """

    cost: PositiveFloat
    weights: list[float]
    bias: float
    identity: str | None = None


class TrainedRouter(Section):
    """What ``basereward route`` writes: for expert ``k``, ``p_k = clip(w_k (x - mean) / spread + b_k, 0, 1)``.

    ``x`` are the features of a prompt, each within ``low`` and ``high``, its range in the training.
    """

    features: Literal["text", "state"]
    """Words, form and looks of a prompt, or the state of a member."""
    version: int = FEATURES_VERSION
    words: list[int] = Field(default_factory=list)
    """Of text: hashes of the words that it knows, sorted."""
    state_of: str | None = None
    """Of state: the member whose state it is."""
    mean: list[float]
    spread: list[float]
    low: list[float]
    high: list[float]
    experts: dict[str, ExpertModel]
    price: float
    record: RoutingRecord

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainedRouter":
        sizes = {
            *map(len, (self.mean, self.spread, self.low, self.high)),
            *(len(expert.weights) for expert in self.experts.values()),
        }
        if (self.features == "state") != (self.state_of in self.experts):
            raise ValueError(f"features are of {self.features}, state_of is {self.state_of!r}; expected an expert")
        if len(sizes) != 1 or not self.experts:
            raise ValueError(f"features, their scaling and the weights have sizes {sorted(sizes)}; expected one size")
        return self

    @property
    def seen(self) -> Seen:
        """What it sees of prompts."""
        return Seen(np.array(self.words, dtype=np.uint64), self.state_of)

    @cached_property
    def costs(self) -> Float[np.ndarray, " k"]:
        """What each expert costs, in their order."""
        return np.array([expert.cost for expert in self.experts.values()])

    def predict(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the predicted share of right rankings of each expert for prompts by their features, within [0, 1]."""
        scaling, weights = self._arrays
        return np.clip(scaling.apply(features) @ weights, 0.0, 1.0)

    @cached_property
    def _arrays(self) -> tuple[Scaling, np.ndarray]:
        """Scaling and weights, biases last; made once, not for every prompt."""
        scaling = Scaling(*map(np.array, (self.mean, self.spread, self.low, self.high)))
        weights = np.transpose([[*own.weights, own.bias] for own in self.experts.values()])
        return scaling, weights

    def choose(self, right: Float[np.ndarray, "n k"], concerned: Bool[np.ndarray, "n k"]) -> Int[np.ndarray, " n"]:
        """Return the place of the expert that each prompt is sent to."""
        return choose(right, concerned, self.costs, self.price)

    @property
    def digest(self) -> str:
        """A hash of everything that decides where a prompt goes."""
        content = self.model_dump_json(exclude={"record"})
        return hashlib.sha256(content.encode()).hexdigest()


def save_router(router: TrainedRouter, path: Path) -> None:
    """Write a trained router."""
    write_json(path, router.model_dump(mode="json"))


def load_router(path: str | Path) -> TrainedRouter:
    """Return a trained router.

    Raises:
        MissingFileError: no such file.
        ScoringError: it is no trained router, or its features are those of another version.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFileError(f"There is no file {str(path)!r}; basereward route writes one.")
    try:
        router = TrainedRouter.model_validate(read_json(file))
    except ValueError as error:
        raise ScoringError(f"{file} is no trained router ({error!s:.300}); basereward route writes one.") from error
    if router.version != FEATURES_VERSION:
        raise ScoringError(
            f"{file} was trained on features of version {router.version}, here they are of version "
            f"{FEATURES_VERSION}; train it again with basereward route."
        )
    return router


def identity_digest(identity: Mapping[str, JsonValue] | None) -> str | None:
    """Return a hash of what decides the scores of a model; None if it does not tell."""
    return None if identity is None else hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
