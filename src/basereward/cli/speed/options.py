"""Options that several timings share."""

import typer

speed = typer.Typer(help="Time the backends side by side on this machine.", no_args_is_help=True)
PRESET = typer.Option("tiny", help="Shape of the backbone, with random weights: tiny, 3b or 7b.")
PROMPT = typer.Option(1200, min=1, help="Tokens of a prompt, its image included.")
RESPONSE = typer.Option(200, min=1, help="Mean tokens of a response.")
JITTER = typer.Option(0.3, min=0.0, max=1.0, help="Responses vary by this share around the mean.")
GROUPS = typer.Option(2, min=1, help="Images in a batch, or without images prompts.")
BACKENDS = typer.Option("plain,plain_unpadded,split", help="Backends to compare, by comma.")
REPEATS = typer.Option(5, min=1, help="Interleaved rounds.")
THREADS = typer.Option(1, min=1, help="CPU threads.")
DEVICE = typer.Option("cpu", help="cpu or cuda.")
DTYPE = typer.Option("float32", help="float32 or bfloat16.")
NO_IMAGE = typer.Option(False, "--text-only", help="Prompts without an image.")
