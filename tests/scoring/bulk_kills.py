"""Kills bulk jobs at chosen and at random points and goes on with them; a script, so that forks lose no threads.

    python bulk_kills.py KILLS SEED MODEL SOURCE FOLDER SETTINGS [LAST]

SETTINGS are those of the jobs that are killed, LAST of those that end them, and of the job ``whole`` that nothing
disturbs. Prints one JSON object: shards that were complete at each random kill, and the names of all other jobs.
"""

import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from basereward.scoring import bulk, shards
from basereward.scoring.model_spec import ModelSpec
from basereward.scoring.spec import open_spec

MODEL, SOURCE, FOLDER = sys.argv[3], sys.argv[4], Path(sys.argv[5])
SETTINGS = json.loads(sys.argv[6])
LAST = json.loads(sys.argv[7]) if len(sys.argv) > 7 else SETTINGS


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def die_after(module, name):
    function = getattr(module, name)
    setattr(module, name, lambda *given: (function(*given), die()))


# The steps between two states of the folders.
POINTS = {
    "before a shard has its name": lambda: setattr(shards, "_link", die),
    "after a shard has its name": lambda: die_after(shards, "_link"),
    "before the manifest": lambda: setattr(bulk, "write_scores_manifest", die),
    "after the manifest": lambda: die_after(bulk, "write_scores_manifest"),
    "after the last name": lambda: setattr(bulk.Work, "discard", die),
}


def score(name, settings, on_progress=lambda done, total: None):
    member = ModelSpec(model=MODEL, device="cpu")
    chosen = bulk.BulkSettings(**settings)
    bulk.score_bulk(member, SOURCE, FOLDER / name, open_spec, chosen, on_progress=on_progress)


class Job:
    """A job in a process of its own group, which says through a pipe when its model is loaded."""

    def __init__(self, name, settings, patch=lambda: None):
        heard, told = os.pipe()
        self.process = os.fork()
        if self.process == 0:
            os.setsid()
            status = 1
            try:
                patch()
                score(name, settings, lambda done, total: os.write(told, b"."))
                status = 0
            finally:
                os._exit(status)
        os.close(told)
        self._heard, self._watched = heard, os.pidfd_open(self.process)

    def begins(self, seconds=None):
        """Wait until the model is loaded or the job has ended."""
        return bool(select.select([self._heard, self._watched], [], [], seconds)[0])

    def reaches(self, shards):
        """Wait until so many shards are done or the job has ended."""
        for _ in range(shards):
            if not self.begins() or not os.read(self._heard, 1):
                return

    def ends(self, seconds=None):
        """Wait until the job has ended, but no longer than that; return whether it has."""
        return bool(select.select([self._watched], [], [], seconds)[0])

    def kill(self):
        os.kill(self.process, signal.SIGKILL)

    def status(self):
        for file in (self._heard, self._watched):
            os.close(file)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])


def undisturbed(name, settings):
    """Run a job to its end; return the seconds until its model was loaded, and from then on."""
    job, times = Job(name, settings), [time.monotonic()]
    for wait in (job.begins, job.ends):
        wait()
        times.append(time.monotonic())
    assert job.status() == 0, name
    return times[1] - times[0], times[2] - times[1]


def main():
    if ":" not in MODEL:
        # Once, not in each fork.
        import basereward.models.reward_model  # noqa: F401
    kills, draw = int(sys.argv[1]), random.Random(int(sys.argv[2]))
    undisturbed("whole", LAST)
    loading, scoring = undisturbed("alone", SETTINGS)
    jobs, done = ["alone"], []
    shards_of_all = len(list((FOLDER / "alone").glob("shard-*.parquet")))
    for name, patch in POINTS.items():
        # Ray's workers know nothing of a patch.
        if SETTINGS.get("engine") != "ray":
            job = Job(name, SETTINGS, patch)
            job.ends()
            assert job.status() == -signal.SIGKILL, name
            undisturbed(name, LAST)
            jobs.append(name)
    target = FOLDER / "out-0"
    while len(done) < kills:
        job = Job(target.name, SETTINGS)
        # One of five while it loads, the others some time behind a shard.
        early = draw.random() < 0.2
        if not early:
            job.begins()
            job.reaches(draw.randrange(shards_of_all))
        if job.ends(draw.uniform(0, loading if early else scoring / shards_of_all)):
            assert job.status() == 0
            jobs.append(target.name)
            target = FOLDER / f"out-{len(jobs)}"
            continue
        job.kill()
        job.status()
        assert not target.exists() or (target / "manifest.json").exists()
        done.append(len(list(FOLDER.glob(f"{target.name}.partial/*/shard-*.parquet"))))
    undisturbed(target.name, LAST)
    print(json.dumps({"done": done, "jobs": [*jobs, target.name]}))


if __name__ == "__main__":
    main()
