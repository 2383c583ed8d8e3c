"""Result files of lmms-eval: ``OUT/MODEL/DATE_results.json`` with its tasks, ``DATE_samples_TASK.jsonl`` beside it.

Source: github.com/EvolvingLMMs-Lab/lmms-eval, lmms_eval/loggers/evaluation_tracker.py, lmms_eval/evaluator.py and
lmms_eval/tasks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basereward.data.io import read_json, read_records
from basereward.errors import DataError
from basereward.rl.policy.benchmarks import NumberPlace, Task
from basereward.rl.policy.numbers import FoundNumber, NotThere, Numbers, to_percent

ENDING = "_results.json"
# What a sample of LLaVA-Wild has for scores where its judgement failed; the mean of the program counts it all the same.
_FAILED = [-1, -1]
_CATEGORIES = ("Perception", "Reasoning")


def read_lmms_eval(task: Task, folder: Path) -> Numbers:
    """Return the numbers of a task from the newest file that has it, by column of Table 11.

    A mean that counts failed judgements as -1 is missing, with how many there are.

    Raises:
        DataError: a file of another layout.
    """
    for file in sorted(folder.rglob(f"*{ENDING}"), key=lambda path: path.name, reverse=True):
        content = read_json(file)
        results = content.get("results") if isinstance(content, Mapping) else None
        if not isinstance(results, Mapping):
            has = ", ".join(content) if isinstance(content, Mapping) else type(content).__name__
            raise DataError(f"{file}: expected results of tasks under 'results'; found {has}.")
        if task.name in results:
            return _read(task, file, content)
    return NotThere(f"no *{ENDING} has the task {task.name}")


def _read(task: Task, file: Path, content: Mapping[str, Any]) -> Numbers:
    samples = file.with_name(f"{file.name.removesuffix(ENDING)}_samples_{task.name}.jsonl")
    counts = content.get("n-samples", {}).get(task.name, {})
    items, whole = counts.get("effective"), counts.get("original")
    notes = (f"{items} of {whole} items",) if items != whole else ()
    if task.name == "llava_in_the_wild" and (failed := _failed_judgements(samples)):
        return NotThere(f"{failed} of its judgements failed, which its mean counts as -1; judge again")
    found = {}
    for column, place in task.columns.items():
        if place.key[-1] in _CATEGORIES:
            if not samples.is_file():
                return NotThere(f"it needs {samples.name}, which --log_samples writes")
            value: Any = _category_accuracy(samples, place)
        else:
            value = _metric(content["results"][task.name], place.key[0], file)
        if value is None:
            return NotThere("the program gave none: every answer was wrong, or its judge failed")
        found[column] = FoundNumber(to_percent(value, place, file), file, items, None, notes)
    return found


def _metric(results: Mapping[str, Any], name: str, file: Path) -> Any:
    """Return a metric, whatever filter of answers stands behind its name."""
    keys = [key for key in results if key.partition(",")[0] == name]
    if len(keys) != 1:
        raise DataError(f"{file}: found {', '.join(keys) or 'none'} for the metric {name!r} in {', '.join(results)}.")
    return results[keys[0]]


def _category_accuracy(samples: Path, place: NumberPlace) -> float:
    """Return the share of right answers in a category; the program prints that of all items alone.

    Source: lmms_eval/tasks/mme_realworld/utils.py, mme_realworld_aggregate_results.
    """
    name, category = place.key
    hits = []
    for sample in read_records(samples):
        own = sample.get(name)
        if not isinstance(own, Mapping) or not {"category", "pred_answer", "answer"} <= own.keys():
            raise DataError(
                f"{samples}: expected {name} with category, pred_answer and answer; found {str(own)[:100]}."
            )
        if own["category"] == category:
            # A right letter among others counts there too.
            hits.append(str(own["answer"]).lower() in str(own["pred_answer"]).lower())
    if not hits:
        raise DataError(f"{samples}: no sample is of the category {category}.")
    return sum(hits) / len(hits)


def _failed_judgements(samples: Path) -> int:
    if not samples.is_file():
        return 0
    scores = (sample.get("gpt_eval_llava_all", {}).get("scores") for sample in read_records(samples))
    return sum(own == _FAILED for own in scores)
