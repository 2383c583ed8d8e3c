"""From a recipe to what a run needs: the template, measured pairs, and the model to train."""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import set_seed

from basereward.curation.seen import count_seen, pack, pair_fingerprints
from basereward.data.pairs import LoadedPairs, PairDataset, load_pairs
from basereward.data.record import DataRecord, TrainedBy, continued_record, record_data
from basereward.data.schema import Comparison, PartType, PreferencePair
from basereward.encoding.lengths import Lengths
from basereward.encoding.measuring import Trees, lengths_path, measure_lengths, measuring_cost
from basereward.encoding.sharing import share_pairs
from basereward.encoding.template import Template
from basereward.errors import DataError, TrainingError
from basereward.models.adapters import attach_lora, freeze_vision
from basereward.models.checkpoint import continue_reward_model, new_reward_model
from basereward.models.components import freeze_components
from basereward.models.hub import open_folder
from basereward.models.inputs import TemplateSettings, load_template
from basereward.models.quantization import check_unquantised, compute_in
from basereward.models.reward_model import RewardModel
from basereward.training.launch import rank
from basereward.training.listwise import Listwise
from basereward.training.objectives import BradleyTerry
from basereward.training.partners import Swaps, plan_swaps
from basereward.training.rankings import SharedPrompts, prompt_shares
from basereward.training.rates import check_rates
from basereward.training.recipe import SWAPS_ALONE, AnyObjective, Recipe
from basereward.training.shortcuts import NO_PROXY_SCORES

# What an objective cannot do without, and what writes it; too few of it is no matter of single rows.
_NEEDED = {
    "no_critique": ("critiques", "basereward data annotate"),
    "no_thoughts": ("thoughts", "basereward data annotate"),
    NO_PROXY_SCORES: ("scores of a text-only proxy", "basereward score --blind"),
}
_log = logging.getLogger(__name__)


class StartCost(NamedTuple):
    """What starts of a run read and take, on each rank of the second one and on one rank of the first.

    Args:
        data_bytes: of the files of the pairs, None where they are not here. The first start reads them twice, to know
            their content and to look at rows and images, and their texts once more to measure tokens.
        first_seconds: of wall time that looking and measuring took where they were done; images of files of their own
            come on top of ``data_bytes``. None where nothing was measured.
        kept_bytes: of what was found. A later start reads these instead of the data.
        second_seconds: of wall time that reading them took; None in a plan that was the first start itself.
        memory_bytes: of what a rank holds of it.
    """

    data_bytes: int | None
    first_seconds: float | None
    kept_bytes: int
    second_seconds: float | None
    memory_bytes: int


def assume_start(pairs: int, images: int) -> StartCost:
    """Return what starts hold and read of pairs with so many images each that are not here; no time is known.

    A pair has 24 bytes of sizes, 16 of its place and 8 of a hash; an image has 16. Kept files hold the same.
    """
    held = pairs * (48 + 16 * images)
    return StartCost(None, None, held, None, held)


@dataclass(frozen=True)
class MeasuredPairs:
    """Pairs that fit the model: their sizes, what was dropped, what they show besides text, what they were read as."""

    pairs: PairDataset
    lengths: Lengths
    drops: dict[str, Any]
    fingerprint: str
    kinds: frozenset[PartType]
    read_as: dict[str, Any]
    start: StartCost
    swaps: Swaps | None = None
    shares: np.ndarray | None = None

    @property
    def shown(self) -> Sequence[PreferencePair]:
        """The pairs as they train: with the images of others where these are swapped in, or weighed by their prompt."""
        if self.shares is not None:
            return SharedPrompts(self.pairs, self.shares)
        return self.swaps.pairs if self.swaps else self.pairs

    @property
    def has_text_alone(self) -> bool:
        """Whether any pair has no image and no video."""
        return bool((self.lengths.image_tokens == 0).any())


@dataclass(frozen=True)
class RunData:
    """The pairs of a run; those for validation by the name of their set, which is empty for ``data.validation``.

    ``kinds`` is what every row must show, so that all ranks run the vision tower equally often; ``reserved`` are the
    tokens that a row may take for it.
    """

    train: MeasuredPairs
    validation: dict[str, MeasuredPairs]
    kinds: tuple[PartType, ...]
    reserved: int


def prepare_template(recipe: Recipe) -> Template:
    """Load the template of what a recipe starts from with the recipe's limits."""
    model = recipe.model
    settings = TemplateSettings(model.min_pixels, model.max_pixels, model.max_length, model.image_backend)
    return load_template(model.start, settings)


