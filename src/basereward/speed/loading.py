"""Memory of a rank while a sharded model is loaded and its checkpoint is written: the weights of one part, or of all.

Ranks are processes of this machine over gloo. What a process holds is its resident memory, pages of mapped files
included, above what it held when it had loaded a tiny model in the same way.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from transformers import AutoConfig, AutoModel, PreTrainedConfig

from basereward.errors import ScoringError
from basereward.models.checkpoint import live_weights
from basereward.models.families import family_of
from basereward.models.head import RewardHead
from basereward.models.hub import load_backbone
from basereward.models.reward_model import RewardModel
from basereward.models.sharded import local_part, write_shards
from basereward.models.stored import TensorFacts, write_weights
from basereward.speed.figures import Figure
from basereward.speed.memory import peak_bytes
from basereward.training.parallel import shard_model

GIB, MIB = 2**30, 2**20
# Of what a rank holds, times its part and the largest layer.
BAR = 1.3
HIDDEN, INNER, VOCABULARY = 2048, 5632, 32000
SECONDS = 1800


class RankMemory(NamedTuple):
    """Bytes of one rank: its part of the weights, the largest layer whole, and how far memory grew at most.

    Args:
        part: of the weights, as the optimiser will see them.
        layer: the largest block of the model.
        load: growth from before the model to when it can train.
        save: growth beyond that while its checkpoint is written; None where nothing was written.
    """

    part: int
    layer: int
    load: int
    save: int | None


def measure_loading(ranks: int, gib: float, on_turn: Callable[[str], None] = lambda told: None) -> list[Figure]:
    """Load a model of random weights part by part, and once whole on every rank before it is sharded.

    Args:
        ranks: processes of this machine.
        gib: size of the model in fp32; it lies on disk in bf16.
        on_turn: told how it goes.

    Raises:
        ScoringError: a rank ended early, or this system does not tell the peak of resident memory.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        on_turn("writing the model")
        _write_backbone(folder / "tiny", _config(0.0))
        _write_backbone(folder / "large", _config(gib))
        figures = []
        for name, is_empty in (("part by part", True), ("whole on each rank", False)):
            on_turn(f"loading {name}")
            found = _run_ranks(ranks, folder, is_empty)
            figures += _figures(name, found, BAR if is_empty else None)
        return figures


def _figures(name: str, found: list[RankMemory], bar: float | None) -> list[Figure]:
    worst = max(found, key=lambda own: own.load / (own.part + own.layer))
    figures = [
        Figure(name, "part of a rank, MiB", worst.part / MIB),
        Figure(name, "largest layer, MiB", worst.layer / MIB),
        Figure(name, "growth while loading, MiB", worst.load / MIB),
        Figure(name, "growth, times part and largest layer", worst.load / (worst.part + worst.layer), most=bar),
    ]
    saved = [own.save for own in found if own.save is not None]
    return figures + ([Figure(name, "growth while writing a checkpoint, MiB", max(saved) / MIB)] if saved else [])


def _run_ranks(ranks: int, folder: Path, is_empty: bool) -> list[RankMemory]:
    context = multiprocessing.get_context("spawn")
    answers: Any = context.SimpleQueue()
    # Of one group alone.
    store = folder / f"store-{is_empty}"
    started = [
        context.Process(target=_measure_rank, args=(rank, ranks, folder, store, is_empty, answers))
        for rank in range(ranks)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(SECONDS)
    if any(process.exitcode for process in started):
        raise ScoringError("A rank ended early, or resident memory cannot be measured here; see its message above.")
    return [answers.get() for _ in started]


def _measure_rank(rank: int, ranks: int, folder: Path, store: Path, is_empty: bool, answers: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=ranks)
    kept: list[RewardModel] = []

    def load(name: str) -> None:
        backbone = load_backbone(folder / name, torch.float32, is_empty)
        model = RewardModel(backbone, RewardHead(HIDDEN), None)
        shard_model(model, torch.device("cpu"), bf16=True, size=ranks)
        kept.append(model)

    def save() -> None:
        write_shards(live_weights(kept[-1]), folder / f"checkpoint-{len(kept)}")

    # What is imported and opened on the way is no memory of the model.
    load("tiny")
    save()
    grown = peak_bytes(lambda: load("large"), "cpu")
    if grown is None:
        raise ScoringError("This system does not tell the peak of resident memory.")
    weights = list(kept[-1].parameters())
    part = sum(own.numel() * own.itemsize for own in (local_part(weight.detach()).values for weight in weights))
    layer = max(sum(own.numel() * own.itemsize for own in block.parameters()) for block in kept[-1].backbone.layers)
    answers.put(RankMemory(part, layer, grown, peak_bytes(save, "cpu") if is_empty else None))
    dist.destroy_process_group()


def _config(gib: float) -> PreTrainedConfig:
    """Return a Qwen2 of about this size in fp32, with at least one layer."""
    block = 3 * HIDDEN * INNER + 3 * HIDDEN * HIDDEN
    layers = max(1, round((gib * GIB / 4 - VOCABULARY * HIDDEN) / block))
    is_tiny = not gib
    return AutoConfig.for_model(
        "qwen2",
        hidden_size=HIDDEN,
        intermediate_size=256 if is_tiny else INNER,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        vocab_size=64 if is_tiny else VOCABULARY,
        bos_token_id=None,
        eos_token_id=None,
    )


def _write_backbone(folder: Path, config: PreTrainedConfig) -> None:
    """Write random weights in bf16, one file of them in memory at a time."""
    folder.mkdir()
    config.save_pretrained(folder)
    with torch.device("meta"):
        weights = AutoModel.from_config(config).state_dict()
    draw = torch.Generator().manual_seed(0)
    facts = {
        family_of(config).to_hub(name): TensorFacts(tuple(weight.shape), torch.bfloat16)
        for name, weight in weights.items()
    }
    write_weights(
        folder, facts, lambda name: torch.randn(facts[name].shape, generator=draw).mul_(0.02), shard_bytes=GIB // 4
    )
