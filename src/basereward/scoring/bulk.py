"""Scores any number of records, shard by shard: in this process or by workers of Ray, with the same bits.

A shard is the unit of work, and its file, which appears complete, the only mark that it is done::

    OUT.partial/identity.json            whose work this is; a second writer is refused
    OUT.partial/<identity>.partial/      shard-00000.parquet and so on, each when it is done
    OUT/                                 the same folder with manifest.json, once all are there
"""

import hashlib
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from basereward.configuration import Section
from basereward.data.arrangement import ReadOptions
from basereward.data.digests import file_digest
from basereward.data.identity import Identity, WorkInput, differences
from basereward.data.manifest import FILE_NAME as MANIFEST
from basereward.data.places import Place, open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.reader import Recognised
from basereward.data.shards import check_free
from basereward.data.slices import cut_file
from basereward.data.work import PARTIAL, Work, open_work
from basereward.errors import BaseRewardError, DataError, MissingExtraError, ScoringError, WorkError
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.scores_manifest import (
    ScoresManifest,
    describe_scores,
    read_scores_manifest,
    write_scores_manifest,
)
from basereward.scoring.shards import OpenScorer, ScoringJob, ShardScorer, ShardTask, check_first_records

EngineName = Literal["local", "ray"]
SHARD_ROWS = 10_000
# Ray keeps what goes between its processes in memory; here only numbers of shards do.
_STORE_BYTES = 300 * 2**20


class BulkSettings(Section):
    """How a job is cut and where it runs; only ``shard_rows`` and, on a CPU, ``threads`` decide the bits of scores."""

    engine: EngineName = "local"
    """``local`` scores in this process, ``ray`` with workers of Ray Data."""
    shard_rows: int = Field(default=SHARD_ROWS, ge=1)
    """Most rows of a shard: a file of no more has one shard, a larger one several."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of one process; as many as torch takes here by default."""
    workers: int | None = Field(default=None, ge=1)
    """Processes of Ray; by default one for each GPU, one without any."""
    gpus: float | None = Field(default=None, ge=0)
    """GPUs of one worker; by default one where there are any."""
    ray_address: str | None = None
    """A Ray cluster that runs already, such as ``auto``; by default one is started on this machine and ended."""


class ShardEngine(Protocol):
    """Computes shards somewhere."""

    @property
    def weights(self) -> Mapping[str, Any]:
        """What of the model decides its scores, there."""
        ...

    def run(self, plan: Sequence[ShardTask]) -> Iterator[ShardTask]:
        """Yield each shard when its file is complete, in any order."""
        ...


def score_bulk(
    member: ModelSpec,
    source: str,
    target: Path,
    open_spec: OpenScorer,
    settings: BulkSettings | None = None,
    options: ReadOptions | None = None,
    on_progress: Progress = no_progress,
    on_recognised: Callable[[Recognised], None] = Recognised.say,
) -> ScoresManifest:
    """Score every record of files into a folder of Parquet shards; a killed job goes on with the shards that it lacks.

    A shard has one row for each record, in order: ``record_id`` (``FILE:ROW``, ROW counted from 0), the record's own
    ``id``, ``chosen_score`` and ``rejected_score`` of pairs, ``scores`` of prompts with responses, and ``error``
    (``reason``, ``message``) where a score is missing.

    Args:
        member: the model.
        source: a file or a folder of shards, as ``open_place`` takes it.
        target: the folder, which appears when every record is in it.
        open_spec: opens the model, here or in a worker.
        settings: how the job is cut and where it runs.
        options: how records are read that do not say it by themselves.
        on_progress: called with rows done and all rows.
        on_recognised: called with what the files were recognised as.

    Raises:
        MissingFileError: there is nothing at ``source``.
        DataError: nothing that can be read, or files that changed meanwhile.
        WorkError: another process writes the target, or it holds scores of something else.
        MissingExtraError: the engine is Ray, which is not installed.
    """
    settings = settings or BulkSettings()
    place = _open_files(source, target)
    with open_work(target) as work:
        names = {path: path.relative_to(place.folder).as_posix() for path in place.files}
        digests = {names[path]: _digest(path, place) for path in place.files}
        job = ScoringJob(member, str(source), options or ReadOptions(), Path.cwd(), _threads(member, settings))
        cuts = [(names[path], piece) for path in place.files for piece in cut_file(path, settings.shard_rows)]
        tasks = job.tasks(place, on_recognised) if cuts else None
        with _open_engine(settings, job, open_spec) as engine:
            identity = _identity(job, place, digests, settings.shard_rows, engine.weights)
            folder = work.folder / (_key(identity) + PARTIAL)
            plan = [
                ShardTask(number, piece, name, folder / f"shard-{number:05d}.parquet")
                for number, (name, piece) in enumerate(cuts)
            ]
            if finished := _finished(work, identity):
                return finished
            work.claim(identity)
            _prepare(folder)
            if tasks:
                check_first_records(plan, tasks)
            _run(engine, plan, on_progress)
        if open_place(source).key != place.key:
            raise DataError(f"{source} changed while it was scored; delete {work.folder} and start anew.")
        return _publish(work, describe_scores(identity, plan, digests, folder), folder)


