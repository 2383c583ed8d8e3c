"""What is dropped, counted, refused, and what is left as pairs."""

import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from basereward.data.images import load_image
from basereward.data.pairs import load_pairs
from basereward.data.validation import DROP_REASONS, DropLedger
from basereward.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def text_row(name, **changes):
    return {"id": name, "source": "texts", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", **changes}


def image_row(name, image, **changes):
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]
    return text_row(name, prompt=prompt, images=[image], source="images", **changes)


@pytest.fixture
def mixed(tmp_path):
    """One file of pictures and one of texts, with one bad row of each kind."""
    noise = Image.effect_noise((64, 64), 50)
    noise.save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:1000])
    noise.save(tmp_path / "film.gif", save_all=True, append_images=[Image.new("L", (64, 64))])
    Image.new("L", (1, 1)).save(tmp_path / "dot.png")
    pictures = [image_row("good", "good.png"), image_row("cut", "cut.png"), image_row("film", "film.gif")]
    pictures += [
        image_row("dot", "dot.png"),
        image_row("none", "none.png"),
        text_row("extra", images=["good.png", "good.png"]),
    ]
    texts = [text_row("fine", group="7"), text_row("equal", rejected="Because."), text_row("empty", chosen="")]
    texts += [text_row("broken", prompt=[{"content": 1}]), text_row("video", videos=[{"frames": [], "fps": 2}])]
    return [write_lines(tmp_path / "pictures.jsonl", pictures), write_lines(tmp_path / "texts.jsonl", texts)]


def test_every_bad_row_is_counted_once_under_its_reason(mixed):
    loaded = load_pairs(mixed)
    assert [pair.id for pair in loaded.pairs] == ["good", "fine"]
    of_sources = {"tie", "unrated", "no_pair", "prefix_mismatch", "unknown_label"}
    assert loaded.ledger.counts == dict.fromkeys(set(DROP_REASONS) - {"too_long"} - of_sources, 1)
    assert loaded.ledger.total + len(loaded.pairs) == 11
    (message,) = loaded.ledger.examples["image_unreadable"]
    assert "Row 1 (id 'cut')" in message
    assert "cut.png" in message
    assert {Path(name).name: counts for name, counts in loaded.read.items()} == {
        "pictures.jsonl": {"images": 5, "texts": 1},
        "texts.jsonl": {"texts": 5},
    }


def test_sidecar_of_loaded_pairs_follows_the_pairs(mixed):
    loaded = load_pairs(mixed[::-1])
    assert [pair.id for pair in loaded.pairs] == ["fine", "good"]
    assert [loaded.sidecar.sizes(row) for row in range(len(loaded.pairs))] == [(), ((64, 64),)]
    assert not loaded.sidecar.problems


def test_strict_raises_at_the_first_bad_row(mixed):
    with pytest.raises(DataError, match=r"\[image_unreadable\] Row 1 \(id 'cut'\).*cut.png"):
        load_pairs(mixed, strict=True)


def test_loading_again_measures_nothing_but_sees_repairs(mixed, tmp_path, monkeypatch):
    load_pairs(mixed)
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes())
    monkeypatch.setattr("basereward.data.survey._make", lambda *_: pytest.fail("looked at twice"))
    loaded = load_pairs(mixed)
    assert [pair.id for pair in loaded.pairs] == ["good", "cut", "fine"]
    assert loaded.sidecar.sizes(1) == ((64, 64),)


def test_no_usable_row_is_an_error_with_the_counts(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [text_row("a", rejected="Because.")] * 2)
    with pytest.raises(DataError, match=r"None of 2 rows.*equal_responses 2"):
        load_pairs([path])


def test_pairs_pickle_select_slice_and_count(mixed):
    pairs = pickle.loads(pickle.dumps(load_pairs(mixed).pairs))
    assert pairs.sources() == {"images": 1, "texts": 1}
    assert pairs[-1].extra == {"group": "7"}
    assert [pair.id for pair in pairs.select([1, 0])] == ["fine", "good"]
    assert [pair.id for pair in pairs[:1]] == ["good"]
    assert load_image(pairs[0].images[0]).size == (64, 64)
    assert pairs[:0].sources() == {}
    with pytest.raises(IndexError):
        pairs[2]


def test_ledger_counts_merges_and_keeps_few_examples():
    one, other = DropLedger(), DropLedger()
    for number in range(5):
        one.add("video", f"row {number}")
    other.add("video", "another")
    other.add("too_long", "long")
    merged = one.merge(other)
    assert merged.counts == {"video": 6, "too_long": 1}
    assert merged.examples["video"] == ["row 0", "row 1", "row 2"]
    assert one.counts == {"video": 5}
    written = json.loads(json.dumps(merged.to_dict()))
    assert written["total"] == 7
    assert written["reasons"]["too_long"]["explanation"] == DROP_REASONS["too_long"]
    with pytest.raises(DataError, match="Unknown drop reason 'other'"):
        one.add("other", "")


def text_of(messages):
    return "".join(part.get("text", "") for message in messages for part in message["content"])


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")
def test_real_rows_are_dropped_for_what_they_are():
    paths = [SHARED / f"{name}.jsonl" for name in ("puzzlevqa/train", "nlvr/test", "alpaca_eval/train", "llmbar/test")]
    loaded = load_pairs(paths, check="header")
    raw = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    answers = [(text_of(row["chosen"]).strip(), text_of(row["rejected"]).strip()) for row in raw]
    expected = Counter(
        "empty_response" if not (chosen and rejected) else "equal_responses"
        for chosen, rejected in answers
        if not (chosen and rejected) or chosen == rejected
    )
    assert loaded.ledger.counts == expected
    assert len(loaded.pairs) == len(raw) - expected.total()
    assert loaded.pairs[0].extra.keys() == {"answer", "options"}
