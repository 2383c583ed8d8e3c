"""Pairs in, pairs with what a judge says of them out: a folder of shards, a list of what was dropped, and the cost."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basereward import __version__
from basereward.data.arrangement import ReadOptions
from basereward.data.identity import Identity, WorkInput, differences
from basereward.data.io import json_line, replacing
from basereward.data.manifest import Input, Manifest, merged_judges, read_manifest
from basereward.data.outcomes import Failure
from basereward.data.pairs import LoadedPairs, load_pairs, pair_row
from basereward.data.places import Place, open_place
from basereward.data.progress import Progress, no_progress
from basereward.data.record import merged_contamination
from basereward.data.rows import pack_row, pair_features
from basereward.data.schema import PreferencePair
from basereward.data.shards import ImageStore, Row, check_free, image_store, publish, write_shards
from basereward.data.work import Work, open_work
from basereward.errors import DataError, RowError, ScoringError, WorkError
from basereward.scoring.annotation.asking import KeptAnswers, Price, UseCounter, ask_missing, read_answers
from basereward.scoring.annotation.task import AnnotationTask, Read
from basereward.scoring.interface import Judge

DROPPED = "dropped.jsonl"


@dataclass(frozen=True, slots=True)
class AnnotationOptions:
    """How pairs are read and written.

    Args:
        read: how records are read that do not say it by themselves.
        limit: only the first rows.
        images: their bytes inside the shards, or paths relative to the folder.
        price: of the tokens, for the cost.
    """

    read: ReadOptions | None = None
    limit: int | None = None
    images: ImageStore = "bytes"
    price: Price | None = None


DEFAULT_OPTIONS = AnnotationOptions()


def annotate(
    judge: Judge,
    task: AnnotationTask,
    source: str,
    out: Path,
    options: AnnotationOptions = DEFAULT_OPTIONS,
    on_progress: Progress = no_progress,
) -> Manifest:
    """Ask a judge two questions about every pair and write the pairs that its answers leave, everything else kept.

    The same call goes on from the answers of an interrupted one: every answer is kept when it comes, and only questions
    in flight or failed are asked again. A complete folder of the same work is left as it is. Beside the shards stands
    ``dropped.jsonl``: the answers that were not used, with why.

    Args:
        on_progress: called with the number of questions answered and of all.

    Raises:
        MissingFileError: there are no pairs.
        DataError: unreadable pairs, a folder that holds something else, or no pair is left.
        WorkError: another process writes the folder, or it holds other work.
        ScoringError: the judge cannot be asked, or votes where its words are wanted.
    """
    if task.wrote != "preferences" and (samples := (judge.about.identity or {}).get("samples", 1)) != 1:
        raise ScoringError(f"{task.wrote.capitalize()} are of one answer; found samples={samples}. Leave it out.")
    with open_work(out) as work:
        place = open_place(source)
        described = place.describe()
        asked: dict[str, Any] = {"step": task.step, "wrote": task.wrote}
        asked |= {"limit": options.limit, "images": options.images}
        asked["read"] = options.read and options.read.model_dump(mode="json")
        if done := read_manifest(out):
            _check_same(done, described, judge, asked, out)
            return done
        check_free(out)
        weights = {"name": judge.about.name, **(judge.about.identity or {})}
        # Another version reads the same answers.
        work.claim(
            Identity(task=task.step, inputs=(described,), weights=weights, settings=asked), may_change=("versions",)
        )
        loaded = load_pairs([source], limit=options.limit, check="header", options=options.read)
        ask_missing(judge, task, loaded.pairs, work, on_progress)
        manifest = _write(judge, task, loaded, work, place, described, asked, options)
        publish(manifest, work)
        return manifest


def _check_same(done: Manifest, source: WorkInput, judge: Judge, asked: Mapping[str, Any], out: Path) -> None:
    use, step = done.judges[-1] if done.judges else None, done.steps[0] if done.steps else {}
    found = {name: step.get(name) for name in asked} | {"judge": use and use.identity, "input": done.inputs[0].sha256}
    wanted = {**asked, "judge": dict(judge.about.identity or {}), "input": source.sha256}
    if unlike := differences(found, wanted):
        raise WorkError(f"{out} holds other work ({'; '.join(unlike)}). Choose another --out, or delete it.")


@dataclass
class _Outcome:
    """What has become of the pairs so far."""

    task: AnnotationTask
    pairs: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    kept: int = 0
    multimodal: int = 0
    facts: list[Any] = field(default_factory=list)

    def add(self, read: Read) -> None:
        self.answers.update(reason for reason in read.lost if reason)
        if read.facts is not None:
            self.facts.append(read.facts)
        if read.pair is None:
            self.pairs["+".join(sorted({reason for reason in read.lost if reason}))] += 1
        else:
            self.kept += 1
            self.multimodal += read.pair.is_multimodal

    def tell(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Return the step of a manifest."""
        before = self.kept + self.pairs.total()
        details = {"unused_answers": dict(sorted(self.answers.items())), **self.task.details(self.facts)}
        return {
            **asked,
            "in": before,
            "out": self.kept,
            "dropped": dict(sorted(self.pairs.items())),
            "details": details,
        }


