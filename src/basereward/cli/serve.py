"""``basereward serve``."""

import typer

from basereward.cli.following import print_served
from basereward.cli.output import BACKEND_HELP, DEVICE_HELP, DTYPE_HELP, MODEL_HELP, say

SERVE_MODEL_HELP = f"{MODEL_HELP} A judge is judge:http://HOST:PORT/v1#MODEL or judge:FOLDER."
KEY_HELP = "Key that clients send as a bearer token or password; needed on every address but loopback."


def serve(
    model: str = typer.Argument(metavar="MODEL", help=SERVE_MODEL_HELP),
    overrides: list[str] = typer.Argument(None, metavar="[KEY=VALUE]...", help="Settings, such as deadline=30."),
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port to listen on; 0 takes a free one."),
    api_key: str | None = typer.Option(None, envvar="BASEREWARD_API_KEY", show_envvar=True, help=KEY_HELP),
    name: str | None = typer.Option(None, help="What the model is called in requests and answers."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    device: str | None = typer.Option(None, help=DEVICE_HELP),
    backend: str = typer.Option("auto", help=BACKEND_HELP),
    judge_prompt: str | None = typer.Option(None, help="How a judge ends, as for eval."),
    judge_tokens: int | None = typer.Option(None, min=1, help="Longest answer of a judge, thoughts included; 2048."),
    judge_option: str | None = typer.Option(None, help="NAME=VALUE,... of a judge, as for eval."),
) -> None:
    """Serve a model over HTTP: its own API, those of vLLM and OpenRLHF, and a page to try it on.

    SIGTERM and Ctrl-C finish what is in flight.

    Example: `basereward serve runs/demo/model`

    Example: `BASEREWARD_API_KEY=... basereward serve runs/demo/model --host 0.0.0.0 limits.max_pixels=4000000`
    """
    from basereward.configuration import parse_overrides
    from basereward.errors import MissingExtraError
    from basereward.scoring.judges.options import parse_options
    from basereward.scoring.spec import is_judge, open_judge, open_scorer
    from basereward.serving.settings import ServeSettings

    try:
        from basereward.serving.server import bind
        from basereward.serving.server import serve as run
        from basereward.serving.service import Service
    except ImportError as error:
        raise MissingExtraError(f"Serving needs the extra: pip install 'basereward[serve]' ({error}).") from error
    settings = parse_overrides(ServeSettings, overrides or [])
    taken = bind(host, port, api_key)
    found = (
        open_judge(model, judge_prompt, judge_tokens, parse_options(judge_option), dtype, device)
        if is_judge(model)
        else open_scorer(model, dtype, device, backend)
    )
    service = Service(found, name or _short_name(model), settings)
    run(service, taken, api_key, lambda url: _tell(service.served.card.id, url, model))


def _tell(name: str, url: str, model: str) -> None:
    """Say where the model is, and how it is asked there: about the pairs of its run if they are known."""
    say(f"{name} is served on {url}")
    print_served(url, model)


def _short_name(model: str) -> str:
    """Return what a spec is called on the network, where nobody needs to know the folders of this machine."""
    from pathlib import Path

    if "://" in model:
        return model
    path = Path(model)
    named = path.parent if path.name == "model" and path.parent.name else path
    return named.stem if path.suffix in (".yaml", ".yml") else named.name if path.exists() else model
