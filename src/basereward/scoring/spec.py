"""From what a user writes after MODEL to a scorer or a judge: each kind of spec has an opener."""

from pathlib import Path
from typing import NoReturn

from basereward.errors import ScoringError
from basereward.registry import Registry
from basereward.scoring.interface import Scorer
from basereward.scoring.judges.opening import (
    ENSEMBLE,
    JUDGE,
    ROUTER,
    TOURNAMENT,
    is_judge,
    kind_of_spec,
    open_judge,
)
from basereward.scoring.model_spec import ModelSpec, Opener, OpenSpec, Spec


def refuse_judge(member: ModelSpec, open_spec: OpenSpec) -> NoReturn:
    """Say that a judge has no scores.

    Raises:
        ScoringError: always.
    """
    raise ScoringError(
        f"{member.model} is a judge: it compares and has no scores. Use it with basereward eval --bench, or score "
        f"with tournament:{member.model}."
    )


def open_tournament(member: ModelSpec, open_spec: OpenSpec) -> Scorer:
    """Return the tournament of ``tournament:JUDGE``, or of a judge with options of one; the paper's by default.

    Raises:
        ScoringError: what follows the prefix is no judge, or ``backend`` is given, which judges have none of.
        BaseRewardError: as ``open_judge``.
    """
    from basereward.scoring.judged import PREFIX, Tournament

    asked = member.model.removeprefix(PREFIX)
    if not is_judge(asked) or member.backend != "auto":
        raise ScoringError(f"Found {member.model}; expected tournament:judge:..., without a backend.")
    judge = open_judge(asked, member.prompt, member.max_tokens, member.judge, member.dtype, member.device)
    return Tournament(judge, member.tournament, member.name)


# Imported on first use: baselines need no torch.
OPENERS: Registry[Opener] = Registry(
    "kind of model",
    {
        "baseline": "basereward.scoring.baselines:open_baseline",
        ENSEMBLE: "basereward.scoring.compose.ensemble:open_ensemble",
        JUDGE: refuse_judge,
        "file": "basereward.scoring.compose.files:open_file",
        "folder": "basereward.scoring.folders:open_model",
        ROUTER: "basereward.scoring.compose.router:open_router",
        "server": "basereward.scoring.remote:open_remote",
        TOURNAMENT: open_tournament,
    },
)


def open_scorer(spec: str, dtype: str | None = None, device: str | None = None, backend: str = "auto") -> Scorer:
    """Return the scorer that a spec names.

    Args:
        spec: ``baseline:longer``, a folder, a hub id (``owner/name``), ``http://host:port`` of ``basereward serve``,
            ``tournament:`` and a judge, or a YAML file, as ``compose.specs`` says; the model may be a basereward
            checkpoint, any one-label text ``*ForSequenceClassification``, or a known backbone with the head of another
            library.
        dtype: ``float32`` or ``bfloat16``; by default as stored.
        device: by default CUDA if there is one.
        backend: one of ``models.backends.Backend``; ``auto`` computes each prompt once wherever that is exact.

    Raises:
        UnknownNameError: no such baseline.
        MissingFileError: neither a folder nor a hub id that can be downloaded.
        CheckpointError: the folder holds no scalar reward model.
        RecipeError: the YAML file has an unknown key or a value of the wrong kind.
        ScoringError: a judge, or no such dtype, device or backend.
    """
    return open_spec(ModelSpec(model=spec, dtype=dtype, device=device, backend=backend))


def open_spec(spec: Spec) -> Scorer:
    """Return the scorer of a spec: a model in its own precision and on its own device, or what is composed of them.

    Raises:
        BaseRewardError: as ``open_scorer``.
    """
    kind = kind_of_spec(spec)
    if isinstance(spec, ModelSpec):
        if spec.asks_a_judge and kind not in (JUDGE, TOURNAMENT, "file"):
            raise ScoringError(f"{spec.model} is no judge; prompt, max_tokens and judge are of judge:... alone.")
        if spec.tournament and kind not in (TOURNAMENT, "file"):
            raise ScoringError(f"{spec.model} is no judge; a tournament is between verdicts of judge:...")
    scorer = OPENERS.get(kind)(spec, open_spec)
    # A file hands on to what it describes that its scores are changed.
    if spec.calibrated is None or kind == "file":
        return scorer
    from basereward.scoring.compose.calibrated import open_calibrated

    return open_calibrated(scorer, Path(spec.calibrated))
