"""The start of an evaluation by the names of a model and of data."""

from pathlib import Path

from basereward.data.arrangement import ReadOptions
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.result import Result
from basereward.evaluation.runner import DEFAULT_OPTIONS, EvaluationOptions, evaluate
from basereward.scoring.interface import Judge, Scorer
from basereward.scoring.spec import open_scorer


def start_evaluation(
    model: str | Path | Scorer | Judge,
    data: str | Path,
    out: str | Path,
    *,
    limit: int | None = None,
    reading: ReadOptions | None = None,
    options: EvaluationOptions = DEFAULT_OPTIONS,
) -> Result:
    """Measure accuracy on pairs, with intervals, beside trivial baselines; ``basereward.evaluate``.

    Args:
        model: a scorer or a judge, or what ``open_scorer`` takes.
        data: a file of pairs, a folder or a hub id.
        out: the result folder, which ``basereward report`` reads.
        limit: use only the first pairs.
        reading: how records are read that do not say it by themselves.
        options: how the evaluation runs.

    Raises:
        WorkError: another process writes the folder, or it holds an evaluation already.
        DataError: no usable pair.
    """
    subject = open_scorer(str(model)) if isinstance(model, (str, Path)) else model
    return evaluate(subject, read_pairs(data, limit, options=reading), Path(out), options)
