"""Pictures of any mode in RGB."""

import numpy as np
from PIL import Image

# Pictures of 8, 10 or 12 bits are often stored in the lowest bits of 16; read as 16 they would be black.
_DARKEST = 4095


def _wide_grey(image: Image.Image) -> np.ndarray:
    """Return the grey values of a picture with more than 8 bits, of [0, 65535].

    Raises:
        ValueError: they have another range, so that the picture would be nearly black, or cut off.
    """
    values = np.asarray(image)
    low, high = int(values.min()), int(values.max())
    # What is black all over is black in any range.
    if low < 0 or high > 65535 or 0 < high <= _DARKEST:
        raise ValueError(
            f"grey values from {low} to {high} where white is 65535 ({image.mode}); scale them, or save 8 bits"
        )
    return values


def to_rgb(image: Image.Image) -> Image.Image:
    """Return a picture of any mode as a new one in RGB, on white where it was transparent.

    Raises:
        ValueError: its values have no known range.
    """
    if image.mode.startswith("I"):
        return Image.fromarray((_wide_grey(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("pixels are floats without a known range; save the picture with 8 bits")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    # A new image even from RGB: the caller must neither change the source nor keep its file open.
    return image.copy() if image.mode == "RGB" else image.convert("RGB")
