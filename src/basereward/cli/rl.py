"""``basereward rl``: reinforcement learning with rewards, and policies on benchmarks."""

import os
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from basereward.cli.following import this_call
from basereward.cli.output import JSON_OPTION, console, default_out, print_json, print_next, say


class TrainsByDefault(TyperGroup):
    """``basereward rl RECIPE`` is ``basereward rl train RECIPE``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front where the first word is none."""
        is_recipe = args and not args[0].startswith("-") and args[0] not in self.commands
        return super().parse_args(ctx, ["train", *args] if is_recipe else args)


rl = typer.Typer(
    help="Train policies and judges with rewards, and measure policies.", no_args_is_help=True, cls=TrainsByDefault
)

BENCH_HELP = (
    "mmbench_v11, mme_realworld_lite, mmstar, vstar, llava_wild, wildvision or mathvista; may be repeated. By default "
    "all that the program has, those with a judge only if one is named."
)
OUT_HELP = "Run folder; with --resume RECIPE if it is one, else runs/NAME by default."
JUDGE_HELP = "judge:http://HOST:PORT/v1#MODEL for LLaVA-Wild, WildVision and MathVista; its key is OPENAI_API_KEY."
RESULTS_HELP = "Read the results of this folder instead; nothing is run or written there."


@rl.command()
def train(
    recipe: Path = typer.Argument(metavar="RECIPE", help="YAML file, an installed recipe by name, or a run folder."),
    overrides: list[str] | None = typer.Argument(None, metavar="KEY=VALUE", help="Changes to it: key.sub=value."),
    out: Path | None = typer.Option(None, help=OUT_HELP),
    resume: bool = typer.Option(False, "--resume", help="Go on from the last complete checkpoint of the same recipe."),
    limit: int | None = typer.Option(None, min=1, help="Use only the first prompts of each place."),
    strict: bool = typer.Option(False, "--strict", help="Fail on the first bad prompt instead of counting it."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Train a policy, or a judge that thinks, with GRPO; `basereward rl RECIPE` is short for it.

    SIGTERM and Ctrl-C save a checkpoint first and print the command that goes on; the status is then 143 or 130.

    Example: `basereward rl train recipes/rl/paper-hybrid.yaml reward.model=runs/my-reward-model/model`

    Example: `basereward rl train recipes/rl/longcot-paper.yaml policy.model=runs/my-longcot/model`

    Several GPUs: `accelerate launch --num-processes 8 -m basereward rl RECIPE`
    """
    from basereward.configuration import run_folder
    from basereward.rl.recipe import JudgeRlRecipe, load_rl_recipe
    from basereward.rl.run import train_judge, train_policy

    changes = [
        *(overrides or []),
        *([f"data.limit={limit}"] if limit else []),
        *(["data.strict=true"] if strict else []),
    ]
    loaded = load_rl_recipe(recipe, changes)
    folder = run_folder(out, recipe, loaded.name, resume)
    is_judge = isinstance(loaded, JudgeRlRecipe)
    result = (
        train_judge(loaded, folder, resume)
        if isinstance(loaded, JudgeRlRecipe)
        else train_policy(loaded, folder, resume)
    )
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        print_json({"folder": str(folder), "policy": str(result.policy), **result.facts.model_dump(mode="json")})
        return
    facts = result.facts
    drops = ", ".join(f"{reason} {entry['count']}" for reason, entry in facts.drops["reasons"].items()) or "none"
    print(f"{'judge' if is_judge else 'policy':<8} {result.policy}")
    print(f"steps    {facts.steps}  ({facts.prompts} prompts, dropped: {drops})")
    if facts.start and facts.end:
        low, high = (100 * end for end in facts.end.interval)
        what = "verdicts are right" if is_judge else "answers match"
        print(
            f"held out {100 * facts.end.matched:.1f} % ({low:.1f} to {high:.1f}) of {facts.end.prompts} {what}; "
            f"at the start {100 * facts.start.matched:.1f} %"
        )
    print_next("report", folder)


@rl.command("eval")
def evaluate_policy(
    context: typer.Context,
    policy: str = typer.Argument(metavar="POLICY", help="Folder or hub id of the policy."),
    program: str = typer.Option("vlmevalkit", help="vlmevalkit or lmms-eval, which has no MMBench v1.1."),
    bench: list[str] = typer.Option([], "--bench", help=BENCH_HELP),
    judge: str | None = typer.Option(None, help=JUDGE_HELP),
    out: Path | None = typer.Option(None, help="Result folder; runs/policy-POLICY by default."),
    results: Path | None = typer.Option(None, help=RESULTS_HELP),
    python: str = typer.Option("python", help="Python of the environment in which the program is installed."),
    home: Path | None = typer.Option(None, help="Folder with the run.py of VLMEvalKit."),
    model_class: str | None = typer.Option(None, help="Class that loads the policy; that of Qwen2.5-VL by default."),
    run: bool = typer.Option(False, "--run", help="Run the program; otherwise its command lines are only shown."),
    as_json: bool = JSON_OPTION,
) -> None:
    """Measure a policy on the benchmarks of the paper's Table 11 with an external program, and read its results.

    Without `--run` the command lines are shown, and what the result folder already has is read.

    Example: `basereward rl eval runs/policy --home ~/VLMEvalKit --judge judge:http://localhost:8001/v1#qwen --run`

    Example: `basereward rl eval Qwen/Qwen2.5-VL-3B-Instruct --program lmms-eval --bench mmstar`
    """
    from basereward.data.io import write_json
    from basereward.rl.policy.benchmarks import BENCHMARKS, task_of
    from basereward.rl.policy.command import Installed, build_commands, parse_judge, policy_model, write_files
    from basereward.rl.policy.results import read_results, result_file

    if program not in ("vlmevalkit", "lmms-eval"):
        raise typer.BadParameter(f"--program is vlmevalkit or lmms-eval; found {program!r}.")
    if results is not None and run:
        raise typer.BadParameter("--results reads a folder and --run makes one; give one of them.")
    if results is None:
        _check_policy(policy)
    chosen: Any = program
    model = policy_model(policy, chosen, model_class)
    address = parse_judge(judge) if judge else None
    asked = list(dict.fromkeys(bench)) or list(BENCHMARKS)
    place = results or out or default_out("policy", policy)
    commands = []
    if results is None:
        # What is asked for by name and cannot be measured is refused; otherwise it is missing.
        usable = [name for name in asked if bench or _is_usable(task_of(name, chosen), address)]
        commands = build_commands(model, chosen, usable, place, address, Installed(python, home))
        for command in commands:
            say(command.line)
            write_files(command)
        _work(policy, chosen, commands if run else None, place, Installed(python, home))
    found = read_results(policy, model.name, chosen, place, asked, address.model if address else None)
    if results is None:
        write_json(place / result_file(chosen), found.model_dump(mode="json"))
    if as_json:
        print_json({"commands": [command.line for command in commands], **found.model_dump(mode="json")})
        return
    _print(found)
    if not run and results is None:
        print_next(*this_call(context), "--run")


def _check_policy(policy: str) -> None:
    """Refuse what neither is a folder nor can be a hub id, before command lines with it are shown."""
    from basereward.errors import MissingFileError

    if not Path(policy).is_dir() and (policy.count("/") != 1 or policy.startswith((".", "/", "~"))):
        raise MissingFileError(
            f"No folder {policy!r}, and it is no hub id; expected the folder of a policy, or owner/name."
        )


def _is_usable(task: Any, judge: Any) -> bool:
    if task is None or (task.is_judged and judge is None):
        return False
    return task.fixed_judge in (None, judge and judge.model)


def _work(policy: str, program: Any, commands: list[Any] | None, place: Path, where: Any) -> None:
    """Run the calls, if there are any, in a folder whose results are of this policy alone."""
    from basereward.data.identity import Identity
    from basereward.data.work import open_work
    from basereward.rl.policy.command import check_installed, run_command
    from basereward.scoring.weights import Weights

    if commands is not None:
        check_installed(program, where)
    with open_work(place, place) as work:
        if commands is None and work.identity() is None:
            return
        local = Path(policy)
        weights = Weights([local]).digest() if local.is_dir() else policy
        # Results lie under the name of the policy, which tells nothing of its weights.
        work.claim(Identity(task="rl eval", weights={"policy": weights}, settings={"program": program}))
        for command in commands or []:
            run_command(command)


def _print(found: Any) -> None:
    from basereward.reporting.policy_table import policy_lines, policy_table
    from basereward.reporting.tables import to_rich

    console().print(to_rich(policy_table(found), title="Table 11, in percent"))
    print("\n".join(policy_lines(found)))
