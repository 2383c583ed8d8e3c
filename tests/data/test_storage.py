"""Canonical rows on disk: what is read, kept, refused, and what a round trip preserves."""

import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from basereward.curation.fingerprints.features import compute_features
from basereward.data.cache import user_cache
from basereward.data.images import load_image
from basereward.data.pairs import load_pairs, pair_row
from basereward.data.parsing import parse_pair
from basereward.data.places import iterate_rows
from basereward.data.rows import pair_features, stored_features
from basereward.data.storage import concatenate, read_rows, unpack_row, write_rows
from basereward.errors import DataError, MissingFileError, RowError

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def text_row(number=0, **changes):
    return {"id": f"t{number}", "prompt": "Why?", "chosen": "Because.", "rejected": "No.", **changes}


def image_row(*images, **changes):
    parts = [{"type": "image"} for _ in images] + [{"type": "text", "text": "What is it?"}]
    return text_row(prompt=[{"role": "user", "content": parts}], images=list(images), **changes)


def save_picture(path, color="red"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (5, 3), color).save(path)
    return path


def records(dataset):
    return [unpack_row(row) for row in iterate_rows(dataset)]


def pairs(dataset):
    return [parse_pair(record, "?") for record in records(dataset)]


def pixels(pair):
    return [load_image(image).tobytes() for image in pair.images]


def test_text_and_image_files_with_different_extras_join_in_both_orders(tmp_path):
    save_picture(tmp_path / "i" / "images" / "a.png")
    texts = read_rows(write_lines(tmp_path / "t.jsonl", [text_row(images=[], kind=3)]))
    images = read_rows(write_lines(tmp_path / "i" / "i.jsonl", [image_row("images/a.png", kind="x", n=[1])]))
    for parts in ([texts, images], [images, texts]):
        joined = concatenate(parts)
        assert joined.features == stored_features()
        kinds = [pair.extra["kind"] for pair in pairs(joined)]
        assert kinds == [record["kind"] for part in parts for record in records(part)]
    assert pairs(images)[0].extra == {"kind": "x", "n": [1]}


def test_extras_scores_margin_and_nested_values_are_kept(tmp_path):
    extras = {"group": "7", "answer": "b", "options": ["a", "b"], "meta": {"rank": 1, "note": None}}
    path = write_lines(tmp_path / "a.jsonl", [text_row(scores=[4, 1.5], margin=2, **extras), text_row(1)])
    first, second = records(read_rows(path))
    assert {key: first[key] for key in extras} == extras
    assert first["scores"] == [4.0, 1.5]
    assert first["margin"] == 2.0
    assert second["margin"] is None
    assert not extras.keys() & second.keys()


def test_relative_image_paths_belong_to_the_folder_of_the_file(tmp_path, monkeypatch):
    save_picture(tmp_path / "set" / "images" / "a.png")
    write_lines(tmp_path / "set" / "a.jsonl", [image_row("images/a.png")])
    monkeypatch.chdir(tmp_path)
    (pair,) = pairs(read_rows("set/a.jsonl"))
    monkeypatch.chdir("/")
    assert load_image(pair.images[0]).size == (5, 3)


def test_missing_id_and_source_are_filled_with_the_place_of_the_row(tmp_path):
    rows = [{key: value for key, value in text_row().items() if key != "id"}] * 2
    found = records(read_rows(write_lines(tmp_path / "set" / "train.jsonl", rows)))
    assert [record["id"] for record in found] == ["set/train-0", "set/train-1"]
    assert {record["source"] for record in found} == {"set/train"}


def test_json_list_bom_blank_lines_and_limit(tmp_path):
    rows = [text_row(number) for number in range(3)]
    listed, lines = tmp_path / "a.json", tmp_path / "b.jsonl"
    listed.write_text(json.dumps(rows, indent=1))
    lines.write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(row).encode() for row in rows))
    assert records(read_rows(listed))[2]["id"] == records(read_rows(lines))[2]["id"] == "t2"
    assert len(read_rows(lines, limit=2)) == 2


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (json.dumps(text_row()) + '\n{"id": ', "line 2 is not JSON"),
        (json.dumps(text_row()) + "\n7\n", "line 2: expected an object, found int"),
        ("[{}]", "A list of records is a .json file"),
        ("\n", "holds no records"),
        (json.dumps({"prompt": "a", "choosen": "b", "rejected": "c"}), "'choosen'.*'chosen'"),
        (json.dumps(text_row()) + "\n" + json.dumps(text_row(imges=["a.png"])), "unknown column 'imges'.*'images'"),
        (json.dumps({"id": "a", "prompt": "b"}), "has no chosen, rejected"),
    ],
)
def test_unreadable_file_is_an_error_that_leaves_no_cache(tmp_path, content, found):
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(DataError, match=found):
        read_rows(path)
    assert list((user_cache() / "rows").glob("*")) == []


