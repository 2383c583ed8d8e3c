"""The JSON Schemas of the files of evaluations and audits, as docs/schemas publishes them."""

from typing import Any

from pydantic import TypeAdapter

from basereward.benchmarks.records import RowRecord
from basereward.evaluation.audit.result import AuditResult
from basereward.evaluation.result import ItemLine, Result

# Name of a published schema -> what a file, or a line of it, is.
SCHEMAS: dict[str, Any] = {"result": Result, "record": RowRecord, "item": ItemLine, "audit": AuditResult}


def json_schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the ``result.json`` of an evaluation or an audit, or of a line.

    Args:
        name: a key of ``SCHEMAS``.
    """
    schema = TypeAdapter(SCHEMAS[name]).json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": name}
