"""Times a vision tower with its segments in batches beside the loop of the library, on images of one and many sizes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode
from transformers import AutoModel, PreTrainedConfig

from basereward.errors import RecipeError
from basereward.models.families import family_of
from basereward.speed.figures import Figure, middle
from basereward.speed.measure import time_round
from basereward.speed.workloads import PRESETS

LOOP = "sdpa"
# What is added to the height and width of each image in turn, in tokens: sides that are no multiple of a window.
SIZES = ((-1, 1), (2, -2), (-3, 3), (5, -4))
BAR = 1e-5


class TowerPlan(NamedTuple):
    """What is timed: images of about ``side * side`` tokens, in interleaved rounds."""

    preset: str = "tiny"
    images: int = 4
    side: int = 32
    repeats: int = 5


def measure_tower(
    plan: TowerPlan,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    on_round: Callable[[int], None] = lambda done: None,
) -> list[Figure]:
    """Time the forward pass of a tower, and forward with backward, under both ways of attending to segments.

    Seconds are those of the CPU, on CUDA those of the device. The bar is on the largest difference of features.

    Raises:
        RecipeError: sides of fewer than 8 tokens.
        UnknownNameError: an unknown preset.
    """
    if plan.side < 8:
        raise RecipeError(f"Found images of {plan.side} tokens a side, expected at least 8.")
    backbone = build_tower(PRESETS.get(plan.preset)(), dtype, device)
    figures, done = [], 0
    for part, sizes in (("one size", ((0, 0),)), ("many sizes", SIZES)):
        tower = _TimedTower(backbone, _grid(plan, sizes), device)
        figures += _calls_and_difference(part, tower, BAR if dtype == torch.float32 else None)
        rounds: dict[tuple[str, bool], list[float]] = {}
        for turn in range(plan.repeats):
            # Which one goes first alternates: the later one finds the caches of the other.
            for way in tower.ways[:: 1 if turn % 2 else -1]:
                for backward in (False, True):
                    spent = time_round(partial(tower.run, way, backward), device)
                    rounds.setdefault((way, backward), []).append(spent.cpu)
            done += 1
            on_round(done)
        for backward, what in ((False, "forward"), (True, "forward and backward")):
            before, after = (rounds[way, backward] for way in tower.ways)
            figures += [middle(part, f"{what}, loop, s", before), middle(part, f"{what}, batched, s", after)]
            ratios = [old / new for old, new in zip(before, after, strict=True)]
            figures.append(middle(part, f"{what}, loop over batched", ratios))
    return figures


def build_tower(config: PreTrainedConfig, dtype: torch.dtype, device: str) -> Any:
    """Build a backbone with random weights whose text model is as small as it can be."""
    config.text_config.num_hidden_layers = 1
    config.text_config.vocab_size = 1024
    torch.manual_seed(0)
    with torch.device(device):
        return AutoModel.from_config(config, dtype=dtype)


class _TimedTower:
    def __init__(self, backbone: Any, grid: torch.Tensor, device: str) -> None:
        family, vision = family_of(backbone.config), backbone.config.vision_config
        self._backbone, self._tower = backbone, backbone.get_submodule(family.vision_module)
        self.ways = (LOOP, family.vision_attention)
        width = 3 * vision.temporal_patch_size * vision.patch_size**2
        sides = grid * torch.tensor([1, vision.spatial_merge_size, vision.spatial_merge_size])
        self._grid = sides.to(device)
        self._pixels = torch.randn(int(sides.prod(1).sum()), width, device=device)

    def run(self, way: str, backward: bool) -> torch.Tensor:
        self._backbone.set_attn_implementation({"vision_config": way})
        with torch.set_grad_enabled(backward):
            found = self._tower(self._pixels, self._grid).pooler_output
        if backward:
            found.square().mean().backward()
            self._tower.zero_grad(set_to_none=False)
        return found.detach().float()


class _Calls(TorchFunctionMode):
    """Counts what attends."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += getattr(func, "__name__", "") in ("scaled_dot_product_attention", "_varlen_attn")
        return func(*args, **(kwargs or {}))


def _calls_and_difference(part: str, tower: _TimedTower, most: float | None) -> list[Figure]:
    found, figures = [], []
    for way, name in zip(tower.ways, ("loop", "batched"), strict=True):
        with _Calls() as calls:
            found.append(tower.run(way, backward=False))
        figures.append(Figure(part, f"calls of attention, {name}", calls.count))
    worst = (found[1] - found[0]).abs().max() / found[0].abs().max()
    return [*figures, Figure(part, "largest difference of features", float(worst), most)]


def _grid(plan: TowerPlan, sizes: tuple[tuple[int, int], ...]) -> torch.Tensor:
    """Return time, height and width of every image, in tokens."""
    turns = [sizes[number % len(sizes)] for number in range(plan.images)]
    return torch.tensor([[1, plan.side + high, plan.side + wide] for high, wide in turns])
