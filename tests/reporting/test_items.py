"""Items inside a page: never more than the page may hold, never markup, images once."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from basereward.reporting import html
from basereward.reporting import items as embedding
from basereward.reporting.documents import Document
from basereward.reporting.html import PAGE_BYTES, render
from basereward.reporting.items import Card, CardList, ShownAnswer, embed_items
from basereward.reporting.thumbnails import Thumbnail

ATTACK = "</script><!-- <script>alert('x')</script> \ud800 é"


def make_list(count: int, text: str = "Yes.", images: int = 0) -> CardList:
    items = [
        Card(
            row,
            str(row),
            "a",
            "wrong",
            -1.0,
            "Why?",
            (ShownAnswer("correct", text, (0.5,)), ShownAnswer("rejected", "No.", (None,))),
            tuple(Path(f"{row}-{number}.png") for number in range(images)),
        )
        for row in range(count)
    ]
    return CardList("Rows", items, "the rule", ("model",))


@pytest.fixture
def large_thumbnails(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every thumbnail takes 100 kB; the list tells which were made."""
    made: list[Path] = []

    def make(path: Path) -> Thumbnail:
        made.append(path)
        return Thumbnail("data:image/png;base64," + "A" * 100_000, 256, 256)

    monkeypatch.setattr(embedding, "make_thumbnail", make)
    return made


def test_a_page_is_never_larger_than_30_megabytes(large_thumbnails: list[Path]) -> None:
    page = render(Document("on", "bench", items=make_list(400, images=1)))
    assert PAGE_BYTES == 30_000_000
    assert PAGE_BYTES - 110_000 < len(page.encode()) <= PAGE_BYTES
    [shown] = re.findall(r"(\d+) of 400; the other \d+ would make this page larger than 30 MB: the rule", page)
    assert 290 < int(shown) < 300
    # What does not fit is not even read.
    assert len(large_thumbnails) == int(shown) + 1


def test_the_rest_of_the_page_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "PAGE_BYTES", 60_000)
    document = Document("on", "bench", items=make_list(1000, text="é<" * 100), recipe="x" * 20_000)
    page = render(document)
    assert 59_000 < len(page.encode()) <= 60_000
    small = render(dataclasses.replace(document, items=make_list(2)))
    assert "larger than" not in small


@pytest.mark.parametrize("limit", [200, 500, 1000, 3000])
def test_the_limit_holds_to_the_byte_and_items_keep_their_order(limit: int) -> None:
    listed = make_list(20, text=ATTACK)
    embedded = embed_items(listed, limit)
    assert len(embedded.text.encode("utf-8", "replace")) <= limit
    assert [item["row"] for item in json.loads(embedded.text)["items"]] == list(range(embedded.shown))
    one_more = embed_items(dataclasses.replace(listed, items=listed.items[: embedded.shown + 1]), 10**6)
    assert len(one_more.text.encode("utf-8", "replace")) + 2 > limit


def test_no_text_ends_the_script_or_begins_a_comment() -> None:
    embedded = embed_items(make_list(1, text=ATTACK), 10**6)
    assert "<" not in embedded.text
    assert json.loads(embedded.text)["items"][0]["answers"][0][1] == ATTACK
    page = render(Document("on", "bench", items=make_list(1, text=ATTACK)))
    assert page.count("</script>") == 2


def test_an_image_of_several_items_is_there_once(large_thumbnails: list[Path]) -> None:
    listed = make_list(3)
    shared = [dataclasses.replace(item, images=(Path("a.png"), Path(f"{item.row}.png"))) for item in listed.items]
    data = json.loads(embed_items(dataclasses.replace(listed, items=shared), 10**6).text)
    assert [item["images"] for item in data["items"]] == [[0, 1], [0, 2], [0, 3]]
    assert len(data["images"]) == len(large_thumbnails) == 4


def test_a_missing_image_keeps_its_place(large_thumbnails: list[Path]) -> None:
    listed = make_list(1)
    lost = [dataclasses.replace(item, images=(None, Path("a.png"))) for item in listed.items]
    data = json.loads(embed_items(dataclasses.replace(listed, items=lost), 10**6).text)
    assert data["items"][0]["images"] == [None, 0]
    assert large_thumbnails == [Path("a.png")]
