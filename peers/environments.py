"""One virtual environment for each peer, made once from its pinned requirements."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


class PeerError(RuntimeError):
    """A peer that cannot be installed or run; the message says why, on one line, and where to read more."""


def interpreter(name: str | None, *options: str) -> Path:
    """Return the Python of a peer, installing it on first use; ``None`` is the project's own.

    Args:
        options: of the installer, such as ``--no-deps`` where the pinned packages contradict what they say they need.

    Raises:
        PeerError: the packages cannot be installed here.
    """
    if name is None:
        return Path(sys.executable)
    requirements = HERE / f"requirements-{name}.txt"
    folder = HERE / ".envs" / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not (stamp.exists() and stamp.read_text() == wanted):
        print(f"installing {requirements.name} into {folder}", file=sys.stderr)
        uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        make = [uv, "venv", "--clear", "--python", version] if uv else [sys.executable, "-m", "venv", "--clear"]
        install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        run([*make, str(folder)], folder.with_suffix(".log"))
        run([*install, *options, "-r", str(requirements)], folder.with_suffix(".log"))
        stamp.write_text(wanted)
    return python


def run(command: list[str], log: Path, extra: dict[str, str] | None = None) -> None:
    """Run a command with one quiet thread and no access to model hubs; its output goes to a file.

    Args:
        extra: more environment variables.

    Raises:
        PeerError: it failed; the message holds the last line of its output.
    """
    caches = HERE / "work" / "cache"
    settings = {
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(caches),
        "MODELSCOPE_CACHE": str(caches),
    }
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **settings, **(extra or {})}
        )
    if done.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise PeerError(f"exit status {done.returncode}: {lines[-1] if lines else 'no output'} (see {log})")
