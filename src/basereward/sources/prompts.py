"""Prompts for reinforcement learning: a conversation with its images and the answer that is right, no responses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from basereward.data.images import pack_images
from basereward.data.messages import parse_messages
from basereward.data.rows import pack_extra, pair_features
from basereward.data.schema import count_parts
from basereward.errors import RowError

PROMPT_KEYS = ("id", "source", "images", "prompt", "answer")


def prompt_features(decode: bool = False) -> datasets.Features:
    """Return the Arrow types of a prompt; ``decode`` says whether ``datasets`` opens the images."""
    pair = pair_features(decode)
    own = {"answer": datasets.Value("string")}
    return datasets.Features({key: own.get(key, pair.get(key)) for key in (*PROMPT_KEYS, "extra_json")})


def pack_prompt(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a prompt record in its stored layout, image paths resolved against ``folder``.

    Raises:
        RowError: ``malformed``, ``empty_response`` for no answer, ``placeholder_count``, or as ``pack_images``.
    """
    messages = parse_messages(row.get("prompt"), "user")
    images = pack_images(row.get("images"), folder)
    answer = row.get("answer")
    if not isinstance(answer, str):
        raise RowError("malformed", f"Expected a text under 'answer', found {str(answer)[:100]!r}.")
    if not answer.strip():
        raise RowError("empty_response", "The answer is empty.")
    if (places := count_parts(messages, "image")) != len(images):
        raise RowError("placeholder_count", f"The prompt has {places} image parts and {len(images)} images.")
    return {
        "id": None if row.get("id") is None else str(row["id"]),
        "source": None if row.get("source") is None else str(row["source"]),
        "images": images,
        "videos": [],
        "prompt": [message.to_dict() for message in messages],
        "answer": answer,
        "extra_json": pack_extra(row, (*PROMPT_KEYS, "extra_json")),
    }
