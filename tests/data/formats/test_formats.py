"""Files of one's own in each common form become canonical pairs; what cannot be told is an error that says so."""

import json

import pytest
from PIL import Image

from basereward.data.arrangement import ReadOptions
from basereward.data.formats.registry import FORMATS
from basereward.data.formats.transcript import parse_transcript
from basereward.data.pairs import load_pairs
from basereward.data.parsing import parse_pair
from basereward.errors import DataError, MissingFileError, RowError, UnknownNameError
from basereward.sources.convert import convert
from basereward.sources.own_files import file_source

PAIR = {"chosen": "B.", "rejected": "C."}


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def turn(speaker, text):
    return {"from": speaker, "value": text}


SHAREGPT = {
    "conversations": [turn("human", "<image>\nA?"), turn("gpt", "B."), turn("human", "C?")],
    "chosen": turn("gpt", "D."),
    "rejected": turn("gpt", "E."),
    "images": ["red.png"],
}
SWIFT = {"messages": [user("A?"), assistant("B."), user("<image>C?"), assistant("D.")], "images": ["red.png"]}
RANKING = {"prompt": "A?", "responses": ["x", "y", "z"], "scores": [1, "3", 2.0]}
MULTI = "<image>A?|B.|C?"
# What a record is, the format to tell or None, and (prompt, chosen, rejected) of each pair.
READ = {
    "plain": ({"prompt": "A?", **PAIR}, None, [("A?", "B.", "C.")]),
    "conversational": (
        {"prompt": [user("A?")], "chosen": [assistant("B.")], "rejected": [assistant("C.")]},
        None,
        [("A?", "B.", "C.")],
    ),
    "implicit prompt": (
        {"chosen": [user("A?"), assistant("B.")], "rejected": [user("A?"), assistant("C.")]},
        None,
        [("A?", "B.", "C.")],
    ),
    "prompt and whole conversations": (
        {"prompt": "A?", "chosen": [user("A?"), assistant("B.")], "rejected": [user("A?"), assistant("C.")]},
        None,
        [("A?", "B.", "C.")],
    ),
    "parts": (
        {
            "prompt": [user([{"type": "text", "text": "A "}, {"type": "image"}, {"type": "text", "text": "?"}])],
            "images": ["red.png"],
            **PAIR,
        },
        None,
        [("A <image>?", "B.", "C.")],
    ),
    "an image without a mark": ({"prompt": "A?", "image": "red.png", **PAIR}, None, [("<image>A?", "B.", "C.")]),
    "a mark in text alone": ({"prompt": "Is <image> html?", **PAIR}, None, [("Is <image> html?", "B.", "C.")]),
    "sharegpt": (SHAREGPT, None, [(MULTI, "D.", "E.")]),
    "sharegpt with a system": ({**SHAREGPT, "system": "S."}, None, [(f"S.|{MULTI}", "D.", "E.")]),
    "swift": ({**SWIFT, "rejected_response": "E."}, None, [("A?|B.|<image>C?", "D.", "E.")]),
    "swift with messages": (
        {**SWIFT, "rejected_messages": [*SWIFT["messages"][:-1], assistant("E.")], "rejected_images": ["red.png"]},
        None,
        [("A?|B.|<image>C?", "D.", "E.")],
    ),
    "transcript": (
        {
            "chosen": "\n\nHuman: A?\n\nAssistant: B.\n\nAnd\n\nHuman: C?\n\nAssistant: D.",
            "rejected": "\n\nHuman: A?\n\nAssistant: B.\n\nAnd\n\nHuman: C?\n\nAssistant: E.",
        },
        None,
        [("A?|B.\n\nAnd|C?", "D.", "E.")],
    ),
    "swift with several": (
        {**SWIFT, "rejected_response": ["E.", "F."]},
        None,
        [("A?|B.|<image>C?", "D.", "E."), ("A?|B.|<image>C?", "D.", "F.")],
    ),
    "swift with a list of messages": (
        {**SWIFT, "rejected_response": [assistant("E.")], "rejected_images": ["red.png"]},
        None,
        [("A?|B.|<image>C?", "D.", "E.")],
    ),
    "alpaca": (
        {"instruction": "Add.", "input": "<image>\n1", **PAIR, "images": ["red.png"]},
        None,
        [("Add.\n<image>\n1", "B.", "C.")],
    ),
    "alpaca with a history": (
        {"instruction": "C?", "input": "", "history": [["A?", "B."]], "system": "S.", "output": ["D.", "E."]},
        None,
        [("S.|A?|B.|C?", "D.", "E.")],
    ),
    "lists": (
        {"prompt": "A?", "chosen": ["x", "y"], "rejected": ["z"]},
        None,
        [("A?", "x", "z"), ("A?", "y", "z")],
    ),
    "ranking without a choice": (RANKING, None, [("A?", "y", "x"), ("A?", "z", "x"), ("A?", "y", "z")]),
    "all pairs": (RANKING, "ranking", [("A?", "y", "x"), ("A?", "z", "x"), ("A?", "y", "z")]),
    "neighbours": (RANKING, "ranking-adjacent", [("A?", "y", "z"), ("A?", "z", "x")]),
    "best and worst": (RANKING, "ranking-best-worst", [("A?", "y", "x")]),
}


