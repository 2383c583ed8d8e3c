"""The benchmarks of the paper's Table 11, and where lmms-eval and VLMEvalKit measure and write what it prints.

What the paper does not say is chosen here and named: which split of MMBench v1.1, which prompt of MathVista, which
judges. Its column "Hallucination" names no benchmark, so that nothing can be measured for it.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from basereward.errors import UnknownNameError
from basereward.registry import close_names

Program = Literal["vlmevalkit", "lmms-eval"]
TABLE = "paper-11"
UNKNOWN_COLUMN = "Hallucination Overall"


class NumberPlace(NamedTuple):
    """Where a program writes a number: a metric of lmms-eval, or a column or path in a file of VLMEvalKit.

    Args:
        key: of lmms-eval the metric; of VLMEvalKit the names that lead to the number.
        scale: what a printed 100 is there: 1 for a share, 100 for a percentage.
    """

    key: tuple[str, ...]
    scale: int


class Task(NamedTuple):
    """A benchmark in one program.

    Args:
        name: of the task or data set there.
        kind: of VLMEvalKit the class of the data set; of lmms-eval nothing.
        columns: the columns of Table 11 that it fills.
        is_judged: whether a model judges, or extracts answers, so that a judge must be named.
        fixed_judge: the only judge that the program asks.
        caveat: what must be known to read its number.
    """

    name: str
    kind: str
    columns: Mapping[str, NumberPlace]
    is_judged: bool = False
    fixed_judge: str | None = None
    caveat: str = ""


class PolicyBenchmark(NamedTuple):
    """A benchmark for policies: its title, and how each program measures it."""

    title: str
    tasks: Mapping[Program, Task]


_MCQ = "ImageMCQDataset"
BENCHMARKS: Mapping[str, PolicyBenchmark] = {
    "mmbench_v11": PolicyBenchmark(
        "MMBench v1.1",
        {
            "vlmevalkit": Task(
                "MMBench_DEV_EN_V11",
                _MCQ,
                {"MMBench v1.1 Overall": NumberPlace(("Overall",), 1)},
                caveat="The paper does not say which split; this is the English dev split.",
            )
        },
    ),
    "mme_realworld_lite": PolicyBenchmark(
        "MME-RealWorld-Lite",
        {
            "vlmevalkit": Task(
                "MME-RealWorld-Lite",
                "MMERealWorld",
                {
                    "MME-RealWorld Perception": NumberPlace(("Perception", "Avg"), 1),
                    "MME-RealWorld Reasoning": NumberPlace(("Reasoning", "Avg"), 1),
                },
            ),
            "lmms-eval": Task(
                "mmerealworld_lite",
                "",
                {
                    "MME-RealWorld Perception": NumberPlace(("mme_realworld_score", "Perception"), 1),
                    "MME-RealWorld Reasoning": NumberPlace(("mme_realworld_score", "Reasoning"), 1),
                },
            ),
        },
    ),
    "mmstar": PolicyBenchmark(
        "MMStar",
        {
            "vlmevalkit": Task("MMStar", _MCQ, {"MMStar Overall": NumberPlace(("Overall",), 1)}),
            "lmms-eval": Task(
                "mmstar",
                "",
                {"MMStar Overall": NumberPlace(("average",), 1)},
                caveat="lmms-eval averages the fine categories, VLMEvalKit the items.",
            ),
        },
    ),
    "vstar": PolicyBenchmark(
        "V*",
        {
            "vlmevalkit": Task("VStarBench", _MCQ, {"Vstar Overall": NumberPlace(("Overall",), 1)}),
            "lmms-eval": Task("vstar_bench", "", {"Vstar Overall": NumberPlace(("vstar_overall_acc",), 100)}),
        },
    ),
    "llava_wild": PolicyBenchmark(
        "LLaVA-Wild",
        {
            "vlmevalkit": Task(
                "LLaVABench",
                "LLaVABench",
                {"LLaVA-Wild Score": NumberPlace(("overall", "Relative Score (main)"), 100)},
                is_judged=True,
                caveat="A judgement that failed counts as -1 for both sides there, and its file does not say how many.",
            ),
            "lmms-eval": Task(
                "llava_in_the_wild",
                "",
                {"LLaVA-Wild Score": NumberPlace(("gpt_eval_llava_all",), 100)},
                is_judged=True,
            ),
        },
    ),
    "wildvision": PolicyBenchmark(
        "WildVision",
        {
            "vlmevalkit": Task(
                "WildVision",
                "WildVision",
                {"WildVision Win Rate": NumberPlace(("Win Rate",), 1)},
                is_judged=True,
                caveat="A verdict that cannot be read counts as a tie there, and its file does not say how many.",
            ),
            "lmms-eval": Task(
                "wildvision_0617",
                "",
                {"WildVision Win Rate": NumberPlace(("win_rates",), 100)},
                is_judged=True,
                fixed_judge="gpt-4o",
            ),
        },
    ),
    "mathvista": PolicyBenchmark(
        "MathVista",
        {
            "vlmevalkit": Task(
                "MathVista_MINI", "MathVista", {"MathVista Acc": NumberPlace(("Overall", "acc"), 100)}, is_judged=True
            ),
            "lmms-eval": Task(
                "mathvista_testmini_format",
                "",
                {"MathVista Acc": NumberPlace(("llm_as_judge_eval",), 100)},
                is_judged=True,
                caveat="The paper does not say which prompt; this is the one that states the format.",
            ),
        },
    ),
}


def task_of(benchmark: str, program: Program) -> Task | None:
    """Return a benchmark's task in a program, None where the program does not have it.

    Raises:
        UnknownNameError: no such benchmark.
    """
    if benchmark not in BENCHMARKS:
        raise UnknownNameError(
            f"There is no benchmark {benchmark!r} for policies.{close_names(benchmark, [*BENCHMARKS])} Known: "
            f"{', '.join(BENCHMARKS)}."
        )
    return BENCHMARKS[benchmark].tasks.get(program)