def test_missing_path_is_named_with_the_accepted_forms(tmp_path):
    for path in (tmp_path / "none.jsonl", "some/none.jsonl", "none"):
        with pytest.raises(MissingFileError, match=r"none.*hub id"):
            read_rows(path)
    (tmp_path / "a.csv").write_text("x")
    with pytest.raises(DataError, match=r"expected a \.jsonl"):
        read_rows(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(DataError, match="no readable Parquet"):
        read_rows(tmp_path / "a.parquet")


def test_malformed_rows_stay_in_place_and_say_why(tmp_path):
    rows = [text_row(prompt=5), text_row(1), text_row(2, images=5), text_row(3, margin="high")]
    rows += [text_row(4, margin=float("nan")), text_row(5, chosen="\ud800"), text_row(6)]
    stored = list(iterate_rows(read_rows(write_lines(tmp_path / "a.jsonl", rows))))
    assert [row["id"] for row in stored] == [f"t{number}" if number else "t0" for number in range(7)]
    good = [row["id"] for row in stored if row["read_error"] is None]
    assert good == ["t1", "t6"]
    with pytest.raises(RowError, match="images as paths") as caught:
        unpack_row(stored[2])
    assert caught.value.reason == "malformed"


def test_reading_again_uses_the_cache_until_the_file_changes(tmp_path, monkeypatch):
    path = write_lines(tmp_path / "a.jsonl", [text_row()])
    first = read_rows(path)
    with monkeypatch.context() as patch:
        patch.setattr("basereward.data.storage._write_cache", lambda *_: pytest.fail("read twice"))
        assert read_rows(path)._fingerprint == first._fingerprint
    write_lines(path, [text_row(), text_row(1)])
    assert len(read_rows(path)) == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_round_trip_keeps_everything(tmp_path, suffix):
    first, second = save_picture(tmp_path / "in" / "a.png"), save_picture(tmp_path / "in" / "b.jpg", "blue")
    rows = [
        image_row("a.png", "b.jpg", group="7", margin=0.0, scores=[2, 1]),
        image_row("b.jpg", options=["x", "y"]),
        text_row(2, source="texts"),
    ]
    read = read_rows(write_lines(tmp_path / "in" / "rows.jsonl", rows))
    target = tmp_path / "out" / f"rows{suffix}"
    assert write_rows(iterate_rows(read), target) == 3
    again = read_rows(target)
    keys = ("id", "source", "prompt", "chosen", "rejected", "margin", "extra")
    for old, new in zip(pairs(read), pairs(again), strict=True):
        assert [getattr(old, key) for key in keys] == [getattr(new, key) for key in keys]
        assert pixels(old) == pixels(new)
    assert records(again)[0]["scores"] == [2.0, 1.0]
    assert sorted(path.name for path in target.parent.iterdir()) == [target.name]
    if suffix == ".jsonl":
        written = json.loads(target.read_text().splitlines()[0])
        assert written["images"] == ["../in/a.png", "../in/b.jpg"]
        assert written["prompt"][0]["content"][0] == {"type": "image"}
        assert written["group"] == "7"
    else:
        first.unlink()
        second.unlink()
        assert len(pixels(pairs(again)[0])) == 2


def test_bare_bytes_and_pil_images_are_placed_beside_the_jsonl(tmp_path):
    file = BytesIO()
    Image.new("RGB", (5, 3), "red").save(file, "JPEG")
    target = tmp_path / "a.jsonl"
    write_rows([image_row(file.getvalue(), Image.new("L", (4, 4)))], target)
    names = json.loads(target.read_text())["images"]
    assert [Path(name).parent.name for name in names] == ["images", "images"]
    assert (tmp_path / names[0]).read_bytes() == file.getvalue()
    assert [load_image(image).size for image in pairs(read_rows(target))[0].images] == [(5, 3), (4, 4)]


def test_parsed_pairs_can_be_written(tmp_path):
    (pair,) = pairs(read_rows(write_lines(tmp_path / "a.jsonl", [text_row(group="7", margin=1, scores=[4, 2.5])])))
    write_rows([pair_row(pair)], tmp_path / "b.jsonl")
    assert pair.scores == (4.0, 2.5)
    assert pairs(read_rows(tmp_path / "b.jsonl")) == [pair]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
@pytest.mark.parametrize("bad", [text_row(prompt=None), image_row("/none/a.png"), text_row(blob=object())])
def test_failed_write_leaves_the_old_file_alone(tmp_path, suffix, bad):
    target = tmp_path / f"a{suffix}"
    write_rows([text_row()], target)
    before = target.read_bytes()
    with pytest.raises(DataError):
        write_rows([text_row(), bad], target)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"\.csv"):
        write_rows([], tmp_path / "a.csv")


def test_written_parquet_opens_its_images_in_plain_datasets(tmp_path):
    save_picture(tmp_path / "a.png")
    write_rows([image_row(str(tmp_path / "a.png"), group="7")], tmp_path / "a.parquet")
    plain = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "c"))
    assert plain.features == pair_features(decode=True)
    assert plain[0]["images"][0].size == (5, 3)
    assert json.loads(plain[0]["extra_json"]) == {"group": "7"}


