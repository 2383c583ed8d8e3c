"""Rows are read where they lie, and are those that a whole reading gives; what was found is kept by content alone."""

import io
import json
import os
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from basereward.data import content, parts
from basereward.data.arrangement import ReadOptions
from basereward.data.held import ShardImage
from basereward.data.pairs import load_pairs
from basereward.data.place_rows import open_rows
from basereward.data.places import iterate_rows
from basereward.data.reader import Reader
from basereward.data.rows import STORED_KEYS, pack_row, pair_features, row_images
from basereward.data.shards import write_shards
from basereward.data.storage import read_rows
from basereward.data.survey import survey
from basereward.errors import DataError

SHOWN = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What?"}]}]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


def picture(number: int) -> bytes:
    file = io.BytesIO()
    shades = np.random.default_rng(number).integers(0, 256, (40, 40 + number), dtype=np.uint8)
    Image.fromarray(shades).save(file, "PNG")
    return file.getvalue()


def text_row(number: int, **changes):
    told = {
        "id": f"r{number}",
        "source": f"s{number % 2}",
        "prompt": f"Why {number}?",
        "chosen": "So.",
        "rejected": "No.",
    }
    return {**told, **changes}


def image_row(number: int, **changes):
    return text_row(number, prompt=SHOWN, images=[{"bytes": picture(number), "path": f"{number}.png"}], **changes)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stored(tmp_path):
    """Shards of ours: images that are found as they are, one of them twice, a text, a video, an odd and a bad row."""
    rows = [image_row(number) for number in range(5)]
    rows += [{**rows[0], "id": "again"}, text_row(5), text_row(6, chosen="No."), text_row(7, ground_truth="7")]
    frames = [{"bytes": picture(number), "path": None} for number in (1, 1)]
    prompt = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What?"}]}]
    rows.append(text_row(9, prompt=prompt, videos=[{"frames": frames, "fps": 2.0}]))
    packed = [pack_row(row, tmp_path) for row in rows]
    folder = tmp_path / "shards"
    folder.mkdir()
    for row in packed:
        del row["read_error"]
    list(write_shards([[row] for row in packed[:7]], folder, pair_features(decode=True)))
    list(write_shards([[row] for row in packed[7:]], folder, pair_features(decode=True), first=1))
    return folder


def foreign(tmp_path):
    """Columns of another layout, compressed, in several row groups, an image of a file and a row without any."""
    Image.new("RGB", (30, 50)).save(tmp_path / "own.png")
    images = [[{"bytes": picture(number), "path": None}] for number in range(4)]
    images += [[{"bytes": None, "path": "own.png"}], [], None]
    asked = [SHOWN[0]["content"][1]["text"]] * 7
    table = pa.table(
        {
            "question": [("<image>" if own else "") + text for own, text in zip(images, asked, strict=True)],
            "images": pa.array(images, pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))),
            "chosen": ["yes"] * 7,
            "rejected": ["no"] * 6 + ["yes"],
        }
    )
    pq.write_table(table, tmp_path / "foreign.parquet", row_group_size=3, compression="zstd")
    return tmp_path / "foreign.parquet"


def rankings(tmp_path):
    """Records that give several pairs, one, and none that can be read."""
    rows = [{"prompt": f"Why {n}?", "responses": [f"a{n}", f"b{n}", f"c{n}"], "scores": [3, 2, 1]} for n in range(20)]
    rows[3] |= {"responses": ["a", "b"], "scores": [2, 1]}
    rows[5] |= {"scores": [1, 1, None]}
    return write_lines(tmp_path / "ranked.jsonl", rows)


def lines(tmp_path):
    """Lines with empty ones between them, and images of files."""
    Image.new("RGB", (30, 50)).save(tmp_path / "own.png")
    path = write_lines(tmp_path / "rows.jsonl", [text_row(n) for n in range(40)])
    shown = [text_row(n, prompt=SHOWN, images=["own.png" if n % 2 else "none.png"]) for n in range(40, 50)]
    path.write_text(path.read_text() + "\n\n" + "".join(json.dumps(row) + "\n" for row in shown))
    return path


