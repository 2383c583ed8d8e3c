"""All formats by name, and which of them is looked for in a file that does not say."""

from basereward.data.formats.format import RecordFormat
from basereward.registry import Registry

FORMATS: Registry[RecordFormat] = Registry(
    "format",
    {
        "alpaca": "basereward.data.formats.alpaca:FORMAT",
        "lists": "basereward.data.formats.lists:FORMAT",
        "ranking": "basereward.data.formats.ranking:ALL",
        "ranking-adjacent": "basereward.data.formats.ranking:ADJACENT",
        "ranking-best-worst": "basereward.data.formats.ranking:BEST_WORST",
        "sharegpt": "basereward.data.formats.sharegpt:FORMAT",
        "swift": "basereward.data.formats.swift:FORMAT",
        "transcript": "basereward.data.formats.transcript:FORMAT",
        "trl": "basereward.data.formats.trl:FORMAT",
    },
)
# Of formats with the same fields only one, which says in its title what it does.
DETECTED = ("trl", "lists", "sharegpt", "swift", "alpaca", "transcript", "ranking")
