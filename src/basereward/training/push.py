"""The model of a finished run on the hub."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basereward.data.io import write_json
from basereward.data.work import open_work
from basereward.errors import TrainingError
from basereward.models.saving import push_folder
from basereward.training.folder import FACTS, LENGTH, MODEL, RECIPE, is_finished, may_change, run_identity
from basereward.training.plan import run_length
from basereward.training.recipe import Recipe, RunRecipe, dump_recipe

PUSHED = "pushed"
# What a resumed run may change, and the model that is there was made by.
_MADE_BY = (*LENGTH, "run.save_dtype")
_log = logging.getLogger(__name__)


def is_unpushed(run: RunRecipe, facts: Mapping[str, Any]) -> bool:
    """Whether a finished run is asked to push its model and has not done so yet.

    Args:
        facts: what ``train.json`` of the run says.
    """
    return run.push_to_hub is not None and (facts.get(PUSHED) or {}).get("repository") != run.push_to_hub


def push_model(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Write the model of a finished run into the repository that its recipe names, and say so in ``train.json``.

    Returns:
        The facts of the run, with those of the push.

    Raises:
        TrainingError: the hub does not take it; the run is finished nevertheless, and the same command with --resume
            pushes again.
    """
    facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    repository = recipe.run.push_to_hub
    if repository is None or not is_unpushed(recipe.run, facts):
        return facts
    message = f"Upload the reward model of {recipe.name} at step {facts['steps']}"
    # An upload may take long, and whoever ends it is to know that nothing is lost.
    _log.info("The run is finished; its model goes to %s. If it is ended, --resume pushes it.", repository)
    try:
        commit = push_folder(folder / MODEL, repository, private=recipe.run.push_private, message=message)
    except Exception as error:
        # Whatever the hub, the network or a token is at fault with: hours of training are not.
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"The run is finished, its model lies in {folder / MODEL}, and {repository} did not take it: {cause} Give "
            "the same command with --resume to push again, or leave out run.push_to_hub."
        ) from error
    facts[PUSHED] = {"repository": repository, "commit": commit}
    write_json(folder / FACTS, facts)
    _log.info("The model is in %s", commit)
    return facts


def waits_for_push(recipe: Recipe, folder: Path) -> bool:
    """Whether a folder holds a run that is finished but for pushing its model."""
    if recipe.run.push_to_hub is None or not (folder / FACTS).is_file():
        return False
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return is_unpushed(recipe.run, facts) and is_finished(facts, run_length(recipe, facts["pairs"]).steps)


def push_again(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Push the model of a run that waits for it.

    Returns:
        As ``push_model``.

    Raises:
        WorkError: another process works in the folder, or the run is of another recipe; names what differs.
        TrainingError: as ``push_model``.
    """
    with open_work(folder, folder) as work:
        work.claim(run_identity(recipe), set(may_change(recipe)).difference(_MADE_BY))
        (folder / RECIPE).write_text(dump_recipe(recipe), encoding="utf-8")
        return push_model(recipe, folder)