PLACES = {
    "stored": (stored, None),
    "foreign": (foreign, ReadOptions(map={"prompt": "question"})),
    "rankings": (rankings, None),
    "lines": (lines, None),
}


def read(image):
    return {"bytes": image["bytes"], "path": image["path"]}


def plain(row):
    # Arrow gives a part without a text an empty one.
    texts = {name: json.dumps(row.get(name)) for name in STORED_KEYS if name not in ("images", "videos")}
    texts = {name: json.loads(text.replace(', "text": null', "")) for name, text in texts.items()}
    return texts, [read(image) for image in row_images(row)]


@pytest.mark.parametrize("name", PLACES)
def test_rows_and_columns_are_those_of_a_whole_reading(name, tmp_path):
    make, options = PLACES[name]
    path = make(tmp_path)
    whole = [plain(row) for row in iterate_rows(read_rows(path, options=options))]
    rows = open_rows(path, options=options)
    survey(rows)
    rows = pickle.loads(pickle.dumps(rows))
    assert len(rows) == len(whole)
    for number in [*reversed(range(len(whole))), 0]:
        assert plain(rows.row(number)) == whole[number]
    for columns in (["id", "source"], ["prompt", "chosen", "rejected", "read_error"]):
        found = pa.concat_tables([table.select(columns) for table in rows.tables(columns)]).to_pylist()
        assert [plain({**row, "images": [], "videos": []})[0] for row in found] == [
            {name: told[name] if name in columns else None for name in told} for told, _ in whole
        ]
    counts = [len(own or []) for table in rows.tables(["images"]) for own in table.column("images").to_pylist()]
    videos = [len(own or []) for table in rows.tables(["videos"]) for own in table.column("videos").to_pylist()]
    assert [a + 2 * b for a, b in zip(counts, videos, strict=True)] == [len(images) for _, images in whole]


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("limit", [1, 4, 1000])
def test_a_limit_gives_the_first_rows(name, limit, tmp_path):
    make, options = PLACES[name]
    path = make(tmp_path)
    whole = survey(every := open_rows(path, options=options))
    first = survey(rows := open_rows(path, limit=limit, options=options))
    assert len(rows) == min(limit, len(every))
    assert first.problems == {row: one for row, one in whole.problems.items() if row < limit}
    assert sum(first.sources.values()) == len(rows)
    assert first.sidecar.shown.tolist() == whole.sidecar.shown[:limit].tolist()
    assert sum(len(table) for table in rows.tables(["id"])) == len(rows)


def test_images_of_our_shards_are_read_by_themselves(tmp_path, monkeypatch):
    rows = open_rows(stored(tmp_path))
    survey(rows)
    [image] = rows.row(5)["images"]
    assert isinstance(image, ShardImage)
    assert image.place.start > 0
    monkeypatch.setattr("basereward.data.held.read_group", lambda *_: pytest.fail("a whole row group is read"))
    assert image["bytes"] == picture(0)
    assert not [row for row in (0, 3, 5) if rows.records.places["images.list.element.bytes"].of(0, row).start < 0]


def test_a_second_start_reads_neither_rows_nor_images(tmp_path, monkeypatch):
    path, other = stored(tmp_path), lines(tmp_path)
    first = load_pairs([path, other])
    for name in ("place_rows.open_reader", "spans.read_batches", "spans.read_lines", "content.file_digest"):
        monkeypatch.setattr(f"basereward.data.{name}", lambda *_, **__: pytest.fail("the data are read"))
    # The digests of files that have just been written are not trusted, nor are problems of images of files.
    monkeypatch.setattr(content, "_TICK", -(10**18))
    monkeypatch.setattr("basereward.data.survey._look_again", lambda sidecar, rows: sidecar)
    again = load_pairs([path, other])
    assert again.ledger == first.ledger
    assert again.read == first.read
    assert again.pairs.rows == first.pairs.rows
    assert again.sidecar.fingerprint == first.sidecar.fingerprint