def test_all_types_of_columns_are_read(tmp_path):
    extras = {
        "facts": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        "blob": pa.array([b"\x00\xff"]),
        "price": pa.array([Decimal("1.10")]),
        "at": pa.array([time(3, 4)]),
        "day": pa.array([date(2025, 1, 2)]),
        "when": pa.array([datetime(2025, 1, 2, 3, 4)], pa.timestamp("us")),
        "took": pa.array([timedelta(seconds=90)], pa.duration("us")),
        "scores": pa.array([[Decimal("4.5"), Decimal("1.0")]]),
    }
    plain = {name: pa.array([value]) for name, value in text_row().items()}
    pq.write_table(pa.table({**plain, **extras}), tmp_path / "a.parquet")
    (pair,) = pairs(read_rows(tmp_path / "a.parquet"))
    assert pair.extra == {
        "facts": {"a": 1},
        "blob": "AP8=",
        "price": "1.10",
        "at": "03:04:00",
        "day": "2025-01-02",
        "when": "2025-01-02T03:04:00",
        "took": "0:01:30",
    }
    assert pair.scores == (4.5, 1.0)


def test_the_one_cache_holds_all_that_can_be_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    path = write_lines(tmp_path / "a.jsonl", [text_row(), text_row(1)])
    load_pairs([path])
    compute_features(read_rows(path))
    assert sorted(one.name for one in user_cache().iterdir()) == ["digests", "features", "rows", "surveys"]
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.jsonl", "cache"]


def test_folder_of_shards_reads_the_split_in_order(tmp_path):
    for number, name in enumerate(["train-00000-of-2", "train-00001-of-2", "test-00000-of-1"]):
        write_rows([text_row(number)], tmp_path / "data" / f"{name}.parquet")
    assert [record["id"] for record in records(read_rows(tmp_path))] == ["t0", "t1"]
    assert [record["id"] for record in records(read_rows(tmp_path, split="test"))] == ["t2"]
    with pytest.raises(DataError, match="test, train"):
        read_rows(tmp_path, split="dev")


def hub_like(tmp_path):
    rows = {key: [value] for key, value in text_row(images=[Image.new("L", (4, 4))], day=date(2025, 1, 2)).items()}
    rows["prompt"] = [[{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a"}]}]]
    return datasets.Dataset.from_dict(rows)


def test_saved_folders_are_read_with_embedded_images(tmp_path):
    hub_like(tmp_path).save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"dev": hub_like(tmp_path)}).save_to_disk(tmp_path / "splits")
    for dataset in (read_rows(tmp_path / "one"), read_rows(tmp_path / "splits", split="dev")):
        (pair,) = pairs(dataset)
        assert load_image(pair.images[0]).size == (4, 4)
        assert pair.extra == {"day": "2025-01-02"}
    with pytest.raises(DataError, match="no split 'train'; found dev"):
        read_rows(tmp_path / "splits")


def test_saved_stored_rows_are_read_as_they_are(tmp_path):
    read = read_rows(write_lines(tmp_path / "a.jsonl", [text_row(group="7"), text_row(prompt=5)]))
    read.save_to_disk(tmp_path / "saved")
    assert list(iterate_rows(read_rows(tmp_path / "saved"))) == list(iterate_rows(read))


def test_hub_datasets_are_loaded_by_name(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("basereward.data.places._check_reachable", lambda name: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: asked.append(args) or hub_like(tmp_path))
    (pair,) = pairs(read_rows("owner/pairs", limit=5))
    assert asked == [("owner/pairs",)]
    assert pair.source == "owner/pairs"


def test_unreachable_hub_dataset_is_a_missing_file(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("basereward.data.places._check_reachable", lambda name: None)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(MissingFileError, match=r"owner/pairs.*no network"):
        read_rows("owner/pairs")


def test_concatenating_other_datasets_is_refused():
    with pytest.raises(DataError, match="read_rows"):
        concatenate([datasets.Dataset.from_dict({"a": [1]})])
    with pytest.raises(DataError, match="No dataset"):
        concatenate([])


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")
@pytest.mark.parametrize(
    ("name", "rows"), [("nlvr/test", 990), ("puzzlevqa/train", 1500), ("alpaca_eval/test", 1119), ("llmbar/test", 419)]
)
def test_real_files_are_read_whole(name, rows):
    path = SHARED / f"{name}.jsonl"
    found = records(read_rows(path))
    assert len(found) == rows
    raw = json.loads(path.read_text().splitlines()[0])
    assert raw.keys() <= found[0].keys()
    assert all(Path(image["path"]).is_file() for record in found for image in record["images"])


@pytest.mark.parametrize("extra", ["{broken", "[1]", "7"])
def test_extra_columns_that_are_no_object_make_a_malformed_row(tmp_path, extra):
    write_rows([text_row(0), text_row(1)], tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    place = table.column_names.index("extra_json")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array([None, extra])), tmp_path / "b.parquet")
    stored = read_rows(tmp_path / "b.parquet")
    assert compute_features(stored).reason.tolist()[0] == 0
    with pytest.raises(RowError, match="extra_json holds"):
        unpack_row(list(iterate_rows(stored))[1])
    assert compute_features(stored).reason.tolist()[1] != 0
