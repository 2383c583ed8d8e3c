"""How many images a second the loader decodes and processes, beside what a training GPU would take."""

import io
import time
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import Qwen2VLImageProcessor

from basereward.data.images import load_image
from basereward.encoding.groups import GroupLength
from basereward.models.flops import measure_backbone
from basereward.models.shapes import backbone_config

# One H100 in bf16: dense peak from its data sheet, and the share of it that a good training step reaches.
GPU_FLOPS = 989e12
GPU_SHARE = 0.45
BACKBONE = "Qwen/Qwen2.5-VL-7B-Instruct"


@dataclass(frozen=True, slots=True)
class LoaderTiming:
    """Throughput of one number of worker processes, over wall time."""

    workers: int
    images_per_second: float


@dataclass(frozen=True, slots=True)
class LoaderReport:
    """Throughput by workers, and the images a second that one GPU of a 7B run would take."""

    image_side: int
    images: int
    needed_images_per_second: float
    results: list[LoaderTiming]


def measure_loader(workers: list[int], image_side: int = 896, images: int = 64) -> LoaderReport:
    """Decode JPEG photographs of noise and process them for Qwen2.5-VL in a ``DataLoader``.

    Args:
        workers: numbers of processes to try.
        image_side: of the square images, in pixels.
        images: to load with each number.
    """
    encoded = [_photograph(image_side, seed) for seed in range(8)]
    timings = []
    for count in workers:
        loader = DataLoader(_Images(encoded, images), batch_size=1, num_workers=count, collate_fn=list)
        stream = iter(loader)
        next(stream)  # workers are up
        start = time.perf_counter()
        loaded = sum(1 for _ in stream)
        timings.append(LoaderTiming(count, loaded / (time.perf_counter() - start)))
    return LoaderReport(image_side, images, needed_images(image_side), timings)


def needed_images(image_side: int, response: int = 200, text: int = 176) -> float:
    """Return the images a second that one GPU takes in training pairs of one image each."""
    tokens = (image_side // 28) ** 2
    work = measure_backbone(backbone_config(BACKBONE)).forward_flops(
        GroupLength(tokens + text, (response, response), tokens)
    )
    return GPU_FLOPS * GPU_SHARE / (3 * work)


class _Images(Dataset):
    def __init__(self, encoded: list[bytes], count: int) -> None:
        self.encoded = encoded
        self.count = count
        self.processor = Qwen2VLImageProcessor()

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        image = load_image(self.encoded[index % len(self.encoded)])
        return len(self.processor(images=[image], return_tensors="pt")["pixel_values"])


def _photograph(side: int, seed: int) -> bytes:
    """Return a JPEG with the detail of a photograph: smooth noise, upscaled."""
    noise = np.random.default_rng(seed).integers(0, 255, (side // 8, side // 8, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