def changed_bytes(path):
    before = path.stat()
    path.write_text(path.read_text().replace("So.", "No."))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", [text_row(0), text_row(1)])
    assert len(load_pairs([path]).pairs) == 2
    changed_bytes(path)
    with pytest.raises(DataError, match="equal_responses 2"):
        load_pairs([path])


def test_a_state_taken_within_moments_of_a_change_is_not_trusted(tmp_path, monkeypatch):
    path = write_lines(tmp_path / "a.jsonl", [text_row(0)])
    state, [digest] = content.file_state(path), content.content_digests([path])
    changed_bytes(path)
    # As on a file system whose clock has not moved since.
    monkeypatch.setattr(content, "file_state", lambda _: state)
    assert content.content_digests([path]) != [digest]


def test_names_order_and_options_make_other_data(tmp_path):
    first, second = (write_lines(tmp_path / f"{name}.jsonl", [text_row(number)]) for number, name in enumerate("ab"))
    told = {load_pairs([first, second]).sidecar.fingerprint, load_pairs([second, first]).sidecar.fingerprint}
    told |= {load_pairs([first], limit=1).sidecar.fingerprint, load_pairs([first]).sidecar.fingerprint}
    told.add(
        load_pairs(
            [first], options=ReadOptions(map={"answer": "chosen", "chosen": "rejected", "rejected": "chosen"})
        ).sidecar.fingerprint
    )
    first.rename(tmp_path / "c.jsonl")
    told.add(load_pairs([tmp_path / "c.jsonl"]).sidecar.fingerprint)
    assert len(told) == 6
    # A content that comes back under its name is known again.
    (tmp_path / "c.jsonl").rename(first)
    assert load_pairs([first]).sidecar.fingerprint in told


def test_shards_in_another_order_are_other_data(tmp_path):
    folder = stored(tmp_path)
    before = [pair.id for pair in load_pairs([folder]).pairs]
    for old, new in (("shard-00000", "x"), ("shard-00001", "shard-00000"), ("x", "shard-00001")):
        (folder / f"{old}.parquet").rename(folder / f"{new}.parquet")
    assert [pair.id for pair in load_pairs([folder]).pairs] == [*before[-2:], *before[:-2]]


@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_changes_in_a_run_is_noticed_where_it_is_read(is_open, tmp_path):
    pairs = load_pairs([stored(tmp_path)]).pairs
    image = pairs[1].images[0] if is_open else None
    assert image is None or image["bytes"] == picture(1)
    path = tmp_path / "shards" / "shard-00000.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="changed since the work began"):
        image["bytes"] if is_open else pairs[0]


def test_a_pass_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    path = write_lines(tmp_path / "a.jsonl", [text_row(number) for number in range(1000)])
    monkeypatch.setattr(parts, "_SAVE_SECONDS", 0.0)
    done, read_one = [], Reader.read

    def read(self, record, name):
        if name.endswith("-700"):
            raise KeyboardInterrupt
        done.append(name)
        return read_one(self, record, name)

    with monkeypatch.context() as patch:
        patch.setattr(Reader, "read", read)
        with pytest.raises(KeyboardInterrupt):
            load_pairs([path])
    monkeypatch.setattr(Reader, "read", lambda self, record, name: done.append(name) or read_one(self, record, name))
    done.clear()
    loaded = load_pairs([path])
    assert len(loaded.pairs) == 1000
    numbers = {int(name.rpartition("-")[2]) for name in done if name}
    assert min(numbers) == 512
    assert not list((tmp_path / "cache" / "surveys").glob("*.partial"))


def test_what_was_kept_and_is_damaged_is_made_again(tmp_path):
    path = stored(tmp_path)
    rows = load_pairs([path]).pairs.rows
    [kept] = (tmp_path / "cache" / "surveys").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:-50])
    assert load_pairs([path]).pairs.rows == rows
