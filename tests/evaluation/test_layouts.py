"""One set in every layout that users bring: training, scoring, evaluation and conversion read the same records."""

import base64
import gzip
import hashlib
import json
from io import BytesIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from basereward.data.arrangement import ReadOptions
from basereward.data.formats.choice import LabelledColumns
from basereward.data.images import content_hash
from basereward.data.outcomes import About, Score
from basereward.data.pairs import load_pairs
from basereward.data.schema import response_id
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.scoring.files import score_file
from basereward.sources.convert import convert
from basereward.sources.own_files import file_source

# (turns of the prompt, chosen, rejected, image or None); a turn is (role, text).
SET = (
    ((("user", "What shape is red?"),), "circle", "square", "red.png"),
    ((("user", "Is it blue?"),), "Yes, it is.", "No.", "blue.png"),
    ((("user", "Name a colour."),), "Green is one.", "Seven.", None),
    ((("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello."), ("user", "1 + 1?")), "2", "11", None),
)
OTHER_ROLES = {"user": "human", "assistant": "gpt", "system": "system"}


def say(role, text, image=None):
    return {"role": role, "content": [*([{"type": "image"}] if image else []), {"type": "text", "text": text}]}


def messages(turns, image=None):
    return [say(role, text, image if place == 0 else None) for place, (role, text) in enumerate(turns)]


def plain_messages(turns, image=None, names=None):
    marks = "<image>" if image else ""
    return [
        {"role": (names or {}).get(role, role), "content": marks * (place == 0) + text}
        for place, (role, text) in enumerate(turns)
    ]


def turns_of(pairs):
    return [{"from": OTHER_ROLES[role], "value": text} for role, text in pairs]


def shown(image):
    return {"images": [image]} if image else {}


def sides(make):
    """A layout whose prompt, chosen and rejected are made alike from turns."""

    def layout(turns, chosen, rejected, image):
        answers = {"chosen": make((("assistant", chosen),)), "rejected": make((("assistant", rejected),))}
        return {"prompt": make(turns, image), **answers, **shown(image)}

    return layout


def whole(make, prompt):
    """A layout whose chosen and rejected are whole conversations."""

    def layout(turns, chosen, rejected, image):
        both = {"chosen": (*turns, ("assistant", chosen)), "rejected": (*turns, ("assistant", rejected))}
        return {**prompt(turns), **{side: make(own, image) for side, own in both.items()}, **shown(image)}

    return layout


def text_alone(turns, image):
    return len(turns) == 1 and image is None


def named_parts(kind, key):
    def layout(turns, chosen, rejected, image):
        record = sides(messages)(turns, chosen, rejected, None)
        if image:
            named = {"url": image} if kind == "image_url" else image
            record["prompt"][0]["content"].insert(0, {"type": kind, key: named})
        return record

    return layout


def embedded(turns, chosen, rejected, image):
    record = sides(messages)(turns, chosen, rejected, image)
    return {**record, "images": [base64.b64encode(PICTURES[name]).decode() for name in record.get("images", ())]}


def sharegpt(turns, chosen, rejected, image):
    system = {"system": turns[0][1]} if turns[0][0] == "system" else {}
    own = turns[len(system) :]
    marked = ((own[0][0], "<image>" * bool(image) + own[0][1]), *own[1:])
    answers = {"chosen": turns_of([("assistant", chosen)])[0], "rejected": turns_of([("assistant", rejected)])[0]}
    return {"conversations": turns_of(marked), **answers, **system, **shown(image)}


def swift(rejected_form):
    def layout(turns, chosen, rejected, image):
        said = plain_messages((*turns, ("assistant", chosen)), image)
        return {"messages": said, **rejected_form(said, rejected), **shown(image)}

    return layout


def alpaca(turns, chosen, rejected, image):
    system = {"system": turns[0][1]} if turns[0][0] == "system" else {}
    *before, (_, question) = turns[len(system) :]
    history = [[before[place][1], before[place + 1][1]] for place in range(0, len(before), 2)]
    first, _, second = question.partition("\n")
    asked = {"instruction": "<image>" * bool(image) + first, "input": second, "history": history}
    return {**asked, "chosen": chosen, "rejected": rejected, **system, **shown(image)}


