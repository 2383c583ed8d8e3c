"""A picture stands upright whichever way it comes: as file, bytes, or PIL image, read already or not, copied or not."""

import copy
import pickle
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from basereward.data.images import image_size, load_image

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/></rdf:RDF></x:xmpmeta>'
)


def exif(orientation):
    found = Image.Exif()
    found[ExifTags.Base.Orientation] = orientation
    return found


def png(picture, orientation, place):
    """A PNG with its EXIF before or behind the pixels."""
    file = BytesIO()
    picture.save(file, "PNG")
    raw, content = file.getvalue(), exif(orientation).tobytes()[6:]
    chunk = struct.pack(">I", len(content)) + b"eXIf" + content + struct.pack(">I", zlib.crc32(b"eXIf" + content))
    return raw[:place] + chunk + raw[place:]


def encoded(picture, kind, orientation):
    file = BytesIO()
    if kind == "png, early":
        return png(picture, orientation, 33)
    if kind == "png, late":
        return png(picture, orientation, -12)
    if kind == "png, xmp":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.format(orientation))
        picture.save(file, "PNG", pnginfo=info)
    elif kind == "jpeg, xmp":
        picture.save(file, "JPEG", xmp=XMP.format(orientation).encode(), quality=95)
    else:
        options = {"WEBP": {"lossless": True}}.get(kind, {})
        picture.save(file, kind, exif=exif(orientation), **options)
    return file.getvalue()


def loaded(source):
    source.load()
    return source


FORMS = {
    "opened": lambda data: Image.open(BytesIO(data)),
    "read": lambda data: loaded(Image.open(BytesIO(data))),
    "copied": lambda data: Image.open(BytesIO(data)).copy(),
    "converted": lambda data: Image.open(BytesIO(data)).convert("RGB"),
    "pickled": lambda data: pickle.loads(pickle.dumps(loaded(Image.open(BytesIO(data))))),
    "deep copied": lambda data: copy.deepcopy(loaded(Image.open(BytesIO(data)))),
    "turned by hand": lambda data: ImageOps.exif_transpose(Image.open(BytesIO(data))),
}
KINDS = ("JPEG", "TIFF", "WEBP", "png, early", "png, late", "png, xmp", "jpeg, xmp")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_every_form_is_turned_alike(kind, orientation, tmp_path, picture):
    data = encoded(picture(64, 40), kind, orientation)
    (tmp_path / "image").write_bytes(data)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    assert upright.shape == ((64, 40, 3) if orientation == 6 else (40, 64, 3))
    for source in (tmp_path / "image", data, *(form(data) for form in FORMS.values())):
        assert np.array_equal(np.asarray(load_image(source)), upright)
        assert image_size(source) == upright.shape[1::-1]


def test_the_size_of_a_png_is_known_without_decoding_it(picture, monkeypatch):
    data = encoded(picture(64, 40), "png, late", 6)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    assert image_size(data) == (40, 64)


def test_a_png_of_many_chunks_or_cut_short_stays_as_it_is(picture):
    whole = encoded(picture(64, 40), "png, late", 6)
    empty = struct.pack(">I", 0) + b"teXt" + struct.pack(">I", zlib.crc32(b"teXt"))
    assert image_size(whole[:-12] + empty * 100_001 + whole[-12:]) == (40, 64)
    assert image_size(whole[:-40] + empty * 100_001) == (64, 40)
    assert image_size(whole[:60]) == (64, 40)
