"""The folder of a run: one run at a time, resumed by the same recipe alone, refused when it is finished."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from basereward.data.digests import file_digest
from basereward.data.identity import Identity
from basereward.data.places import open_place
from basereward.data.record import TrainedBy
from basereward.data.work import IDENTITY, Work, open_work
from basereward.errors import TrainingError
from basereward.models.adapter_files import weights_fingerprint
from basereward.models.hub import resolve_folder
from basereward.training.launch import on_first_rank
from basereward.training.plan import run_length
from basereward.training.recipe import Recipe, dump_recipe
from basereward.training.resume import CHECKPOINTS, checkpoint_step, clear_leftovers, cut_log, find_checkpoint

RECIPE, METRICS, FACTS, MODEL = "recipe.yaml", "metrics.jsonl", "train.json", "model"
# What a resumed run may change: what it writes, where and how fast it computes, and how long it goes on.
MAY_CHANGE = (
    "name",
    "model.backend",
    "model.checkpointing",
    "model.compile",
    "data.validation",
    "data.validation_sets",
    "data.strict",
    "data.assumed",
    "hardware.assumed",
    "optimizer.epochs",
    "optimizer.max_steps",
    "optimizer.tokens_per_microbatch",
    "hardware.sharding",
    "hardware.shard_size",
    "hardware.workers",
    "hardware.use_cpu",
    "run.log_every",
    "run.eval_every",
    "run.save_every",
    "run.keep",
    "run.save_dtype",
    "run.report_to",
    "run.profile_steps",
    "run.push_to_hub",
    "run.push_private",
)
# Except where evaluations choose the checkpoint that becomes the model.
_CHOOSES = ("run.eval_every",)
# Of these, what two runs of one recipe share nevertheless: how long they go on decides the weights.
LENGTH = ("optimizer.epochs", "optimizer.max_steps")
# What else two runs of one recipe may differ in.
_OF_A_RUN = ("run.seed", "versions")
_INPUT_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
_log = logging.getLogger(__name__)


class RunClaim(NamedTuple):
    """What a run says of itself when it takes a folder.

    Args:
        identity: what decides its weights; called only when the folder can be its own.
        may_change: what a resumed run may change, as ``data.identity.differences`` takes it.
        recipe: the resolved recipe as YAML.
        steps: how many steps it takes, from the facts of the finished run that the folder may hold.
        facts: name of the file with these.
        length: the setting of the recipe that makes a run longer.
    """

    identity: Callable[[], Identity]
    may_change: Sequence[str]
    recipe: str
    steps: Callable[[Mapping[str, Any]], int]
    facts: str = FACTS
    length: str = "optimizer.max_steps"


def open_run(recipe: Recipe, folder: Path, resume: bool) -> AbstractContextManager[Path | None]:
    """Return ``hold_run`` of a recipe that trains a reward model."""
    claim = RunClaim(
        lambda: run_identity(recipe),
        may_change(recipe),
        dump_recipe(recipe),
        lambda facts: run_length(recipe, facts["pairs"]).steps,
    )
    return hold_run(claim, folder, resume)


@contextmanager
def hold_run(claim: RunClaim, folder: Path, resume: bool) -> Iterator[Path | None]:
    """Hold a run folder, prepared for the run, and yield the checkpoint to go on from, None for a new run.

    Args:
        claim: of the run.
        folder: its folder.
        resume: go on; without it the folder must hold no run.

    Raises:
        WorkError: another process trains in the folder, or its checkpoint is of another recipe; names what differs.
        TrainingError: the folder holds a run, or with ``resume`` a finished one or one without a complete checkpoint.
    """
    with ExitStack() as held:
        yield on_first_rank(lambda: _open(held, claim, folder, resume))


def may_change(recipe: Recipe) -> tuple[str, ...]:
    """Return the settings that a resumed run of a recipe may change."""
    return tuple(key for key in MAY_CHANGE if not (recipe.run.best and key in _CHOOSES))


def is_finished(facts: Mapping[str, Any], steps: int) -> bool:
    """Whether a run of so many steps has none left to train.

    Args:
        facts: what ``train.json`` says of it.
        steps: that its recipe asks for.
    """
    return bool(facts.get("ended_early")) or steps <= facts["steps"]


def decisive_places(recipe: Recipe) -> tuple[str, ...]:
    """Return the data that decides the model of a run: what it trains on, and what its best checkpoint is chosen by."""
    best, sets = recipe.run.best, recipe.data.validation_sets
    chosen_by = (sets[best.of] if best.of else recipe.data.validation) if best else ()
    return (*recipe.data.train, *chosen_by)


def run_identity(recipe: Recipe) -> Identity:
    """Return what decides the weights of a run: its data by content, its settings, and what it starts from."""
    return Identity(
        task="train",
        inputs=tuple(open_place(place).describe() for place in decisive_places(recipe)),
        weights=start_identity(recipe.model.start, has_adapters=recipe.model.lora is not None),
        settings=run_settings(recipe),
    )


def run_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a run but for what its identity knows by content, wherever it lies."""
    settings: dict[str, Any] = recipe.model_dump(mode="json")
    del settings["data"]["train"], settings["model"]["backbone"], settings["model"]["init_from"]
    if recipe.run.best:
        # Without it a place that moves from validation to training would leave the inputs as they are.
        settings["data"]["train"] = len(recipe.data.train)
    return settings


