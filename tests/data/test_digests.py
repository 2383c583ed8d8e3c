"""Images as text: equal bytes are equal wherever they lie, and what cannot be read has no digest."""

import base64
import hashlib
from io import BytesIO

import pytest
from PIL import Image

from basereward.data.cache import user_cache
from basereward.data.digests import file_digest, image_digest, image_key


@pytest.fixture
def png(picture):
    """An encoded image."""
    file = BytesIO()
    picture(60, 60, 3).save(file, "PNG")
    return file.getvalue()


def test_equal_bytes_have_one_digest_in_every_form(tmp_path, png):
    path = tmp_path / "a.png"
    path.write_bytes(png)
    expected = hashlib.sha256(png).hexdigest()
    forms = [
        png,
        path,
        str(path),
        f"file://{path}",
        {"bytes": png, "path": "elsewhere.png"},
        {"bytes": None, "path": str(path)},
        {"bytes": None, "path": "gone.png", "sha256": expected},
        f"data:image/png;base64,{base64.b64encode(png).decode()}",
    ]
    assert {image_digest(form) for form in forms} == {expected} == {file_digest(path)}
    path.write_bytes(png[:-1])
    assert image_digest(path) != expected


@pytest.mark.parametrize("image", ["absent.png", {"bytes": None, "path": "absent.png"}, "http://x/y.png", "data:,%%%"])
def test_what_cannot_be_read_has_no_digest(image):
    assert image_digest(image) is None


def test_a_key_reads_no_file(picture, png):
    assert image_key("absent.png") == image_key({"bytes": None, "path": "absent.png"}) == "absent.png"
    assert image_key(png) == image_key({"bytes": png, "path": None}) == image_digest(png)
    assert image_key(picture(8, 8, 1)) == image_key(picture(8, 8, 1)) != image_key(picture(8, 8, 2))


def test_the_cache_folder_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path))
    assert user_cache() == tmp_path
    monkeypatch.delenv("BASEREWARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "basereward"


def test_pictures_that_differ_beside_their_pixels_are_told_apart():
    indexed = [Image.new("P", (8, 8), 1) for _ in range(2)]
    for one, colors in zip(indexed, ([0, 0, 0, 255, 0, 0], [0, 0, 0, 0, 0, 255]), strict=True):
        one.putpalette(colors)
    assert image_key(indexed[0]) != image_key(indexed[1])
    plain, seen_through, turned = (Image.new("RGB", (8, 8), (9, 9, 9)) for _ in range(3))
    seen_through.info["transparency"] = (9, 9, 9)
    turned.getexif()[0x0112] = 6
    assert len({image_key(plain), image_key(seen_through), image_key(turned)}) == 3