def prepare_pairs(
    recipe: Recipe, template: Template, paths: list[str], limit: int | None = None, is_training: bool = True
) -> MeasuredPairs:
    """Read, validate and measure pairs; what does not fit is dropped and counted.

    Args:
        is_training: whether they train; others need no scores of a proxy, and none of them is swapped.

    Raises:
        DataError: a bad row when the recipe is strict, something that the objective needs is missing, or nothing is
            left.
    """
    data, workers, begun = recipe.data, recipe.hardware.workers, time.monotonic()
    loaded = load_pairs(
        paths,
        limit=limit,
        strict=data.strict,
        check=data.image_check,
        workers=workers,
        options=data.reading(),
        repairs=rank() == 0,
    )
    trees = pair_trees(recipe.objective, is_training)
    was_kept = (path := lengths_path(loaded, template, trees)).exists()
    lengths = measure_lengths(loaded, template, workers, trees=trees)
    costs = (*loaded.costs, measuring_cost(path, was_kept))
    passed = time.monotonic() - begun
    _drop_unfit(loaded, lengths, data.strict)
    usable = lengths.usable
    if not len(usable):
        raise DataError(f"No pair of {', '.join(paths)} is shorter than max_length {template.max_length}.")
    fingerprint = hashlib.sha256(f"{loaded.sidecar.fingerprint}-{len(usable)}".encode()).hexdigest()[:16]
    kinds: frozenset[PartType] = frozenset({"image", "video"} if len(loaded.sidecar.video_sizes) else {"image"})
    read_as = {path: found.model_dump(mode="json") for path, found in loaded.recognised.items()}
    swap = recipe.objective.image_swap if is_training and isinstance(recipe.objective, BradleyTerry) else None
    swaps = plan_swaps(loaded, usable, template, swap, workers) if swap else None
    measured = lengths.select(usable)
    start = StartCost(
        data_bytes=sum(cost.read_bytes for cost in costs),
        first_seconds=sum(cost.seconds for cost in costs),
        kept_bytes=sum(cost.kept_bytes for cost in costs),
        second_seconds=passed if all(cost.was_kept for cost in costs) else None,
        memory_bytes=lengths.nbytes + loaded.sidecar.nbytes,
    )
    return MeasuredPairs(
        loaded.pairs.select(usable),
        swaps.add_to(measured) if swaps else measured,
        loaded.ledger.to_dict(),
        fingerprint,
        kinds,
        read_as,
        start,
        swaps,
        _shares(recipe.objective, measured) if is_training else None,
    )


def _shares(objective: AnyObjective, lengths: Lengths) -> np.ndarray | None:
    """Return what each pair counts for the number of pairs of its prompt; None if all count the same."""
    if isinstance(objective, Listwise) and objective.normalize == "prompt":
        return prompt_shares(share_pairs(lengths).prompt)
    return None


def pair_trees(objective: AnyObjective, is_training: bool) -> Trees:
    """Return which trees of a pair are computed; of a training pair, only if it has what the objective needs."""
    # Lengths are kept by this name. A setting that is not known to concern the loss alone is in it.
    name = objective.model_dump_json(exclude=set(objective.loss_only))
    if is_training and isinstance(objective, BradleyTerry) and (objective.shortcut or objective.ratings):
        return Trees(partial(_compare_checked, objective), f"scored {name}")
    return Trees(objective.compare, name)


def _compare_checked(objective: BradleyTerry, pair: PreferencePair) -> Comparison:
    objective.check(pair)
    return objective.compare(pair)


class KnownPairs(NamedTuple):
    """The fingerprints of training pairs as a data record keeps them, and how many of each validation set are there."""

    packed: bytes
    validated: dict[str, int]


def known_pairs(train: MeasuredPairs, validation: Mapping[str, MeasuredPairs]) -> KnownPairs:
    """Return what the record of the training data holds, and warn of validation on what is trained on."""
    packed = pack(pair_fingerprints(train.pairs))
    validated = {name: count_seen(pair_fingerprints(own.pairs), packed) for name, own in validation.items()}
    for name, count in validated.items():
        if count:
            _log.warning(
                "%s of %s validation pairs%s are training pairs too: their accuracy says nothing of others. Hold some "
                "out with `basereward data split`.",
                count,
                len(validation[name].pairs),
                f" of {name}" if name else "",
            )
    return KnownPairs(packed, validated)


