"""Command lines of external programs that measure a policy: built, shown, and run if the program is there."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from basereward.data.io import replacing
from basereward.errors import DataError, MissingExtraError, RewardError
from basereward.rl.policy.benchmarks import BENCHMARKS, Program, Task, task_of

# Of Qwen2.5-VL in VLMEvalKit's own configuration; the paper does not say what it used.
PIXELS = {"min_pixels": 1280 * 28 * 28, "max_pixels": 16384 * 28 * 28}
MODEL_CLASSES: Mapping[Program, str] = {"vlmevalkit": "Qwen2VLChat", "lmms-eval": "qwen2_5_vl"}
# VLMEvalKit's word for reading the option letter without asking a model.
EXACT = "exact_matching"
# The file descriptor: what a program prints does not go through Python.
STDERR = 2
_JUDGE = re.compile(r"judge:(https?://[^#]+)#(.+)")


class JudgeAddress(NamedTuple):
    """An OpenAI-compatible endpoint and the model behind it."""

    url: str
    model: str


class Installed(NamedTuple):
    """Where a program is: the Python of its environment and, of VLMEvalKit, the folder of its ``run.py``."""

    python: str = "python"
    home: Path | None = None


class PolicyModel(NamedTuple):
    """The policy as programs take it: a folder or hub id, its name in their files, and the class that loads it."""

    path: str
    name: str
    kind: str


class Command(NamedTuple):
    """A call of a program: arguments, variables that it adds, files that it reads, and the folder that it runs in."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str]
    files: Mapping[Path, str]
    folder: Path | None = None

    @property
    def line(self) -> str:
        """The call as a line of a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.variables.items()]
        place = f"cd {shlex.quote(str(self.folder))} && " if self.folder else ""
        return place + " ".join([*variables, shlex.join(self.arguments)])


def parse_judge(spec: str) -> JudgeAddress:
    """Return the address of a judge spec.

    Raises:
        RewardError: a judge that is not behind an address; external programs reach no other.
    """
    found = _JUDGE.fullmatch(spec)
    if found is None:
        raise RewardError(f"Found the judge {spec!r}; expected judge:http://HOST:PORT/v1#MODEL.")
    return JudgeAddress(found[1].rstrip("/"), found[2])


def policy_model(policy: str, program: Program, kind: str | None = None) -> PolicyModel:
    """Return the policy as a program takes it; a local folder by its whole path.

    Raises:
        RewardError: a path that lmms-eval would read as several arguments.
    """
    local = Path(policy)
    path = str(local.resolve()) if local.is_dir() else policy
    if program == "lmms-eval" and set(path) & set(",="):
        raise RewardError(f"lmms-eval reads , and = in {path!r} as further arguments; give the folder another name.")
    return PolicyModel(path, Path(path).name, kind or MODEL_CLASSES[program])


def build_commands(
    model: PolicyModel,
    program: Program,
    benchmarks: Sequence[str],
    out: Path,
    judge: JudgeAddress | None = None,
    where: Installed | None = None,
) -> list[Command]:
    """Return the calls that measure benchmarks, those without a judge first.

    Raises:
        UnknownNameError: no such benchmark.
        RewardError: the program does not have a benchmark, a judge is needed, or another one is fixed.
    """
    tasks = {name: _expect_task(name, program, judge) for name in benchmarks}
    build = _vlmevalkit if program == "vlmevalkit" else _lmms_eval
    ruled = [task for task in tasks.values() if not task.is_judged]
    judged = [task for task in tasks.values() if task.is_judged]
    # lmms-eval's WildVision takes another form of address than its other judges.
    parts = [ruled, [task for task in judged if not task.fixed_judge], [task for task in judged if task.fixed_judge]]
    return [build(model, own, out.resolve(), judge, where or Installed()) for own in parts if own]


def _expect_task(name: str, program: Program, judge: JudgeAddress | None) -> Task:
    task = task_of(name, program)
    title = BENCHMARKS[name].title
    if task is None:
        others = ", ".join(BENCHMARKS[name].tasks)
        raise RewardError(f"{program} does not have {title}; {others} does: --program {others}.")
    if task.is_judged and judge is None:
        raise RewardError(f"{title} needs a judge; name one with --judge judge:http://HOST:PORT/v1#MODEL.")
    if program == "vlmevalkit" and judge and "/" in judge.model:
        raise RewardError(f"VLMEvalKit makes file names of {judge.model!r}; serve the judge under a name without '/'.")
    if task.fixed_judge and judge and judge.model != task.fixed_judge:
        raise RewardError(
            f"{program} judges {title} with {task.fixed_judge} alone, found {judge.model}; serve the judge under that "
            "name, or use --program vlmevalkit."
        )
    return task


def _vlmevalkit(
    model: PolicyModel, tasks: Sequence[Task], out: Path, judge: JudgeAddress | None, where: Installed
) -> Command:
    is_judged = tasks[0].is_judged
    settings = {"class": model.kind, "model_path": model.path, **PIXELS, "use_custom_prompt": False}
    data = {task.name: {"class": task.kind, "dataset": task.name} for task in tasks}
    file = out / f"vlmevalkit{'-judged' if is_judged else ''}.json"
    named: tuple[str, ...] = ("--judge", EXACT)
    if is_judged and judge is not None:
        named = ("--judge", judge.model, "--judge-base-url", judge.url)
    return Command(
        (where.python, "run.py", "--config", str(file), "--work-dir", str(out), *named),
        {},
        {file: json.dumps({"model": {model.name: settings}, "data": data}, indent=1) + "\n"},
        where.home.resolve() if where.home else None,
    )


def _lmms_eval(
    model: PolicyModel, tasks: Sequence[Task], out: Path, judge: JudgeAddress | None, where: Installed
) -> Command:
    names = ",".join(task.name for task in tasks)
    arguments = (
        *(where.python, "-m", "lmms_eval", "--model", model.kind, "--model_args", f"pretrained={model.path}"),
        *("--tasks", names, "--batch_size", "1", "--log_samples", "--output_path", str(out)),
    )
    if not tasks[0].is_judged or judge is None:
        return Command(arguments, {}, {})
    url = f"{judge.url}/chat/completions" if tasks[0].fixed_judge else judge.url
    return Command(arguments, {"API_TYPE": "openai", "OPENAI_API_URL": url, "MODEL_VERSION": judge.model}, {})


def write_files(command: Command) -> None:
    """Write the files that a call reads."""
    for path, text in command.files.items():
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def check_installed(program: Program, where: Installed) -> None:
    """Find out that a program is there before anything runs.

    Raises:
        MissingExtraError: it is not; says what to give.
    """
    if program == "vlmevalkit":
        if where.home is None or not (where.home / "run.py").is_file():
            raise MissingExtraError(
                f"VLMEvalKit runs from its source folder, found {where.home}; give the folder of its run.py as --home, "
                "and the Python of its environment as --python."
            )
        return
    try:
        found = subprocess.run([where.python, "-c", "import lmms_eval"], capture_output=True, check=False)
    except OSError as error:
        raise MissingExtraError(f"{where.python} cannot be run ({error}); give a Python as --python.") from error
    if found.returncode:
        raise MissingExtraError(
            f"{where.python} has no lmms_eval; install lmms-eval into an environment of its own and give its Python as "
            "--python."
        )


def run_command(command: Command) -> None:
    """Run a call; what it prints goes to stderr.

    Raises:
        DataError: it ends with an error.
    """
    write_files(command)
    ended = subprocess.run(
        command.arguments, env={**os.environ, **command.variables}, cwd=command.folder, stdout=STDERR, check=False
    )
    if ended.returncode:
        raise DataError(f"{command.arguments[0]} ended with status {ended.returncode}: {command.line}")
