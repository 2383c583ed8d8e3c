"""vLLM's side of the comparison: the rewards of models, offline or through ``vllm serve``.

    python vllm_side.py offline|server FAMILY/HEAD...

Beside each model it writes ``HEAD-offline.json`` or ``HEAD-server.json``: rewards in the order of ``cases.json``, and
the seconds of the start.
"""

import base64
import gc
import json
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 1800


def offline(model: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Score rendered conversations with images in this process."""
    from PIL import Image
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    began = time.monotonic()
    limits = {"image": max(len(case["images"]) for case in cases)}
    engine = LLM(
        str(model),
        runner="pooling",
        dtype="float32",
        enforce_eager=True,
        max_model_len=2048,
        limit_mm_per_prompt=limits if limits["image"] else None,
    )
    seconds = time.monotonic() - began
    prompts: list[dict[str, Any]] = []
    for case in cases:
        images = [Image.open(path).convert("RGB") for path in case["images"]]
        data = {"multi_modal_data": {"image": images}} if images else {}
        prompts += [{"prompt": text, **data} for text in case["rendered"]]
    rewards = [output.outputs.probs[0] for output in engine.classify(prompts, use_tqdm=False)]
    # The next model starts in the same process, so that vLLM is imported once.
    del engine
    gc.collect()
    cleanup_dist_env_and_memory()
    return {"rewards": rewards, "start_seconds": seconds}


def server(model: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Score messages with images as data URIs through ``vllm serve``, as its users send them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "vllm"), "serve", str(model), "--runner", "pooling"]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048", "--host", "127.0.0.1"]
    began = time.monotonic()
    with subprocess.Popen([*command, "--port", str(port)]) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(process, f"{address}/health", began)
            seconds = time.monotonic() - began
            asked = [(case, talk) for case in cases for talk in case["conversations"]]
            rewards = [_classify(address, _openai(talk, case["images"])) for case, talk in asked]
        finally:
            process.terminate()
    return {"rewards": rewards, "start_seconds": seconds}


def _wait(process: "subprocess.Popen[bytes]", address: str, began: float) -> None:
    while time.monotonic() - began < PATIENCE_SECONDS:
        if process.poll() is not None:
            raise SystemExit(f"vllm serve ended with status {process.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(1)
    raise SystemExit("vllm serve was not ready in time")


def _openai(conversation: list[dict[str, Any]], images: list[str]) -> list[dict[str, Any]]:
    left = iter(images)
    messages = []
    for message in conversation:
        parts = [_part(part, left) for part in message["content"]]
        messages.append({"role": message["role"], "content": parts})
    return messages


def _part(part: dict[str, Any], images: Any) -> dict[str, Any]:
    if part["type"] == "text":
        return part
    data = base64.b64encode(Path(next(images)).read_bytes()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def _classify(address: str, messages: list[dict[str, Any]]) -> float:
    body = json.dumps({"messages": messages, "add_generation_prompt": False}).encode()
    request = urllib.request.Request(f"{address}/classify", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as answer:
        [item] = json.loads(answer.read())["data"]
    [reward] = item["probs"]
    return reward


def main(way: str, models: list[str]) -> int:
    """Ask vLLM and write what it says; return 1 if a model failed, which is printed, and the others are asked."""
    status = 0
    for model in map(Path, models):
        cases = json.loads((model.parent / "cases.json").read_text())
        try:
            found = {"offline": offline, "server": server}[way](model, cases)
        except Exception:
            traceback.print_exc()
            status = 1
            continue
        (model.parent / f"{model.name}-{way}.json").write_text(json.dumps(found))
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2:]))