def prepare_data(recipe: Recipe, template: Template) -> RunData:
    """Read, validate and measure the pairs of a recipe.

    Raises:
        DataError: as ``prepare_pairs``.
    """
    train = prepare_pairs(recipe, template, recipe.data.train, recipe.data.limit)
    places = {"": recipe.data.validation} | recipe.data.validation_sets
    validation = {name: prepare_pairs(recipe, template, own, is_training=False) for name, own in places.items() if own}
    parts = [train, *validation.values()]
    kinds = frozenset[PartType]().union(*(part.kinds for part in parts))
    reserved = 0
    # A row of images alone gets nothing added; with videos about, or text alone, some rows do.
    if template.vision and (len(kinds) > 1 or any(part.has_text_alone for part in parts)):
        reserved = sum(len(template.vision.dummy_ids(kind)) for kind in template.vision.kinds if kind in kinds)
    return RunData(train, validation, tuple(sorted(kinds)), reserved)


def prepare_model(recipe: Recipe, template: Template | None = None, is_empty: bool = False) -> RewardModel:
    """Build the reward model of a recipe: backbone and seeded head or a trained model, freezing, adapters.

    Args:
        template: what ``prepare_template`` gave, so that it is not loaded twice.
        is_empty: leave the backbone on the meta device, as ``shard_model`` takes it; head and adapters are the same.

    Raises:
        CheckpointError: no complete model, or one whose weights are stored quantised.
        MissingExtraError: what adapters or 4-bit weights need is not installed.
        TrainingError: it has no such parts, none of these trains, or the objective cannot train it.
    """
    model = recipe.model
    start = open_folder(model.start)
    check_unquantised(start.content, start.name)
    set_seed(recipe.run.seed)
    dtype = getattr(torch, model.frozen_dtype)
    template = template or prepare_template(recipe)
    if model.init_from:
        reward_model = continue_reward_model(
            start, template, dtype=dtype, is_empty=is_empty, quantization=model.quantization
        )
        if (reward_model.role is not None) != recipe.objective.writes:
            found = "a critic" if reward_model.role else "no critic"
            raise TrainingError(f"{model.init_from} is {found}, which objective {recipe.objective.kind} cannot train.")
        if reward_model.compares and recipe.swaps_images:
            raise TrainingError(f"{model.init_from}: {SWAPS_ALONE}; leave out objective.image_swap.")
        reward_model.role = recipe.objective.role
    else:
        # A single head is drawn as torch stands after the seed of the run, unless it is asked to be another.
        is_drawn_apart = model.head_seed is not None or (model.head is not None and model.head.heads > 1)
        reward_model = new_reward_model(
            start,
            model.head,
            template,
            dtype=dtype,
            role=recipe.objective.role,
            head_seed=recipe.head_seed if is_drawn_apart else None,
            is_empty=is_empty,
            quantization=model.quantization,
        )
    if model.quantization and recipe.hardware.precision == "bf16":
        compute_in(reward_model.backbone, torch.bfloat16)
    if model.freeze_vision:
        freeze_vision(reward_model)
    if model.freeze_backbone:
        reward_model.backbone.requires_grad_(False)
    freeze_components(reward_model, model.freeze)
    if model.lora:
        attach_lora(reward_model, model.lora)
    check_rates(reward_model, recipe.optimizer.learning_rates)
    if model.checkpointing:
        reward_model.enable_checkpointing()
    if model.compile:
        reward_model.compile_text_model()
    return reward_model


def prepare_record(
    recipe: Recipe, model: RewardModel, fingerprint: str, pairs: bytes, trained_by: TrainedBy | None = None
) -> DataRecord:
    """Return what the model will have been trained on: the recipe's data, after that of the model it starts from.

    Args:
        pairs: fingerprints of the recipe's pairs, as in the record.
        trained_by: as in the record.
    """
    record = record_data(recipe.data.train, fingerprint, pairs).model_copy(update={"trained_by": trained_by})
    is_continued = recipe.model.init_from or model.data_record
    return continued_record(recipe.model.start, model.data_record, record) if is_continued else record


def _drop_unfit(loaded: LoadedPairs, lengths: Lengths, strict: bool) -> None:
    for reason, (words, command) in _NEEDED.items():
        if missing := [message for found, message in lengths.problems.values() if found == reason]:
            raise DataError(
                f"{len(missing)} of {len(lengths)} pairs have no {words}, which this objective needs. Of the "
                f"first: {missing[0]} Write them with {command}, or leave those pairs out."
            )
    for _, problem in sorted(lengths.problems.items()):
        if strict:
            raise DataError(f"{problem[0]}: {problem[1]}")
        loaded.ledger.add(*problem)