@pytest.fixture
def own(tmp_path):
    """``own(records, name)``: a file of records as a source, with an image beside it."""
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")

    def make(records, name=None):
        path = tmp_path / "own.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        return file_source(path, ReadOptions(format=name))

    return make


@pytest.fixture
def read(own):
    """``read(record, name, *before)``: the canonical records of the last record of a file."""

    def parse(record, name=None, *before):
        source, files = own([*before, record], name)
        *_, raw = source.records(files)
        return list(source.parse(raw, files))

    return parse


def summary(record):
    """``(prompt, chosen, rejected)`` of a canonical record, messages apart by ``|``."""
    pair = parse_pair(record, "")
    return tuple(
        "|".join("".join(part.text or f"<{part.type}>" for part in message.content) for message in side)
        for side in (pair.prompt, pair.chosen, pair.rejected)
    )


@pytest.mark.parametrize("case", READ)
def test_records_become_pairs(case, read):
    record, name, expected = READ[case]
    assert [summary(pair) for pair in read(record, name)] == expected


def test_every_format_is_tested(own):
    named = {own([record], name)[0].read_as.format for record, name, _ in READ.values()}
    assert named == set(FORMATS.names())
    assert all(FORMATS.get(name).name == name for name in FORMATS.names())


def test_other_fields_ids_and_scores_are_kept(read):
    record = {"id": 7, "source": "mine", "margin": 0.5, "scores": [4, 1], "topic": "cats", "messages": [1]}
    [pair] = read({"prompt": "A?", **PAIR, **record})
    parsed = parse_pair(pair, "")
    assert (parsed.id, parsed.source, parsed.margin, parsed.scores) == ("7", "mine", 0.5, (4, 1))
    assert parsed.extra == {"topic": "cats", "messages": [1]}
    [pair] = read({"prompt": "A?", **PAIR})
    assert (pair["id"], pair["source"]) == ("own-0", "own")
    [pair] = read({**SWIFT, "rejected_response": "E.", "prompt": "other"})
    assert parse_pair(pair, "").extra == {"original_prompt": "other"}
    assert [pair["scores"] for pair in read(RANKING, "ranking-adjacent")] == [[3, 2], [2, 1]]
    assert [pair["id"] for pair in read(RANKING, "ranking-adjacent")] == ["own-0-1-2", "own-0-2-0"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"prompt": "<image><image>A?", "images": ["red.png"], **PAIR}, "placeholder_count"),
        ({"prompt": "A?", "images": ["red.png", "red.png"], **PAIR}, "placeholder_count"),
        ({**SHAREGPT, "images": []}, "placeholder_count"),
        ({**SHAREGPT, "images": ["none.png"]}, "image_missing"),
        ({**SHAREGPT, "video": "a.mp4"}, "malformed"),
        ({**SHAREGPT, "tools": "[]"}, "malformed"),
        ({**SHAREGPT, "conversations": [turn("observation", "A?")]}, "malformed"),
        ({**SHAREGPT, "conversations": SHAREGPT["conversations"][:2]}, "malformed"),
        ({**SWIFT, "rejected_response": None}, "malformed"),
        ({**SWIFT, "messages": "A?", "rejected_response": "E."}, "malformed"),
        ({**SWIFT, "messages": SWIFT["messages"][:3], "rejected_response": "E."}, "malformed"),
        ({**SWIFT, "rejected_messages": [user("X?"), assistant("E.")]}, "prefix_mismatch"),
        ({**SWIFT, "rejected_response": "E.", "rejected_images": ["blue.png"]}, "prefix_mismatch"),
        ({"chosen": [user("A?"), assistant("B.")], "rejected": [user("X?"), assistant("C.")]}, "prefix_mismatch"),
        (
            {"prompt": "X?", "chosen": [user("A?"), assistant("B.")], "rejected": [user("A?"), assistant("C.")]},
            "prefix_mismatch",
        ),
        ({"prompt": "A?", "chosen": [["B."]], "rejected": [["C."]]}, "malformed"),
        ({"prompt": "A?", "image": "red.png", "images": ["red.png"], **PAIR}, "malformed"),
        ({"prompt": [user([{"type": "image", "text": "A?"}])], "images": ["red.png"], **PAIR}, "malformed"),
        ({"prompt": [user([{"type": "image", "image": "blue.png"}])], "images": ["red.png"], **PAIR}, "malformed"),
        ({"prompt": "A?", **PAIR, "tools": [{"name": "f"}]}, "malformed"),
        ({"prompt": "A?", **PAIR, "chat_template_kwargs": {"enable_thinking": True}}, "malformed"),
        (
            {"prompt": "A?", "chosen": [{**assistant("B."), "function_call": {"name": "f"}}], "rejected": "C."},
            "malformed",
        ),
        ({"prompt": "A?", "chosen": [{**assistant("B."), "thinking": "Hm."}], "rejected": "C."}, "malformed"),
        ({"prompt": "A?", "chosen": [{**assistant("B."), "reasoning": "Hm."}], "rejected": "C."}, "malformed"),
        ({"prompt": "A?", "chosen": [user("B.")], "rejected": [user("C.")]}, "malformed"),
        ({"prompt": [{"role": "narrator", "content": "A?"}], **PAIR}, "malformed"),
        ({"prompt": [{"role": "system", "content": "S."}, user("A?")], "system": "T.", **PAIR}, "malformed"),
        ({"prompt": "A?", "chosen": "B."}, "malformed"),
        ({"instruction": "A?", "history": ["B."], **PAIR}, "malformed"),
        ({"prompt": 3, **PAIR}, "malformed"),
        ({"chosen": "Human: A?\n\nAssistant: B.", "rejected": "Human: X?\n\nAssistant: C."}, "prefix_mismatch"),
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "malformed"),
    ],
)
def test_records_that_give_no_pair_have_a_reason(record, reason, read):
    """Behind good records of their format, which decide how the file is read."""
    kinds = {
        "conversations": SHAREGPT,
        "messages": {**SWIFT, "rejected_response": "E."},
        "instruction": READ["alpaca"][0],
    }
    transcript = isinstance(record.get("chosen"), str) and "prompt" not in record
    plain = READ["transcript" if transcript else "plain"][0]
    good = next((kinds[name] for name in kinds if name in record), plain)
    with pytest.raises(RowError) as caught:
        read(record, None, good, good)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": [1, 2]}, "malformed"),
        ({"scores": None}, "malformed"),
        ({"scores": [2, 2, 2]}, "tie"),
        ({"scores": ["N/A", 1, None]}, "unrated"),
        ({"responses": ["x"], "scores": [1]}, "no_pair"),
    ],
)
def test_rankings_that_give_no_pair_have_a_reason(changes, reason, read):
    with pytest.raises(RowError) as caught:
        read({**RANKING, **changes}, "ranking", RANKING)
    assert caught.value.reason == reason


