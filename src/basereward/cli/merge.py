"""``basereward merge``."""

from pathlib import Path

import typer


def merge(
    adapter: Path = typer.Argument(metavar="ADAPTER", help="Checkpoint folder with a LoRA adapter and a head."),
    out: Path = typer.Argument(metavar="OUT", help="Folder for the whole model."),
) -> None:
    """Merge a LoRA checkpoint into a whole one that needs no PEFT.

    Example: `basereward merge runs/lora/model runs/lora/merged`
    """
    from basereward.errors import CheckpointError
    from basereward.models.adapters import merge_adapters
    from basereward.models.card.file import carry_card
    from basereward.models.checkpoint import load_reward_model, save_reward_model

    if out.exists() and any(out.iterdir()):
        raise CheckpointError(f"{out} is not empty; choose another folder.")
    save_reward_model(merge_adapters(load_reward_model(adapter)), out)
    carry_card(adapter, out)
    print(out)
