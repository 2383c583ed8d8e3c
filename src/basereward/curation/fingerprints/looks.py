"""What may be done to a picture that still shows the same: borders cut off or added, mirrored, cropped, re-encoded."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

# How far from its own shade (of 255) nearly all of a border's lines may lie: a drawn one exactly, and one in a JPEG.
TRIMS = (4, 16)
_BORDER_SHARE, _BLOCK = 0.95, 32
# Parts of width and height that a centred crop may leave out, both sides together; hashes bridge half a step.
CUTS = tuple(step / 40 for step in range(1, 9))
# Two images are compared where both fit in a square of so many pixels, by means over windows of so many.
_COPY_SIDE, _LOOK_SIDE, _WINDOW = 224, 112, 7
# Copies of 1,100 drawings and photographs (JPEG of quality 30, half and double size) differ by at most 31 and 24 at
# these sides, 98 of 100 pairs of drawings of one template by more than 60 and 34.
_COPY_MOST, LOOK_MOST = 32.0, 24.0
# What encoding does to one outline it does to all. A difference above the least one is another digit or sign where it
# is so many times that of nine in ten outlines, in copies and in looks, which lie less exactly over each other.
_LOCAL_LEAST, _COPY_FACTOR, _LOOK_FACTOR = 8.0, 8.0, 16.0
# Shades by which outlines differ that lie over each other.
_FITTING = 2.0
# Shades that a place spans where there is an outline; parts of width and height where a border may be left.
_OUTLINE, _EDGE = 32, 0.08


class Look(NamedTuple):
    """One way in which a picture may come again.

    ``trimmed`` is how uneven a border may be that is cut off, 0 for none; ``cut`` the part of width and height that a
    centred crop leaves out.
    """

    trimmed: int = 0
    is_mirrored: bool = False
    cut: float = 0.0

    def of(self, image: Image.Image) -> Image.Image:
        """Return the image as it looks in this way."""
        seen = trim(image, self.trimmed) if self.trimmed else image
        if self.cut:
            seen = crop_centre(seen, self.cut)
        return ImageOps.mirror(seen) if self.is_mirrored else seen


# Pictures of rows are taken as they are and trimmed; those of items are looked for mirrored and cropped too.
ROW_LOOKS = (Look(), *map(Look, TRIMS))
ITEM_LOOKS = (
    *ROW_LOOKS,
    *(look._replace(is_mirrored=True) for look in ROW_LOOKS),
    *(Look(cut=cut) for cut in CUTS),
)


def trim(image: Image.Image, shades: int) -> Image.Image:
    """Return the image without borders of one shade each, however many lie around each other.

    An image that is nothing but border stays as it is.
    """
    grey = np.asarray(image.convert("L"), dtype=np.int16)
    height, width = grey.shape
    top, bottom, left, right = before = 0, height, 0, width
    while True:
        top += _border(grey[top:bottom, left:right], shades)
        bottom -= _border(grey[top:bottom, left:right][::-1], shades)
        left += _border(grey[top:bottom, left:right].T, shades)
        right -= _border(grey[top:bottom, left:right].T[::-1], shades)
        if bottom - top < 2 or right - left < 2:
            return image
        if (top, bottom, left, right) == before:
            break
        before = top, bottom, left, right
    return image if before == (0, height, 0, width) else image.crop((left, top, right, bottom))


def crop_centre(image: Image.Image, cut: float) -> Image.Image:
    """Return the middle of the image, ``cut`` of its width and height left out."""
    width, height = image.size
    left, top = round(width * cut / 2), round(height * cut / 2)
    return image.crop((left, top, max(width - left, left + 1), max(height - top, top + 1)))


def _border(lines: np.ndarray, shades: int) -> int:
    """Return how many lines at the beginning are of the first one's shade."""
    if not lines.size:
        return 0
    shade = np.median(lines[0])
    for start in range(0, len(lines), _BLOCK):
        is_near = np.abs(lines[start : start + _BLOCK] - shade) <= shades
        is_border = np.mean(is_near, axis=1) >= _BORDER_SHARE
        if not is_border.all():
            return start + int(np.argmin(is_border))
    return len(lines)