def test_absolute_paths_of_images_are_taken_as_they_are(read, tmp_path):
    [pair] = read({"prompt": "A?", "images": [str(tmp_path / "red.png")], **PAIR})
    assert pair["images"] == [str(tmp_path / "red.png")]


@pytest.mark.parametrize("name", FORMATS.names())
def test_other_fields_are_an_error_with_those_found_and_expected(name, read):
    with pytest.raises(DataError, match=r"found the fields unheard_of.*, expected ") as caught:
        read({"unheard_of": 1}, name)
    assert not isinstance(caught.value, RowError)


def test_swift_without_a_rejected_answer_is_an_error(read):
    with pytest.raises(DataError, match="found the fields messages, images, expected messages, rejected_response"):
        read(SWIFT, "swift")


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (PAIR, ["Nothing tells where the question ends: add a field 'prompt'"]),
        ({"question": "A?", "answer": "B."}, ["question, answer", "no format", *FORMATS.names()]),
        ({"question": "A?", "better": "B.", "worse": "C."}, ["--map prompt=question,chosen=better,rejected=worse"]),
        (
            {"question": "A?", "response_a": "B.", "response_b": "C.", "winner": "model_a"},
            ["--choice winner --a response_a --b response_b --map prompt=question"],
        ),
        (
            {"prompt": "A?", "response_0": "B.", "response_1": "C.", "better_response_id": 0},
            ["--choice better_response_id --a response_0 --b response_1"],
        ),
        ({"prompt": "A?", "choosen": "B.", "rejected": "C."}, ["'choosen'", "'chosen'"]),
    ],
)
def test_a_file_that_no_format_fits_is_an_error_that_says_what_would_read_it(own, record, words):
    with pytest.raises(DataError) as caught:
        own([record])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_what_is_no_file_of_records_is_an_error(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "own.csv").write_text("a,b")
    (tmp_path / "own.jsonl").write_text(json.dumps({"prompt": "A?", **PAIR}))
    with pytest.raises(MissingFileError, match="There is no file"):
        file_source(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no records"):
        file_source(tmp_path / "empty.jsonl")
    with pytest.raises(DataError, match=r"suffix '\.csv', expected a \.jsonl"):
        file_source(tmp_path / "own.csv")
    with pytest.raises(UnknownNameError, match=r"Unknown format 'tlr'.* 'trl'"):
        file_source(tmp_path / "own.jsonl", ReadOptions(format="tlr"))


@pytest.mark.parametrize("text", ["", "Hello.", "I say\n\nHuman: A?", "Human A?", None])
def test_transcripts_begin_with_a_speaker(text):
    with pytest.raises(RowError) as caught:
        parse_transcript(text)
    assert caught.value.reason == "malformed"


def test_a_speaker_begins_a_paragraph():
    spoken = parse_transcript("Human: Say\nHuman: B.\n\nAssistant:\n\nAssistant: Human: C.")
    assert [message["content"] for message in spoken] == ["Say\nHuman: B.", "", "Human: C."]


def test_a_file_converts_to_pairs_that_training_reads(tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "red.png")
    bad = {**SHAREGPT, "rejected": turn("gpt", " D. ")}
    path = tmp_path / "own.json"
    path.write_text(json.dumps([SHAREGPT, bad]))
    manifest = convert(*file_source(path), tmp_path / "out")
    assert (manifest.rows, manifest.multimodal, manifest.name) == (1, 1, "own")
    assert manifest.sources[0].repository == "own.json (sharegpt)"
    assert manifest.drops["reasons"]["equal_responses"]["count"] == 1
    (tmp_path / "red.png").unlink()
    [pair] = load_pairs([tmp_path / "out"]).pairs
    assert pair.is_multimodal
