"""What the start of training reads and takes: the first one, which measures, and the second, which finds it done."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from transformers import TrainerCallback

from basereward.configuration import Section
from basereward.curation.seen import pair_fingerprints
from basereward.data.cache import CACHE_VARIABLE
from basereward.data.pairs import load_pairs
from basereward.data.parquet import GROUP_ROWS, write_parquet
from basereward.data.process import peak_resident_bytes
from basereward.data.rows import pack_row, pair_features
from basereward.data.shards import write_shards
from basereward.encoding.measuring import keep_lengths, lengths_path, measure_lengths
from basereward.errors import BaseRewardError, TrainingError
from basereward.speed.synthetic import photo_row, synthetic_row
from basereward.training.prepare import pair_trees, prepare_template
from basereward.training.recipe import Recipe, parse_recipe
from basereward.training.run import train

FEW, _SHARD_PAIRS = 1_000, 50_000
_PAIRS_PER_STEP, _TOKENS = 128, 16_384
Progress = Callable[[str], None]


class StartTiming(Section):
    """One start in a process of its own, from its first line to the end of the first forward and backward pass."""

    cpu_seconds: float
    """Of all threads."""
    seconds: float
    peak_bytes: int
    """Most resident memory."""
    read_bytes: int
    """That the process asked files for, whether a disk or memory gave them; those of libraries are among them."""


class StartReport(Section):
    """Starts on pairs and on few of them, each of two in a cache that was empty before."""

    pairs: int
    has_images: bool
    data_bytes: int
    image_bytes: int
    cache_bytes: int
    """That the first start on the pairs left in the cache."""
    first: StartTiming | None
    """None where the lengths of the few were taken for all, so that nothing but the second start is one."""
    second: StartTiming
    first_of_few: StartTiming
    second_of_few: StartTiming

    @property
    def above(self) -> dict[str, float]:
        """What the second start takes above that on few pairs, and what is kept beside the data."""
        second, few = self.second, self.second_of_few
        read = max(0, second.read_bytes - few.read_bytes)
        return {
            "cpu_seconds": second.cpu_seconds - few.cpu_seconds,
            "peak_megabytes": (second.peak_bytes - few.peak_bytes) / 1e6,
            "read_megabytes": read / 1e6,
            "read_share_of_images": read / self.image_bytes if self.has_images else 0.0,
            "cache_share_of_data": self.cache_bytes / self.data_bytes,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as one JSON object, with what stands above."""
        return {**self.model_dump(), "above": self.above}


class _Pairs(NamedTuple):
    folder: Path
    image_bytes: int


def measure_start(
    model: str,
    pairs: int,
    has_images: bool = False,
    keep: Path | None = None,
    repeats_lengths: bool = False,
    on_part: Progress = lambda part: None,
) -> StartReport:
    """Start training on synthetic pairs, of about 1 kB of text, with an image of some 30 kB each if wanted.

    Args:
        model: the folder of a backbone; a tiny one, because its first step is part of a start.
        repeats_lengths: take the lengths of the few texts, which come again and again, for all; to measure a million
            pairs takes an hour of one core.
        keep: where the pairs are kept for another call; without it they are deleted.
        on_part: called with the name of each part when it begins.

    Raises:
        TrainingError: a start ended before its first step.
    """
    with TemporaryDirectory(prefix="basereward-speed-") as name:
        own = Path(name)
        kind = "images" if has_images else "texts"
        on_part(f"{pairs:,} pairs are written")
        few, many = (_made((keep or own) / f"{kind}-{count}", count, has_images) for count in (FEW, pairs))
        timings: dict[tuple[str, str], StartTiming] = {}
        for which, data in {"few": few, "many": many}.items():
            is_repeated = repeats_lengths and which == "many"
            if is_repeated:
                on_part("rows are looked at, lengths repeated")
                _in_process(_repeat_lengths, own / which, model, str(few.folder), str(data.folder))
            for turn in ("second",) if is_repeated else ("first", "second"):
                on_part(f"{turn} start on {FEW if which == 'few' else pairs:,} pairs")
                run = own / f"run-{turn}-{which}"
                timings[turn, which] = _in_process(_run, own / which, model, str(data.folder), str(run))
        return StartReport(
            pairs=pairs,
            has_images=has_images,
            data_bytes=_size(many.folder),
            image_bytes=many.image_bytes,
            cache_bytes=_size(own / "many"),
            first=timings.get(("first", "many")),
            second=timings["second", "many"],
            first_of_few=timings["first", "few"],
            second_of_few=timings["second", "few"],
        )