def is_copy(left: Image.Image, right: Image.Image) -> bool:
    """Return whether two images show the same but for encoding and size."""
    found = compare(left, right, _COPY_SIDE)
    return found.most <= _COPY_MOST and not found.is_local(_COPY_FACTOR)


def looks_same(left: Image.Image, right: Image.Image) -> bool:
    """Return whether two images show the same but for encoding, size and about one hundredth of their place."""
    if compare(left, right, _LOOK_SIDE).most > LOOK_MOST:
        return False
    return not compare(crop_centre(left, _EDGE), crop_centre(right, _EDGE), _COPY_SIDE).is_local(_LOOK_FACTOR)


def differs_in_one_place(left: Image.Image, right: Image.Image) -> bool:
    """Return whether the outlines of two images lie over each other but in one place: two drawings of one template."""
    found = compare(left, right, _COPY_SIDE)
    return found.usual <= _FITTING and found.is_local(_COPY_FACTOR)


def shrink(image: Image.Image) -> Image.Image:
    """Return the image no larger than comparing it with others needs, to be kept."""
    scale = 2 * _COPY_SIDE / max(image.size)
    if scale >= 1:
        return image
    return image.resize((max(1, round(scale * image.width)), max(1, round(scale * image.height))))


class PictureDifference(NamedTuple):
    """By how much two images differ, in [0, 255]: at most, and in nine of ten places with outlines."""

    most: float
    usual: float

    def is_local(self, factor: float) -> bool:
        """Return whether one place differs ``factor`` times as much as the outlines elsewhere."""
        return self.most > max(_LOCAL_LEAST, factor * (self.usual + 0.5))


def compare(left: Image.Image, right: Image.Image, side: int) -> PictureDifference:
    """Return by how much two images differ.

    JPEG and resizing leave every pixel within the range of its neighbours in the other copy, but for noise of a small
    mean; another digit, a moved block or another outline leaves whole strokes outside of it. So the mean over a window
    is taken of what lies outside the range of the 3 x 3 neighbouring pixels in the other image, both ways, in the
    colour channel with most of it.

    Args:
        side: both are compared at the size of the smaller one, or at this longest side.
    """
    smaller = min((left, right), key=lambda image: image.width * image.height)
    scale = min(1.0, side / max(smaller.size))
    size = (max(1, round(smaller.width * scale)), max(1, round(smaller.height * scale)))
    first, second = (np.asarray(image.convert("RGB").resize(size), dtype=np.int16) for image in (left, right))
    ranges = [_range(values) for values in (first, second)]
    outside = np.maximum(_beyond(first, ranges[1]), _beyond(second, ranges[0])).max(axis=2)
    is_outline = np.maximum(*(high - low for low, high in ranges)).max(axis=2) > _OUTLINE
    means, outlines = _window_means(outside), _window_means(is_outline) > 0.3
    usual = np.percentile(means[outlines], 90) if outlines.any() else 0.0
    return PictureDifference(float(means.max()), float(usual))


def _window_means(values: np.ndarray) -> np.ndarray:
    window = min(_WINDOW, *values.shape)
    sums = np.pad(values.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    boxes = sums[window:, window:] - sums[:-window, window:] - sums[window:, :-window] + sums[:-window, :-window]
    return boxes / window**2


class _Range(NamedTuple):
    """The lowest and highest of the 3 x 3 values around each place."""

    low: np.ndarray
    high: np.ndarray


def _range(values: np.ndarray) -> _Range:
    low, high = values, values
    for axis in (0, 1):
        low, high = _spread(low, axis, np.minimum), _spread(high, axis, np.maximum)
    return _Range(low, high)


def _beyond(values: np.ndarray, around: _Range) -> np.ndarray:
    """Return how far each value lies outside the range around its place."""
    return np.maximum(np.maximum(around.low - values, values - around.high), 0)


def _spread(values: np.ndarray, axis: int, extreme: np.ufunc) -> np.ndarray:
    lines = np.pad(values, [(1, 1) if place == axis else (0, 0) for place in range(3)], mode="edge").swapaxes(0, axis)
    return extreme(extreme(lines[:-2], lines[1:-1]), lines[2:]).swapaxes(0, axis)
