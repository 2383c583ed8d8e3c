"""Every oddity of image files, made with Pillow: the right pixels, or an error with the right reason."""

import base64
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from basereward.data.images import ImageLimits, content_hash, image_size, load_image, pack_image, place_image
from basereward.errors import RowError


def picture(width=6, height=4):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, form="PNG", **options):
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def reason_of(source, limits=None, read=load_image):
    with pytest.raises(RowError) as caught:
        read(source, limits or ImageLimits())
    return caught.value.reason


def test_all_kinds_of_source_give_the_same_pixels(tmp_path):
    image, data = picture(), encoded(picture())
    path = tmp_path / "a.png"
    path.write_bytes(data)
    text = base64.b64encode(data).decode()
    sources = [path, str(path), f"file://{path}", data, text, f"data:image/png;base64,{text}", image]
    sources += [{"bytes": data, "path": None}, {"bytes": None, "path": str(path)}]
    for source in sources:
        loaded = load_image(source)
        assert loaded.mode == "RGB"
        assert loaded.tobytes() == image.tobytes()
        assert image_size(source) == image.size


def test_the_source_image_is_not_shared():
    image = picture()
    load_image(image).putpixel((0, 0), (1, 2, 3))
    assert image.tobytes() == picture().tobytes()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_loaded_picture_is_not_turned_again(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    once = load_image(encoded(Image.new("RGB", (32, 16)), form, exif=exif))
    assert once.size == load_image(once).size == image_size(once) == (16, 32)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied_to_pixels_and_size(orientation, form):
    stored = Image.new("RGB", (32, 16), "black")
    stored.paste((255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, form, exif=exif)
    loaded = load_image(data)
    assert loaded.size == image_size(data) == ((32, 16) if orientation < 5 else (16, 32))
    for opened in (
        Image.open(BytesIO(data)),
        Image.open(BytesIO(data)).copy(),
        Image.open(BytesIO(data)).convert("RGB"),
    ):
        assert load_image(opened).tobytes() == loaded.tobytes()
        assert image_size(opened) == loaded.size
    corner = {1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left"}
    corner |= {5: "top left", 6: "top right", 7: "bottom right", 8: "bottom left"}
    x = 2 if "left" in corner[orientation] else loaded.width - 3
    y = 2 if "top" in corner[orientation] else loaded.height - 3
    assert min(loaded.getpixel((x, y))) > 200


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_opaque_modes_become_rgb(mode):
    image = picture().convert(mode)
    assert load_image(image).tobytes() == image.convert("RGB").tobytes()


def test_cmyk_jpeg_keeps_its_colour():
    data = encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = load_image(data).getpixel((8, 8))
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(("mode", "clear"), [("RGBA", (10, 10, 10, 0)), ("LA", (10, 0)), ("PA", (1, 0))])
def test_transparent_pixels_become_white(mode, clear):
    image = Image.new(mode, (4, 4), clear)
    assert load_image(image).getpixel((1, 1)) == (255, 255, 255)


def test_half_transparent_black_becomes_grey():
    assert load_image(Image.new("RGBA", (4, 4), (0, 0, 0, 128))).getpixel((0, 0)) == (127, 127, 127)


def test_transparent_palette_colour_becomes_white():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 0)
    loaded = load_image(encoded(image, transparency=1))
    assert loaded.getpixel((1, 1)) == (255, 255, 255)
    assert loaded.getpixel((0, 0)) == (0, 0, 0)


def test_16_bit_grey_keeps_its_range():
    image = Image.fromarray(np.array([[0, 32896], [65535, 257]], dtype=np.uint16))
    values = np.asarray(load_image(encoded(image)))[..., 0]
    assert values.tolist() == [[0, 128], [255, 1]]


@pytest.mark.parametrize(
    ("values", "kind", "found"),
    [
        ([[0, 255]], np.uint16, "from 0 to 255"),
        ([[12, 1023]], np.uint16, "from 12 to 1023"),
        ([[0, 4095]], np.uint16, "from 0 to 4095"),
        ([[0, 255]], np.int32, "from 0 to 255"),
        ([[-1, 30000]], np.int32, "from -1 to 30000"),
        ([[0, 65536]], np.int32, "from 0 to 65536"),
    ],
)
def test_grey_of_another_range_than_16_bits_is_refused_with_what_was_found(values, kind, found):
    image = Image.fromarray(np.repeat(np.repeat(np.array(values, dtype=kind), 4, 0), 4, 1))
    pictures = [image] if kind == np.int32 else [image, encoded(image), {"bytes": encoded(image, "TIFF"), "path": None}]
    for picture in pictures:
        with pytest.raises(RowError, match=found) as caught:
            load_image(picture)
        assert caught.value.reason == "image_unreadable"


@pytest.mark.parametrize("highest", [0, 4096, 65535])
def test_grey_of_16_bits_is_read(highest):
    image = Image.fromarray(np.full((4, 4), highest, dtype=np.uint16))
    assert load_image(image).getpixel((1, 1)) == (highest // 257,) * 3


def test_float_pixels_are_refused():
    assert reason_of(Image.new("F", (4, 4))) == "image_unreadable"


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animation_is_refused(form):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert reason_of(data) == reason_of(data, read=image_size) == "image_animated"


def test_photograph_with_a_second_view_is_read():
    views = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    assert load_image(encoded(views[0], "MPO", save_all=True, append_images=views[1:])).getpixel((8, 8))[0] > 240


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_truncated_file_is_unreadable_though_its_header_is_fine(form, tmp_path):
    data = encoded(picture(64, 64), form)
    path = tmp_path / "cut"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RowError, match=str(path)) as caught:
        load_image(path)
    assert caught.value.reason == "image_unreadable"


@pytest.mark.parametrize("data", [b"", b"not an image", b"<svg/>", encoded(picture())[:20]])
def test_bytes_that_are_no_image_are_unreadable(data):
    assert reason_of(data) == reason_of(data, read=image_size) == "image_unreadable"


def test_missing_and_unusable_sources(tmp_path):
    assert reason_of(tmp_path / "none.png") == "image_missing"
    assert reason_of({"bytes": None, "path": None}) == "image_missing"
    assert reason_of("https://example.org/a.png") == "image_missing"
    assert reason_of(tmp_path) == "image_unreadable"
    assert reason_of("data:image/png;base64,%%%") == "image_unreadable"
    assert reason_of(7) == "image_unreadable"


@pytest.mark.parametrize("read", [load_image, image_size])
def test_limits_are_checked_from_the_header(read, tmp_path):
    assert reason_of(picture(1, 1), read=read) == "image_limit"
    assert reason_of(encoded(Image.new("L", (2, 402))), read=read) == "image_limit"
    assert image_size(Image.new("L", (2, 400))) == (2, 400)
    assert reason_of(encoded(picture(20, 20)), ImageLimits(max_pixels=399), read=read) == "image_limit"
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    assert reason_of(path, ImageLimits(max_bytes=50), read=read) == "image_limit"


@pytest.mark.parametrize("side", [11_500, 14_000])
def test_decompression_bomb_is_an_error_and_no_warning(side, recwarn):
    bomb = encoded(Image.new("1", (side, side)))
    assert reason_of(bomb) == "image_limit"
    assert not recwarn.list


def test_large_image_within_the_limit_gives_no_warning(recwarn):
    assert image_size(encoded(Image.new("1", (10_000, 10_000)))) == (10_000, 10_000)
    assert not recwarn.list


def test_content_hash_is_that_of_the_pixels():
    image = picture()
    assert content_hash(encoded(image, "PNG")) == content_hash(encoded(image, "BMP")) == content_hash(image)
    assert content_hash(image) != content_hash(image.transpose(Image.Transpose.ROTATE_180))
    assert content_hash(Image.new("RGB", (4, 6))) != content_hash(Image.new("RGB", (6, 4)))


def test_placed_bytes_keep_their_encoding_and_stand_once(tmp_path):
    data = encoded(picture(), "JPEG")
    names = {place_image(pack_image(data, tmp_path), tmp_path) for _ in range(2)}
    assert len(names) == 1
    path = tmp_path / names.pop()
    assert path.suffix == ".jpeg"
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_schema_and_images_need_neither_datasets_nor_torch():
    code = (
        "import sys, basereward.data.schema, basereward.data.images;"
        "assert not {'datasets', 'torch', 'pyarrow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)