def _made(folder: Path, count: int, has_images: bool) -> _Pairs:
    """Write the pairs unless they are there."""
    done = folder / "images.bytes"
    if not done.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        size = _write_photos(folder, count) if has_images else _write_texts(folder, count)
        done.write_text(str(size), encoding="utf-8")
    return _Pairs(folder, int(done.read_text(encoding="utf-8")))


def _write_photos(folder: Path, count: int) -> int:
    """Write pairs with images, and return the bytes of these."""
    total = 0

    def records() -> Iterator[list[dict[str, Any]]]:
        nonlocal total
        for row in map(photo_row, range(count)):
            total += len(row["images"][0]["bytes"])
            yield [{name: value for name, value in pack_row(row, folder).items() if name != "read_error"}]

    for _ in write_shards(records(), folder, pair_features(decode=True)):
        pass
    return total


def _write_texts(folder: Path, count: int) -> int:
    """Write pairs of text: the first ones again and again, each time with another number behind their prompts."""
    schema = pair_features(decode=True).arrow_schema
    rows = [pack_row(synthetic_row(number), folder) for number in range(FEW)]
    prompts = [row["prompt"][0]["content"][0]["text"] for row in rows]
    table = pa.Table.from_pylist(rows, schema)
    for shard in range(0, count, _SHARD_PAIRS):
        with write_parquet(folder / f"shard-{shard // _SHARD_PAIRS:05d}.parquet", schema) as writer:
            for block in range(shard, min(count, shard + _SHARD_PAIRS), FEW):
                texts = [[{"role": "user", "content": [{"type": "text", "text": f"{p} {block}"}]}] for p in prompts]
                own = pa.array(texts, schema.field("prompt").type)
                ids = pa.array([str(block + number) for number in range(FEW)])
                block_table = table.set_column(schema.get_field_index("prompt"), schema.field("prompt"), own)
                writer.write_table(block_table.set_column(0, schema.field("id"), ids), row_group_size=GROUP_ROWS)
    return 0


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _in_process(function: Callable[..., None], cache: Path, *arguments: str) -> Any:
    """Return what a function sends from a process of its own, in a cache of its own."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with _cache_at(cache):
        process = context.Process(target=function, args=(*arguments, sender))
        process.start()
        sender.close()
        try:
            found = receiver.recv()
        except EOFError:
            found = None
        process.join()
    if found is None or isinstance(found, str):
        raise TrainingError(f"A start ended before its first step: {found or process.exitcode}.")
    return found


@contextmanager
def _cache_at(folder: Path) -> Iterator[None]:
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(CACHE_VARIABLE)
        if before is not None:
            os.environ[CACHE_VARIABLE] = before


class _ReachedError(BaseRewardError):
    """The first step is done."""


class _FirstStep(TrainerCallback):
    def on_substep_end(self, *args: Any, **options: Any) -> None:
        raise _ReachedError("The first step is done.")

    def on_optimizer_step(self, *args: Any, **options: Any) -> None:
        raise _ReachedError("The first step is done.")


def _recipe(model: str, data: str) -> Recipe:
    optimizer = {"pairs_per_step": _PAIRS_PER_STEP, "tokens_per_microbatch": _TOKENS, "learning_rate": 1e-5}
    return parse_recipe(
        {
            "name": "start",
            "model": {"backbone": model},
            "data": {"train": [data]},
            "optimizer": {**optimizer, "epochs": 1},
            "hardware": {"precision": "fp32", "workers": 0, "use_cpu": True},
        }
    )


def _repeat_lengths(model: str, few: str, many: str, sender: Any) -> None:
    """Keep all that a first start on the many pairs would, with the lengths of the few for each of them."""
    recipe = _recipe(model, many)
    template = prepare_template(recipe)
    measured = measure_lengths(load_pairs([few]), template, trees=pair_trees(recipe.objective, True))
    loaded = load_pairs([many])
    keep_lengths(
        measured.select(np.array(loaded.pairs.rows) % FEW),
        lengths_path(loaded, template, pair_trees(recipe.objective, True)),
    )
    pair_fingerprints(loaded.pairs)
    sender.send(True)


def _run(model: str, data: str, run: str, sender: Any) -> None:
    begun = time.perf_counter()
    recipe = _recipe(model, data)
    try:
        train(recipe, Path(run), callbacks=[_FirstStep()])
    except _ReachedError:
        timing = StartTiming(
            cpu_seconds=time.process_time(),
            seconds=time.perf_counter() - begun,
            peak_bytes=peak_resident_bytes(),
            read_bytes=_read_bytes(),
        )
        sender.send(timing)
    except BaseRewardError as error:
        sender.send(str(error))


def _read_bytes() -> int:
    # Of read and pread alone: what a process maps is not among them, and nothing of the data is mapped.
    lines = Path("/proc/self/io").read_text(encoding="utf-8").splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])
