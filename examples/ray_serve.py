"""Serves a reward model by several replicas on Ray Serve: the application of ``basereward serve``, behind one address.

pip install 'basereward[serve]' 'ray[serve]'
BASEREWARD_API_KEY=... python examples/ray_serve.py runs/demo/model 2 8000
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Ray starts its workers at nice 15, where any other work on the machine starves them.
os.environ.setdefault("RAY_worker_niceness", "0")
if "RAY_ADDRESS" not in os.environ:
    # A Ray of its own keeps to loopback: its ports run whatever is sent to them.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import serve


def application(model: str, key: str | None) -> Callable[[], Any]:
    """Return what builds the application in a replica, where the model is loaded and has scored once."""

    def build() -> Any:
        from basereward.scoring.spec import open_scorer
        from basereward.serving.app import build_app
        from basereward.serving.service import Service
        from basereward.serving.settings import ServeSettings

        service = Service(open_scorer(model), "reward", ServeSettings())
        service.warm_up()
        return build_app(service, key)

    return build


def main(model: str, replicas: int = 2, port: int = 8000) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    address = os.environ.get("RAY_ADDRESS")
    own = {} if address else {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    ray.init(address=address, log_to_driver=False, **own)
    # Loopback unless there is a key, as for ``basereward serve``.
    key = os.environ.get("BASEREWARD_API_KEY")
    serve.start(http_options={"host": "0.0.0.0" if key else "127.0.0.1", "port": port})
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    deployment = serve.deployment(
        serve.ingress(application(str(Path(model).resolve()), key))(),
        name="reward",
        num_replicas=replicas,
        # The application has its own queue and refuses what is beyond it.
        max_ongoing_requests=512,
        ray_actor_options={"num_cpus": threads, "num_gpus": gpus},
    )
    serve.run(deployment.bind(), name="reward", route_prefix="/")
    print(f"{replicas} replicas on http://127.0.0.1:{port}", flush=True)
    try:
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