def _open_files(source: str, target: Path) -> Place:
    place = open_place(source)
    if place.dataset is not None:
        raise DataError(f"{source} is a data set of datasets; write it as files first: dataset.to_parquet(...).")
    if target.resolve() in {place.folder, *place.folder.parents}:
        raise DataError(f"{target} holds the records that are to be scored; choose another folder.")
    if not Path(source).expanduser().is_file() and place.folder.resolve() in target.resolve().parents:
        raise DataError(f"{target} lies inside {source}, where it would be read as records; choose another folder.")
    return place


def _digest(path: Path, place: Place) -> str:
    stated = {place.folder / shard.file: shard.sha256 for shard in place.manifest.shards} if place.manifest else {}
    return stated.get(path) or file_digest(path)


def _threads(member: ModelSpec, settings: BulkSettings) -> int:
    if settings.threads:
        return settings.threads
    if member.model.startswith(("baseline:", "http://", "https://")):
        return 1
    import torch

    return max(1, torch.get_num_threads() // (settings.workers or 1))


def _identity(
    job: ScoringJob, place: Place, digests: Mapping[str, str], shard_rows: int, weights: Mapping[str, Any]
) -> Identity:
    settings = {
        "dtype": job.member.dtype,
        "backend": job.member.backend,
        "read": job.options.model_dump(mode="json"),
        "shard_rows": shard_rows,
        # Paths of images are relative to it, and rows are named after their files.
        "folder": str(place.folder),
        "files": list(digests),
    }
    inputs = tuple(WorkInput(name=name, sha256=digest) for name, digest in digests.items())
    return Identity(task="bulk score", inputs=inputs, weights=dict(weights), settings=settings)


def _key(identity: Identity) -> str:
    return hashlib.sha256(json.dumps(identity.facts(), sort_keys=True).encode()).hexdigest()[:16]


def _finished(work: Work, identity: Identity) -> ScoresManifest | None:
    """Return the manifest of a target that is complete with the same identity.

    Raises:
        WorkError: it is complete with another one.
        DataError: it holds something else.
    """
    manifest = read_scores_manifest(work.target) if work.target.is_dir() else None
    if manifest is None:
        check_free(work.target)
        return None
    if unlike := differences(manifest.identity.facts(), identity.facts()):
        raise WorkError(f"{work.target} holds scores with {'; '.join(unlike)}. Choose another folder, or delete it.")
    # A kill may have come between the two names of the folder and the end of its work.
    work.discard()
    return manifest


def _prepare(folder: Path) -> None:
    """Make the folder of the shards; what a kill between the last shard and the last name left is written anew."""
    folder.mkdir(exist_ok=True)
    for stray in (folder / MANIFEST, *folder.glob(".*.tmp")):
        stray.unlink(missing_ok=True)


def _run(engine: ShardEngine, plan: Sequence[ShardTask], on_progress: Progress) -> None:
    total = sum(task.piece.rows for task in plan)
    missing = [task for task in plan if not task.path.is_file()]
    done = total - sum(task.piece.rows for task in missing)
    on_progress(done, total)
    for task in engine.run(missing):
        done += task.piece.rows
        on_progress(done, total)


def _publish(work: Work, manifest: ScoresManifest, folder: Path) -> ScoresManifest:
    write_scores_manifest(manifest, folder)
    if work.target.is_dir():
        work.target.rmdir()  # empty, or it would have been refused
    folder.rename(work.target)
    work.discard()
    return manifest


@contextmanager
def _open_engine(settings: BulkSettings, job: ScoringJob, open_spec: OpenScorer) -> Iterator[ShardEngine]:
    if settings.engine == "local":
        yield LocalEngine(job, open_spec)
        return
    with _ray(settings, job) as ray:
        yield RayEngine(ray, settings, job, open_spec)


class LocalEngine:
    """Shard by shard in this process."""

    def __init__(self, job: ScoringJob, open_spec: OpenScorer) -> None:
        self._scorer = ShardScorer(job, open_spec)
        self.weights = self._scorer.weights

    def run(self, plan: Sequence[ShardTask]) -> Iterator[ShardTask]:
        """Yield each shard when its file is complete."""
        for task in plan:
            self._scorer.write(task)
            yield task


class RayEngine:
    """Ray Data maps numbers of shards through actors, each with the model loaded once.

    Args:
        ray: the module, connected to a cluster.
        settings: how many actors, and with what.
        job: the job.
        open_spec: opens its model.
    """

    def __init__(self, ray: Any, settings: BulkSettings, job: ScoringJob, open_spec: OpenScorer) -> None:
        self._ray, self._open_spec = ray, open_spec
        cpus, gpus = (int(ray.cluster_resources().get(name, 0)) for name in ("CPU", "GPU"))
        uses_gpu = gpus > 0 and not (job.member.device or "").startswith("cpu")
        self._gpus = settings.gpus if settings.gpus is not None else float(uses_gpu)
        self._workers = settings.workers or (int(gpus / self._gpus) if self._gpus else 1) or 1
        # Beside a GPU, threads only prepare what it computes.
        self._job = job._replace(threads=min(job.threads, max(1, cpus // self._workers))) if self._gpus else job
        most = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if self._job.threads > most:
            raise ScoringError(
                f"No machine of the Ray cluster has {self._job.threads} CPUs, the largest has {most:g}; give fewer "
                "--threads."
            )
        # What decides the scores is told by a worker: this machine may have no GPU, or no model in its memory.
        asked = ray.remote(num_cpus=self._job.threads, num_gpus=self._gpus)(_facts).remote(self._job, open_spec)
        self.weights: Mapping[str, Any] = _unwrapped(ray.get(asked))

    def run(self, plan: Sequence[ShardTask]) -> Iterator[ShardTask]:
        """Yield each shard when its file is complete, in any order."""
        if not plan:
            return
        by_number = {task.number: task for task in plan}
        rows = self._ray.data.from_items([{"number": number} for number in by_number], override_num_blocks=len(plan))
        mapped = rows.map(
            ShardActor,
            fn_constructor_args=(self._job, self._open_spec, dict(self.weights), by_number),
            compute=self._ray.data.ActorPoolStrategy(size=min(self._workers, len(plan))),
            num_cpus=self._job.threads,
            num_gpus=self._gpus,
        )
        for row in mapped.iter_rows():
            _unwrapped(row)
            yield by_number[int(row["number"])]


class ShardActor:
    """What Ray Data keeps in each worker: the model, opened with the first shard, and the plan."""

    def __init__(
        self, job: ScoringJob, open_spec: OpenScorer, weights: Mapping[str, Any], plan: Mapping[int, ShardTask]
    ) -> None:
        self._opened = (job, open_spec, weights)
        self._plan = plan
        self._scorer: ShardScorer | None = None

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Write the shard of a number; an error travels as text, because Ray wraps exceptions beyond reading."""
        number = int(row["number"])
        try:
            self._scorer = self._scorer or ShardScorer(*self._opened)
            self._scorer.write(self._plan[number])
        except (BaseRewardError, OSError) as error:
            return {"number": number, "error": str(error)}
        return {"number": number, "error": ""}


def _facts(job: ScoringJob, open_spec: OpenScorer) -> dict[str, Any]:
    try:
        return {**ShardScorer(job, open_spec).weights}
    except (BaseRewardError, OSError) as error:
        return {"error": str(error)}


def _unwrapped(answer: dict[str, Any]) -> dict[str, Any]:
    if error := answer.get("error"):
        raise ScoringError(error)
    return answer


@contextmanager
def _ray(settings: BulkSettings, job: ScoringJob) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine and end it."""
    # Ray starts its workers at nice 15, where any other work on the machine starves them.
    os.environ.setdefault("RAY_worker_niceness", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("OMP_NUM_THREADS", str(job.threads))
    if not settings.ray_address:
        # Read when Ray is imported. Otherwise it takes the outward address even where loopback is asked for, and its
        # ports, which run whatever is sent to them, are open to the network.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("The engine ray needs Ray Data: pip install 'basereward[scale]'.") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        _start_ray(ray, settings, job)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _start_ray(ray: Any, settings: BulkSettings, job: ScoringJob) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    handler = signal.getsignal(signal.SIGTERM)
    # These are counts of what may run at once, not cores; one more than the workers need.
    cpus = max(os.cpu_count() or 1, (settings.workers or 1) * job.threads + 1)
    own = {"num_cpus": cpus, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
    where = {"address": settings.ray_address} if settings.ray_address else {**own, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(**where, **quiet)
    except Exception as error:  # Ray raises bare ones
        raise ScoringError(
            f"Ray does not start or answer here ({str(error).splitlines()[0]}); finished shards are kept. On a "
            "machine that is busy with other work it gives up after half a minute: give the command again."
        ) from error
    if threading.current_thread() is threading.main_thread():
        # Ray sets one of its own, which would end a command with another status.
        signal.signal(signal.SIGTERM, handler)