def transcript(turns, chosen, rejected, image):
    if image or turns[0][0] == "system":
        return None
    said = "".join(f"\n\n{ {'user': 'Human', 'assistant': 'Assistant'}[role] }: {text}" for role, text in turns)
    return {"chosen": f"{said}\n\nAssistant: {chosen}", "rejected": f"{said}\n\nAssistant: {rejected}"}


def labelled(a, b, label):
    """Two responses and a label; the chosen one is the first in every other record."""

    def layout(turns, chosen, rejected, image):
        is_first = len(chosen) % 2 == 0
        answers = {a: chosen if is_first else rejected, b: rejected if is_first else chosen}
        return {"question": plain_messages(turns, image), **answers, "better": label(is_first), **shown(image)}

    return layout


def lists(turns, chosen, rejected, image):
    record = sides(plain_messages)(turns, chosen, rejected, image)
    return {**record, "chosen": [chosen], "rejected": [rejected]}


def simple(turns, chosen, rejected, image):
    if not text_alone(turns, image):
        return None
    return {"prompt": turns[0][1], "chosen": chosen, "rejected": rejected}


def json_text(record):
    return {key: value if key == "images" else json.dumps(value) for key, value in record.items()}


CHOICE = {"map": {"prompt": "question"}}
LAYOUTS = {
    "canonical": sides(messages),
    "string content": sides(plain_messages),
    "images beside strings": lambda *row: {**sides(plain_messages)(*row[:3], None), **shown(row[3])},
    "bare texts": simple,
    "implicit prompt": whole(messages, lambda turns: {}),
    "prompt repeated": whole(messages, lambda turns: {"prompt": messages(turns)}),
    "prompt repeated as a text": whole(plain_messages, lambda turns: {"prompt": turns[-1][1]}),
    "human and gpt": sides(lambda turns, image=None: plain_messages(turns, image, OTHER_ROLES)),
    "User and Assistant": sides(
        lambda turns, image=None: [{**one, "role": one["role"].capitalize()} for one in messages(turns, image)]
    ),
    "from and value": sides(
        lambda turns, image=None: [
            {"from": one["role"], "value": one["content"]} for one in plain_messages(turns, image, OTHER_ROLES)
        ]
    ),
    "JSON text": lambda *row: json_text(sides(messages)(*row)),
    "JSON text repeated": lambda *row: json_text(whole(messages, lambda turns: {"prompt": messages(turns)})(*row)),
    "parts that name images": named_parts("image", "image"),
    "parts with addresses of images": named_parts("image_url", "image_url"),
    "base64": embedded,
    "one image": lambda *row: {
        ("image" if key == "images" else key): value[0] if key == "images" else value
        for key, value in sides(messages)(*row).items()
    },
    "sharegpt": sharegpt,
    "swift": swift(lambda said, rejected: {"rejected_response": rejected}),
    "swift list": swift(lambda said, rejected: {"rejected_response": [rejected]}),
    "swift message": swift(lambda said, rejected: {"rejected_response": [say("assistant", rejected)]}),
    "swift messages": swift(lambda said, rejected: {"rejected_messages": [*said[:-1], say("assistant", rejected)]}),
    "alpaca": alpaca,
    "transcript": transcript,
    "lists": lists,
    "renamed": lambda *row: {
        {"prompt": "question", "chosen": "better", "rejected": "worse"}.get(key, key): value
        for key, value in sides(plain_messages)(*row).items()
    },
    "number of a column": labelled("response_0", "response_1", lambda is_first: 0 if is_first else 1),
    "model_a": labelled("answer_a", "answer_b", lambda is_first: "model_a" if is_first else "model_b"),
    "A>B": labelled("one", "two", lambda is_first: "A>B" if is_first else "B>>A"),
    "named values": labelled("one", "two", lambda is_first: 1.0 if is_first else -1.0),
}
OPTIONS = {
    "renamed": {"map": {"prompt": "question", "chosen": "better", "rejected": "worse"}},
    "number of a column": {**CHOICE, "choice": LabelledColumns(label="better", a="response_0", b="response_1")},
    "model_a": {**CHOICE, "choice": LabelledColumns(label="better", a="answer_a", b="answer_b")},
    "A>B": {**CHOICE, "choice": LabelledColumns(label="better", a="one", b="two")},
    "named values": {**CHOICE, "choice": LabelledColumns(label="better", a="one", b="two", values=("1", "-1"))},
}


