"""``basereward merge``."""

from pathlib import Path

import typer

from basereward.cli.following import print_use
from basereward.cli.output import DTYPE_HELP, JSON_OPTION, default_out, print_json


def merge(
    checkpoint: Path = typer.Argument(metavar="CHECKPOINT", help="With a LoRA adapter, or of a sharded run."),
    out: Path | None = typer.Option(None, help="Folder for the whole model; runs/merge-CHECKPOINT by default."),
    dtype: str | None = typer.Option(None, help=DTYPE_HELP),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a whole model of a checkpoint: merge its LoRA adapter, or join the parts that the ranks of a run wrote.

    Example: `basereward merge runs/lora/model --out runs/lora/merged`

    Example: `basereward merge runs/large/checkpoints/checkpoint-500 --out runs/large/at-500 --dtype bfloat16`
    """
    import torch

    from basereward.data.shards import appearing, check_free
    from basereward.errors import CheckpointError
    from basereward.models.adapters import merge_adapters
    from basereward.models.card.file import carry_card
    from basereward.models.checkpoint import load_reward_model, save_reward_model
    from basereward.models.merging.sharded import is_sharded, join_shards
    from basereward.scoring.devices import parse_dtype
    from basereward.training.resume import missing_part

    precision = parse_dtype(dtype)
    target = out or default_out("merge", checkpoint)
    check_free(target)
    with appearing(target) as folder:
        if not is_sharded(checkpoint):
            # A sum that is to be stored in fp32 is not rounded to the dtype of the base before.
            whole = merge_adapters(load_reward_model(checkpoint, torch.float32 if dtype == "float32" else None))
            save_reward_model(whole, folder, dtype=precision)
        elif problem := missing_part(checkpoint):
            raise CheckpointError(f"{checkpoint} is incomplete: {problem}. Merge another checkpoint of the run.")
        else:
            join_shards(checkpoint, folder, precision)
        carry_card(checkpoint, folder)
    if as_json:
        print_json({"model": str(target)})
        return
    print(f"model    {target}")
    print_use(target, checkpoint)
