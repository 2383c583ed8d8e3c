"""Programs that stand in for a cluster: ``sbatch``, ``srun``, ``scontrol`` and ``ray``, which run everything here."""

import os
import sys
from pathlib import Path

SBATCH = """
import os, pathlib, re, subprocess, sys
log = pathlib.Path(os.environ["FAKE_LOG"])
with log.open("a") as file:
    print("sbatch", *sys.argv[1:], file=file)
if "--wrap" in sys.argv:
    # It begins when the array has ended, whatever became of its tasks.
    done = subprocess.run(["bash", "-c", sys.argv[sys.argv.index("--wrap") + 1]], capture_output=True, text=True)
    log.with_name("collected.txt").write_text(done.stdout + done.stderr)
    print("43")
    sys.exit()
text = pathlib.Path(sys.argv[-1]).read_text()
last = int(re.search(r"#SBATCH --array=0-(\\d+)", text)[1])
for task in range(last + 1):
    job = str(1000 + task)
    for attempt in range(3):
        own = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_JOB_ID": job, "SLURM_JOB_NODELIST": "here"}
        with log.with_name(f"task-{task}.log").open("a") as out:
            subprocess.run(["bash", sys.argv[-1]], env={**os.environ, **own}, stdout=out, stderr=out)
        if f"scontrol requeue {job}" not in log.read_text().splitlines()[-1]:
            break
print("42")
"""
SCONTROL = """
import os, pathlib, sys
if sys.argv[1] == "show":
    print("localhost")
else:
    with pathlib.Path(os.environ["FAKE_LOG"]).open("a") as file:
        print("scontrol", *sys.argv[1:], file=file)
"""
SRUN = """
import os, signal, subprocess, sys
start = next(place for place, word in enumerate(sys.argv) if word.endswith("python") or "/python" in word)
nodes = int(sys.argv[sys.argv.index("--nodes") + 1])
running = [subprocess.Popen(sys.argv[start:]) for _ in range(nodes)]
signal.signal(signal.SIGTERM, lambda *_: [one.terminate() for one in running])
codes = [one.wait() for one in running]
sys.exit(max(abs(code) for code in codes))
"""
RAY = """
import os, pathlib, subprocess, sys
with pathlib.Path(os.environ["FAKE_LOG"]).open("a") as file:
    print("ray", *sys.argv[1 : sys.argv.index("--")], file=file)
sys.exit(subprocess.run(sys.argv[sys.argv.index("--") + 1 :]).returncode)
"""
PROGRAMS = {"sbatch": SBATCH, "scontrol": SCONTROL, "srun": SRUN, "ray": RAY}


def write_cluster(folder: Path) -> str:
    """Write the programs into a folder and return a PATH that begins with it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!{sys.executable}\n{text}")
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"