def read_trained_by(recipe: Recipe, folder: Path) -> TrainedBy:
    """Return which recipe trains in a run folder that is held, from its identity."""
    facts = Identity.model_validate_json((folder / IDENTITY).read_text(encoding="utf-8")).facts()
    free = {*may_change(recipe), *_OF_A_RUN}.difference(LENGTH)
    told = {name: value for name, value in facts.items() if not any(f"{name}.".startswith(f"{own}.") for own in free)}
    # A checkpoint replaces all weights, so that the identity need not hold them; what came of them does depend on them.
    told["start"] = weights_fingerprint(resolve_folder(recipe.model.start))
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return TrainedBy(recipe_sha256=digest, seed=recipe.run.seed, name=recipe.name)


def start_identity(place: str, has_adapters: bool) -> dict[str, Any]:
    """Return what tells the model that a run starts from, by its files.

    Its weights are among it only below adapters: any other checkpoint holds them all.
    """
    start = resolve_folder(place)
    weights: dict[str, Any] = {path.name: file_digest(path) for pattern in _INPUT_FILES for path in start.glob(pattern)}
    return {**weights, "base": weights_fingerprint(start)} if has_adapters else weights


def _open(held: ExitStack, claim: RunClaim, folder: Path, resume: bool) -> Path | None:
    work = held.enter_context(open_work(folder, folder))
    if not resume and any((folder / name).exists() for name in (METRICS, MODEL, claim.facts)):
        raise TrainingError(f"{folder} already holds a run; pass --resume to go on, or choose another --out.")
    found = find_checkpoint(folder / CHECKPOINTS) if resume else None
    checkpoint = found.path if found else None
    for problem in found.skipped if found else ():
        _log.warning("%s; going on from %s.", problem, checkpoint and checkpoint.name)
    _refuse_finished(claim, folder, checkpoint)
    _claim(work, claim, checkpoint)
    clear_leftovers(folder)
    (folder / CHECKPOINTS).mkdir(exist_ok=True)
    clear_leftovers(folder / CHECKPOINTS)
    # A run that goes on is not finished any more.
    (folder / claim.facts).unlink(missing_ok=True)
    (folder / RECIPE).write_text(claim.recipe, encoding="utf-8")
    cut_log(folder / METRICS, checkpoint_step(checkpoint) if checkpoint else -1)
    return checkpoint


def _refuse_finished(claim: RunClaim, folder: Path, checkpoint: Path | None) -> None:
    if not (folder / claim.facts).is_file():
        return
    facts = json.loads((folder / claim.facts).read_text(encoding="utf-8"))
    done = f"{folder} holds a finished run of {facts['steps']} steps, and its model in {folder / MODEL}."
    if facts.get("ended_early"):
        raise TrainingError(f"{done} It ended early, for want of a better evaluation. Choose another --out.")
    if is_finished(facts, claim.steps(facts)):
        # Without a checkpoint more steps are refused below, so they are not offered here.
        more = f", or raise {claim.length} to train on" if checkpoint else "; it left no checkpoint to train on from"
        raise TrainingError(f"{done} Choose another --out{more}.")
    if checkpoint is None:
        raise TrainingError(f"{done} It left no checkpoint to train on from; start anew with another --out.")


def _claim(work: Work, claim: RunClaim, checkpoint: Path | None) -> None:
    """Refuse the checkpoint of another recipe; where none is, nothing of an earlier run is left that could be mixed."""
    if checkpoint is None:
        (work.folder / IDENTITY).unlink(missing_ok=True)
    elif work.identity() is None:
        raise TrainingError(
            f"{work.folder} has a checkpoint but no {IDENTITY}, so that nobody knows whether it is of this recipe; "
            "start anew with another --out."
        )
    work.claim(claim.identity(), claim.may_change)
