"""All benchmarks by name."""

from basereward.benchmarks.benchmark import Benchmark
from basereward.registry import Registry

BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    {
        "vl_rewardbench": "basereward.benchmarks.vl_rewardbench:BENCHMARK",
        "mm_rlhf_rewardbench": "basereward.benchmarks.mm_rlhf_rewardbench:BENCHMARK",
        "rm_bench": "basereward.benchmarks.rm_bench:BENCHMARK",
        "rewardbench": "basereward.benchmarks.rewardbench:BENCHMARK",
        "multimodal_rewardbench": "basereward.benchmarks.multimodal_rewardbench:BENCHMARK",
        "rewardbench2": "basereward.benchmarks.rewardbench2:BENCHMARK",
        "judgebench": "basereward.benchmarks.judgebench:BENCHMARK",
        "videorewardbench": "basereward.benchmarks.videorewardbench:BENCHMARK",
        "multimodal_rewardbench2": "basereward.benchmarks.multimodal_rewardbench2:BENCHMARK",
        "rmhackbench": "basereward.benchmarks.rmhackbench:BENCHMARK",
        "mr2bench": "basereward.benchmarks.mr2bench:BENCHMARK",
        "omni_rewardbench": "basereward.benchmarks.omni_rewardbench:BENCHMARK",
    },
)