def picture(colour):
    file = BytesIO()
    Image.new("RGB", (32, 24), colour).save(file, "PNG")
    return file.getvalue()


PICTURES = {"red.png": picture("red"), "blue.png": picture("blue")}


class HashScorer:
    """A score for each response from all that is shown and said, so that any difference moves it."""

    def __init__(self):
        self.about = About("hash", sees_images=False)

    def score(self, groups):
        return [[Score(self._score(group, response)) for response in group.responses] for group in groups]

    def _score(self, group, response):
        shown = [content_hash(image) for image in group.images]
        said = [response_id("", part) for part in (group.prompt, response.messages)]
        return int.from_bytes(hashlib.sha256(json.dumps([shown, said]).encode()).digest()[:3], "big") / 2**24


def rows(layout):
    """The records of a layout, and which of ``SET`` they are."""
    made = [(number, LAYOUTS[layout](*row)) for number, row in enumerate(SET)]
    return {number: {"id": str(number), "source": "s", **record} for number, record in made if record is not None}


def content(pair):
    pictures = [content_hash(image) for image in pair.images]
    return (
        pair.id.split("-")[0],
        pair.source,
        pair.prompt,
        pair.chosen,
        pair.rejected,
        pictures,
        pair.scores,
        pair.margin,
    )


@pytest.fixture
def folder(tmp_path):
    for name, data in PICTURES.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def reference(folder):
    """The contents and scores of the plain set, by number."""
    path = folder / "reference.jsonl"
    path.write_text("\n".join(map(json.dumps, rows("canonical").values())))
    loaded = load_pairs([path])
    scored = folder / "reference.out.jsonl"
    assert score_file(HashScorer(), path, scored) == (len(SET), 0)
    lines = [json.loads(line) for line in scored.read_text().splitlines()]
    return [content(pair) for pair in loaded.pairs], [(one["chosen_score"], one["rejected_score"]) for one in lines]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_records_everywhere(folder, reference, layout):
    contents, scores = reference
    records, options = rows(layout), ReadOptions(**OPTIONS.get(layout, {}))
    path = folder / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, records.values())))
    expected = [contents[number] for number in records]

    loaded = load_pairs([path], options=options)
    assert [content(pair) for pair in loaded.pairs] == expected
    assert loaded.ledger.total == 0

    convert(*file_source(path, options), folder / "converted")
    assert [content(pair) for pair in load_pairs([folder / "converted"]).pairs] == expected

    out = folder / "out.jsonl"
    assert score_file(HashScorer(), path, out, options=options) == (len(records), 0)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(one["chosen_score"], one["rejected_score"]) for one in lines] == [scores[number] for number in records]

    result = evaluate(
        HashScorer(), read_pairs(path, options=options), folder / "eval", EvaluationOptions(references=False)
    )
    correct = sum(scores[number][0] > scores[number][1] for number in records)
    assert result.main.model.metrics["accuracy"].value == correct / len(records)
    assert result.data.read_as == loaded.recognised[str(path)]


@pytest.mark.parametrize(
    "form", ["list.json", "wrapped.json", "a.jsonl.gz", "a.jsonl.zst", "a.parquet", "shards", "saved", "saved:train"]
)
def test_every_form_of_a_file_gives_the_same_records(folder, reference, form):
    records = list(rows("string content").values())
    path = folder / form.partition(":")[0]
    lines = "\n".join(map(json.dumps, records)).encode()
    table = pa.Table.from_pylist([{**record, "images": record.get("images", [])} for record in records])
    if form == "list.json":
        path.write_text(json.dumps(records))
    elif form == "wrapped.json":
        path.write_text(json.dumps({"pairs": records}))
    elif form == "a.jsonl.gz":
        path.write_bytes(gzip.compress(lines))
    elif form == "a.jsonl.zst":
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(lines)
    elif form == "a.parquet":
        pq.write_table(table, path)
    elif form == "shards":
        path.mkdir()
        pq.write_table(table, path / "train-00000-of-00001.parquet")
    else:
        saved = datasets.Dataset(table)
        (datasets.DatasetDict({"train": saved}) if form == "saved:train" else saved).save_to_disk(path)
    for name in PICTURES:
        if path.is_dir():
            (path / name).write_bytes(PICTURES[name])
    loaded = load_pairs([str(folder / form)])
    assert [content(pair) for pair in loaded.pairs] == reference[0]
