"""Embedded images go to disk once, and nothing but memory is different."""

import json
from pathlib import Path

import pytest

from basereward.benchmarks.embedded import put_images_on_disk
from basereward.benchmarks.items import build_items, items_fingerprint, survey, text_row
from basereward.data.schema import Video
from basereward.errors import DataError

CONTENTS = [b"one", b"two", b"one"]


def rows(images):
    """Rows that show one image each."""
    return [text_row(str(n), "s", "What?", ["yes"], ["no"], [image]) for n, image in enumerate(images)]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache folder."""
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_items_and_fingerprint_are_those_of_images_in_memory(cache):
    eager = build_items("x", rows([{"bytes": data, "path": f"{n}.png"} for n, data in enumerate(CONTENTS)]))
    lazy = build_items("x", map(put_images_on_disk, rows([{"bytes": data, "path": None} for data in CONTENTS])))
    assert [item.rows for item in lazy] == [item.rows for item in eager]
    assert len(lazy) == 2
    assert items_fingerprint(lazy) == items_fingerprint(eager)
    assert survey(lazy).missing == []
    assert all(image["bytes"] is None for item in lazy for image in item.images)
    assert sorted(path.read_bytes() for path in cache.rglob("*") if path.is_file()) == [b"one", b"two"]


def test_frames_go_to_disk_and_files_stay(cache):
    [row] = rows([{"bytes": None, "path": "a.png"}])
    assert put_images_on_disk(row) == row
    video = text_row("1", "s", "What?", ["yes"], ["no"], videos=[Video((b"frame", "b.png"), 2.0)])
    frames = put_images_on_disk(video).videos[0].frames
    assert Path(frames[0]["path"]).read_bytes() == b"frame"
    assert frames[1] == "b.png"


def test_a_damaged_copy_is_written_again(cache):
    [image] = put_images_on_disk(rows([b"one"])[0]).images
    Path(image["path"]).write_bytes(b"o")
    put_images_on_disk(rows([b"one"])[0])
    assert Path(image["path"]).read_bytes() == b"one"


def test_a_cache_that_cannot_be_written_is_named(cache):
    cache.write_text("no folder")
    with pytest.raises(DataError, match="BASEREWARD_CACHE"):
        put_images_on_disk(rows([b"one"])[0])


def test_the_fingerprint_follows_content_and_not_places(tmp_path):
    def fingerprint(folder, content):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "a.png").write_bytes(content)
        return items_fingerprint(build_items("x", rows([str(tmp_path / folder / "a.png")])))

    assert fingerprint("here", b"1") == fingerprint("there", b"1") != fingerprint("here", b"2")
    absent = [items_fingerprint(build_items("x", rows([f"{place}/a.png"]))) for place in ("/here", "/there")]
    assert absent[0] == absent[1]


@pytest.mark.parametrize(("notes", "revision"), [(["abc"], "abc"), (["abc", "abc"], "abc"), (["abc", "def"], None)])
def test_the_commit_of_a_downloaded_copy_is_read(notes, revision, tmp_path):
    from basereward.data.files import HubRepository, open_files

    place = tmp_path / "mine" / ".cache" / "huggingface" / "download"
    place.mkdir(parents=True)
    for number, commit in enumerate(notes):
        (place / f"{number}.json.metadata").write_text(f"{commit}\netag\n1.5\n")
    assert open_files("mine", HubRepository("me/mine", "MIT"), tmp_path).revision == revision


def test_a_snapshot_of_the_hub_tells_its_commit(tmp_path, monkeypatch):
    from basereward.data.files import HubRepository, open_files

    snapshot = tmp_path / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (snapshot / "x.json").write_text(json.dumps([]))
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **options: str(snapshot))
    assert open_files("mine", HubRepository("me/mine", "MIT"), None).revision == "0123abcd"