def _write(
    judge: Judge,
    task: AnnotationTask,
    loaded: LoadedPairs,
    work: Work,
    place: Place,
    described: WorkInput,
    asked: Mapping[str, Any],
    options: AnnotationOptions,
) -> Manifest:
    """Write the shards and the list of what was dropped, and return the manifest."""
    outcome, counter = _Outcome(task), UseCounter()
    with replacing(work.folder / DROPPED) as temporary, temporary.open("wb") as dropped:

        def stored() -> Iterator[list[Row]]:
            store = image_store(options.images, work.folder)
            for row, pair, kept in zip(
                loaded.pairs.rows, loaded.pairs, read_answers(work, loaded.pairs.rows), strict=True
            ):
                read = task.read(pair, kept.answers)
                counter.add(kept)
                outcome.add(read)
                dropped.writelines(map(json_line, _unused(task, row, pair, kept, read)))
                yield [] if read.pair is None else [store(_row(read.pair))]

        shards = tuple(write_shards(stored(), work.folder, pair_features(decode=True)))
    step = outcome.tell(asked)
    if not outcome.kept:
        raise DataError(
            f"Of {step['in']} pairs none is left: {step['dropped']}. The answers are in {work.folder / DROPPED}."
        )
    use = counter.use(judge.about, task, outcome.kept, options.price)
    return Manifest(
        kind="annotated" if task.step == "annotate" else "distilled",
        name=work.target.name,
        rows=outcome.kept,
        multimodal=outcome.multimodal,
        shards=shards,
        sources=place.manifest.sources if place.manifest else (),
        inputs=(Input(name=described.name, sha256=described.sha256),),
        drops=loaded.ledger.to_dict(),
        steps=(step,),
        judges=(*merged_judges([place.manifest]), use),
        contamination=merged_contamination([place.manifest]),
        created_by=f"basereward {__version__}",
    )


def _unused(
    task: AnnotationTask, row: int, pair: PreferencePair, kept: KeptAnswers, read: Read
) -> Iterator[dict[str, Any]]:
    """Yield the answers on a pair that are not used, with why."""
    for place, judged, reason in zip(task.places, kept.answers, read.lost, strict=True):
        if reason:
            said = {"message": judged.message} if isinstance(judged, Failure) else {"text": judged.text}
            yield {"row": row, "id": pair.id, "question": place, "reason": reason, **said}


def _row(pair: PreferencePair) -> Row:
    row = pack_row(pair_row(pair), Path())
    if problem := row.pop("read_error"):
        raise RowError(problem["reason"], f"Pair {pair.id!r} cannot be written: {problem['message']}")
    return row


def explain(manifest: Manifest) -> Sequence[str]:
    """Return what a person wants to know of a folder, a line each."""
    step, use = manifest.steps[0], manifest.judges[-1]
    dropped = ", ".join(f"{reason} {count}" for reason, count in step["dropped"].items()) or "none"
    unused = ", ".join(f"{reason} {count}" for reason, count in step["details"]["unused_answers"].items()) or "none"
    tokens = f"{use.prompt_tokens} of prompts, {use.completion_tokens} of answers"
    untold = f", not told for {use.without_usage} answers" if use.without_usage else ""
    cost = "" if use.cost is None else f", cost {use.cost:g}"
    lines = [
        f"pairs     {step['out']} of {step['in']} have {use.wrote} by {use.name}, prompt {use.prompt}",
        f"dropped   {dropped}",
        f"answers   {use.requests - use.failed} of {use.requests}; not used: {unused}",
        f"tokens    {tokens}{untold}{cost}",
    ]
    if agreement := step["details"].get("agreement_with_label"):
        lines.append(f"label     {agreement['value']:.1%} of the preferences are the label's, which took no part")
    if step["details"].get("checked_against_label") is False:
        lines.append("label     the prompt asks for no rating: no critique was checked against the label")
    return lines
