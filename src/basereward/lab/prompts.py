"""Prompts of the lab's world as files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from basereward.data.io import replacing
from basereward.data.rows import batch_rows
from basereward.sources.prompts import pack_prompt, prompt_features


def write_prompts(prompts: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Write prompts with right answers to a Parquet file, whole or not at all; return how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    schema, count = prompt_features(decode=True).arrow_schema, 0
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for batch in batch_rows(pack_prompt(prompt, path.parent) for prompt in prompts):
            count += len(batch)
            writer.write_table(pa.Table.from_pylist(batch, schema))
    return count
