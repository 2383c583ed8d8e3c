"""The generated part of a model card, and the metadata in front of it that the hub reads."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from basereward.data.manifest import SourceHeader
from basereward.data.record import DataRecord, read_record
from basereward.errors import CheckpointError
from basereward.models.adapter_files import CONFIG as ADAPTER_CONFIG
from basereward.models.card.facts import CardFacts, read_card_facts
from basereward.models.facts import JudgeFacts, RewardFacts, read_facts, read_judge_facts
from basereward.models.hub import open_folder
from basereward.models.merging.report import MergeReport, read_merge_report

UNKNOWN = "unknown"
LIBRARY = "basereward"
# What the hub calls a licence that is stated in the text, and one that nobody states.
STATED = "other"
_RESULTS = "model-index"
# Of what we state, what a person may state better.
_THEIRS = ("license", "pipeline_tag")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


class CheckpointCard(NamedTuple):
    """All that a card is made of, as the files of the model folder say it.

    Args:
        facts: of a reward model or of a trained judge.
    """

    facts: RewardFacts | JudgeFacts
    has_vision: bool
    architecture: str
    card: CardFacts
    record: DataRecord | None
    merge: MergeReport | None

    @property
    def name(self) -> str:
        """What the model is called: as its recipe, or by what it was made of; folders have names of their own."""
        if self.merge:
            return f"{self.merge.kind.capitalize()} of reward models"
        if self.record and self.record.trained_by:
            return self.record.trained_by.name
        return f"{'Judge' if self.is_judge else 'Reward model'}{f' on {self.backbone}' if self.backbone else ''}"

    @property
    def backbone(self) -> str | None:
        """What training started from."""
        return self.card.backbone

    @property
    def headers(self) -> list[SourceHeader]:
        """The sources of the training data that are known, each once."""
        inputs = self.record.inputs if self.record else ()
        return list(dict.fromkeys(header for one in inputs for header in one.headers))

    @property
    def is_judge(self) -> bool:
        """Whether the model writes verdicts and gives no reward."""
        return isinstance(self.facts, JudgeFacts)


def read_card(folder: Path) -> CheckpointCard:
    """Return what a model folder says of itself.

    Raises:
        CheckpointError: the folder holds neither a reward model nor a trained judge of this library.
        DataError: a file is broken.
    """
    opened = open_folder(folder)
    facts = read_facts(opened) or read_judge_facts(opened)
    if facts is None:
        raise CheckpointError(
            f"{folder} says nothing of a reward model or judge of this library in config.json; a card needs it."
        )
    card = read_card_facts(folder)
    if card.backbone is None and (adapter := folder / ADAPTER_CONFIG).is_file():
        base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        card = card.model_copy(update={"backbone": place_name(base)})
    architectures = opened.content.get("architectures") or [UNKNOWN]
    return CheckpointCard(
        facts,
        "vision_config" in opened.content,
        str(architectures[0]),
        card,
        read_record(folder),
        read_merge_report(folder),
    )


def place_name(place: str) -> str:
    """Return a hub id as it is, and of a folder its name: where it lies says nothing to others."""
    is_id = _HUB_ID.fullmatch(place.partition("@")[0]) is not None and not Path(place).exists()
    return place if is_id else Path(place).name


def write_block(own: CheckpointCard) -> str:
    """Return the generated part as Markdown."""
    environment = Environment(
        loader=PackageLoader("basereward.models.card"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        # Markdown; what stands in table cells goes through ``cell``.
        autoescape=False,
    )
    environment.filters |= {"cell": _cell, "number": _number, "as_yaml": _as_yaml}
    return environment.get_template("card.md.jinja").render(own=own, unknown=UNKNOWN).strip()


def metadata(own: CheckpointCard, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a card: ours, and what a person wrote there before.

    What the files of the folder say is ours, results above all; tags are joined; a licence, a task and whatever else a
    person states stays.
    """
    backbone = own.backbone
    licences = [own.card.backbone_licence or UNKNOWN, *(header.licence for header in own.headers)]
    results = list(_eval_results(own))
    found = ModelCardData(
        base_model=backbone if backbone and _HUB_ID.fullmatch(backbone.partition("@")[0]) else None,
        library_name=LIBRARY,
        pipeline_tag="text-generation" if own.is_judge else "text-classification",
        license=UNKNOWN if UNKNOWN in licences else STATED,
        tags=["judge" if own.is_judge else "reward-model", LIBRARY, *(["merge"] if own.merge else [])],
        datasets=_hub_ids(header.repository for header in own.headers) or None,
        model_name=own.name if results else None,
        eval_results=results or None,
    ).to_dict()
    # Results that are gone must not stay; a licence of ours says no more than that nobody stated one.
    is_ours = before.get("license") in (UNKNOWN, STATED) and "license_name" not in before
    gone = {_RESULTS, "license"} if is_ours else {_RESULTS}
    kept = {
        name: value for name, value in before.items() if name not in gone and (name in _THEIRS or name not in found)
    }
    tags = list(dict.fromkeys([*_listed(before.get("tags")), *found["tags"]]))
    return {**found, **kept, "tags": tags}


def _eval_results(own: CheckpointCard) -> Iterable[EvalResult]:
    """Yield the metrics of benchmarks, of which the hub can show the data set."""
    for result in own.card.results:
        for name, number in result.metrics.items():
            if result.hub_id and number.value is not None:
                yield EvalResult(
                    task_type="text-generation" if own.is_judge else "text-classification",
                    dataset_type=result.hub_id,
                    dataset_name=result.benchmark,
                    dataset_revision=result.revision,
                    metric_type=name,
                    metric_name=f"{name} ({result.protocol})",
                    metric_value=number.value,
                )


def _hub_ids(places: Iterable[str]) -> list[str]:
    return sorted({place for place in places if _HUB_ID.fullmatch(place)})


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [] if value is None else [value]


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _number(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _as_yaml(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=100).strip()
