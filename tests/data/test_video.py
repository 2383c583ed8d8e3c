"""Videos as lists of frames: read, written, measured, and dropped with a reason."""

import json

import pytest
from PIL import Image

from basereward.data.pairs import load_pairs, pair_row
from basereward.data.parsing import parse_pair
from basereward.data.place_rows import open_rows
from basereward.data.schema import Video
from basereward.data.storage import write_rows
from basereward.data.survey import survey


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def frames(tmp_path):
    """``frames(number, width, height)``: paths of pictures."""

    def make(number, width=64, height=96):
        names = [f"{width}x{height}-{place}.png" for place in range(number)]
        for place, name in enumerate(names):
            Image.new("RGB", (width, height), (place, 0, 0)).save(tmp_path / name)
        return names

    return make


def row(name, videos, parts=None, **changes):
    kinds = ["video"] * len(videos) if parts is None else parts
    content = [{"type": kind} for kind in kinds] + [{"type": "text", "text": "What happens?"}]
    spoken = {"prompt": [{"role": "user", "content": content}], "chosen": "yes", "rejected": "no, nothing"}
    return {"id": name, "videos": videos, **spoken, **changes}


@pytest.fixture
def file(tmp_path, frames):
    rows = [
        row("two", [{"frames": frames(4), "fps": 2.0}, {"frames": frames(3, 80, 56), "fps": None}]),
        row("none", [], parts=[]),
        row("mixed", [{"frames": frames(2), "fps": 1}], parts=["image", "video"], images=frames(1, 56, 56)),
        row("count", [{"frames": frames(2), "fps": 1}], parts=[]),
        row("empty", [{"frames": [], "fps": 1}]),
        row("rate", [{"frames": frames(2), "fps": -1}]),
        row("sizes", [{"frames": frames(1) + frames(1, 80, 56), "fps": 1}]),
        row("missing", [{"frames": ["nowhere.png"], "fps": 1}]),
        row("form", [{"fps": 1}]),
        row("one", [{"frames": frames(1), "fps": 1}]),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_usable_rows_are_kept_and_bad_ones_counted(file):
    loaded = load_pairs([file])
    assert [pair.id for pair in loaded.pairs] == ["two", "none", "mixed", "one"]
    assert loaded.ledger.counts == {"placeholder_count": 1, "video": 3, "image_missing": 1, "malformed": 1}
    assert [video.fps for video in loaded.pairs[0].videos] == [2.0, None]
    assert [len(video.frames) for video in loaded.pairs[0].videos] == [4, 3]
    assert [pair.is_multimodal for pair in loaded.pairs] == [True, False, True, True]
    sizes = [loaded.sidecar.videos(place) for place in range(4)]
    assert sizes == [((4, 64, 96), (3, 80, 56)), (), ((2, 64, 96),), ((1, 64, 96),)]
    assert [loaded.sidecar.sizes(place) for place in range(4)] == [(), (), ((56, 56),), ()]


def test_what_is_found_of_videos_is_kept(file):
    first, again = (survey(open_rows(file), "full").sidecar for _ in range(2))
    assert [again.media(place) for place in range(10)] == [first.media(place) for place in range(10)]
    chosen = again.select([2, 0])
    assert [chosen.videos(place) for place in range(2)] == [first.videos(2), first.videos(0)]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_videos_survive_writing(file, suffix, tmp_path):
    pairs = load_pairs([file]).pairs
    target = tmp_path / "copy" / f"rows.{suffix}"
    assert write_rows(map(pair_row, pairs), target) == 4
    again = load_pairs([target])
    assert not again.ledger.total
    assert [[(len(video.frames), video.fps) for video in pair.videos] for pair in again.pairs] == [
        [(4, 2.0), (3, None)],
        [],
        [(2, 1.0)],
        [(1, 1.0)],
    ]
    assert again.sidecar.videos(0) == ((4, 64, 96), (3, 80, 56))


def test_videos_of_responses_go_to_groups_of_their_own():
    spoken = {name: [{"role": "assistant", "content": [{"type": "video"}]}] for name in ("chosen", "rejected")}
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "video"}, {"type": "text", "text": "Like it?"}]}]
    videos = [{"frames": [f"{name}.png"], "fps": 1} for name in "abc"]
    pair = parse_pair({"prompt": prompt, **spoken, "videos": videos, "images": ["d.png"]}, "0")
    first, second = pair.comparison().groups
    assert first.images == second.images == ("d.png",)
    assert first.videos == (Video(("a.png",), 1), Video(("b.png",), 1))
    assert second.videos == (Video(("a.png",), 1), Video(("c.png",), 1))
