"""One command: the same model, pairs and step with basereward and with what users would pick instead.

    .venv/bin/python peers/run.py --prompt 1200 --response 200 --pairs 4 --repeats 3 --json peers/work/result.json
    .venv/bin/python peers/run.py --group prompt --pairs 6 --repeats 3 --json peers/work/ranked.json

Each round runs every side once, in a process of its own, in turn; the table shows medians over rounds, and ratios to
basereward within a round.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from environments import HERE, PeerError, interpreter, run
from job import Data, Job
from table import Results, Side, check, render
from workload import RESPONSES, Lengths, Steps, pairs_of, write_workload

LEARNING_RATE = 1e-4
SIDES = (
    Side("ms-swift", "ms-swift `--rlhf_type rm`", "image", "ms_swift.py", "rm", "ms-swift", "padded"),
    Side("trl-driven", "TRL RewardTrainer, own model and collator", "image", "trl_peer.py", "driven", "trl", "padded"),
    Side("padded", "basereward `plain`, padded", "image", "ours.py", "padded", None, "distinct"),
    Side("unpadded", "basereward `plain`, padding-free", "image", "ours.py", "unpadded", None, "unpadded"),
    Side("shared", "basereward `split`", "image", "ours.py", "shared", None, "shared"),
    Side("trl-text", "TRL RewardTrainer", "text", "trl_peer.py", "rewardtrainer", "trl", "padded"),
    Side("padded-text", "basereward `plain`, padded", "text", "ours.py", "padded", None, "distinct"),
    Side("shared-text", "basereward `split`", "text", "ours.py", "shared", None, "shared"),
)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    names = [side.name for side in SIDES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", type=int, default=1200, help="tokens of the prompt, image and template included")
    parser.add_argument("--response", type=int, default=200, help="mean tokens of a response, the turn's end included")
    parser.add_argument("--jitter", type=float, default=0.3, help="responses vary uniformly by this share")
    parser.add_argument(
        "--group",
        choices=tuple(RESPONSES),
        default="pair",
        help="one pair of each prompt, or all six pairs of four responses to each, in the same step (default: pair)",
    )
    parser.add_argument("--pairs", type=int, help="measured, of one run; one step more is not (default: two steps)")
    parser.add_argument("--pairs-per-step", type=int, help="2, or with --group prompt the pairs of one prompt")
    parser.add_argument(
        "--pairs-at-once", type=int, help="what peers compute at once: all of a step, or 2 with --group prompt"
    )
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--checkpointing", choices=("off", "on", "both"), default="off")
    parser.add_argument("--sides", default=",".join(names), help="some of: %(default)s")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="where models, pairs and logs go")
    parser.add_argument("--json", type=Path, default=None, help="write everything measured")
    arguments = parser.parse_args()
    if unknown := set(arguments.sides.split(",")) - set(names):
        parser.error(f"unknown sides {', '.join(sorted(unknown))}; known: {', '.join(names)}")
    of_prompt = pairs_of(RESPONSES[arguments.group])
    arguments.pairs_per_step = arguments.pairs_per_step or max(2, of_prompt)
    arguments.pairs = arguments.pairs or 2 * arguments.pairs_per_step
    step = arguments.pairs_per_step
    arguments.pairs_at_once = at_once = arguments.pairs_at_once or (step if arguments.group == "pair" else 2)
    for whole, size, part, unit in (
        ("--pairs", arguments.pairs, "--pairs-per-step", step),
        ("--pairs-per-step", step, "--pairs-at-once", at_once),
        ("--pairs-per-step", step, "the pairs of a prompt,", of_prompt),
    ):
        if min(size, unit) < 1 or size % unit:
            parser.error(f"{whole} {size} is not a multiple of {part} {unit}")
    return arguments


def run_side(side: Side, job: Job, sources: Path) -> dict[str, Any]:
    """Run one side once and return its result, or ``{"error": why}``; ``sources`` holds basereward."""
    shutil.rmtree(job.folder, ignore_errors=True)
    try:
        python = interpreter(side.environment)
        own = {"PYTHONPATH": str(sources)} if side.environment is None else {}
        run([str(python), str(HERE / side.script), str(job.save())], job.folder / "log.txt", own)
    except PeerError as error:
        return {"error": str(error)}
    return json.loads(job.result.read_text())


def measure(arguments: argparse.Namespace, workload: Path, sources: Path) -> Results:
    """Run all rounds; a side that fails is not tried again. Keys are ``name`` and ``name+checkpointing``."""
    chosen = [side for side in SIDES if side.name in arguments.sides.split(",")]
    modes = {"off": [False], "on": [True], "both": [False, True]}[arguments.checkpointing]
    results: Results = {}
    for number in range(arguments.repeats):
        for checkpointing in modes:
            # The order turns from round to round, so that no side always runs beside the same neighbour.
            for side in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                key = side.name + "+checkpointing" * checkpointing
                found = results.setdefault(key, [])
                if found and "error" in found[-1]:
                    continue
                found.append(run_side(side, _job(arguments, side, workload, checkpointing, number), sources))
                said = found[-1].get("error") or f"{found[-1]['cpu_seconds_per_pair']:.2f} CPU s per pair"
                print(f"round {number + 1}/{arguments.repeats} {key}: {said}", file=sys.stderr)
    return results


def _job(arguments: argparse.Namespace, side: Side, workload: Path, checkpointing: bool, number: int) -> Job:
    data: Data = side.data
    folder = arguments.work / "runs" / f"{side.name}-{number}{'-checkpointing' * checkpointing}"
    return Job(
        name=side.name,
        variant=side.variant,
        data=data,
        workload=workload,
        folder=folder.resolve(),
        group=arguments.group,
        pairs_per_step=arguments.pairs_per_step,
        pairs_at_once=arguments.pairs_at_once,
        steps=arguments.pairs // arguments.pairs_per_step,
        learning_rate=LEARNING_RATE,
        checkpointing=checkpointing,
    )


def main() -> int:
    """Write the workload, run the rounds, print the table; return 1 if a side failed or did not do the same work."""
    arguments = parse_arguments()
    lengths = Lengths(arguments.prompt, arguments.response, arguments.jitter)
    workload = (arguments.work / "workload").resolve()
    shutil.rmtree(workload, ignore_errors=True)
    pairs = arguments.pairs + arguments.pairs_per_step
    steps = Steps(arguments.group, arguments.pairs_per_step, arguments.pairs_at_once)
    facts = write_workload(workload, lengths, pairs, steps)
    # All rounds run the same code, also when somebody edits it meanwhile.
    sources = (arguments.work / "src").resolve()
    shutil.rmtree(sources, ignore_errors=True)
    shutil.copytree(HERE.parent / "src" / "basereward", sources / "basereward")
    results = measure(arguments, workload, sources)
    problems = check(SIDES, results, facts)
    print(render(SIDES, results, facts, arguments.jitter))
    for problem in problems:
        print(f"\nPROBLEM: {problem}")
    if arguments.json:
        settings = {key: value for key, value in vars(arguments).items() if key not in ("work", "json")}
        content = {"settings": settings, "facts": facts, "results": results, "problems": problems}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
