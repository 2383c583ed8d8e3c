"""Images of requests: encoded bytes within limits; a string is never taken for a path."""

import base64
import binascii
from typing import Any

from basereward.data.images import ImageLimits, image_size
from basereward.errors import RowError
from basereward.serving.fetching import Fetcher


class ImageReader:
    """Reads the images of one prompt.

    Args:
        limits: of each.
        max_pixels: of all together.
        fetcher: fetches images from the web, where that is allowed.
    """

    def __init__(self, limits: ImageLimits, max_pixels: int, fetcher: Fetcher) -> None:
        self._limits = limits
        self._left = max_pixels
        self._fetcher = fetcher

    def read(self, text: str) -> dict[str, Any]:
        """Return the bytes of base64, a data URI, or an address that may be fetched, as ``pack_image`` stores them.

        The size is read from the header here, so that nothing large is ever decoded.

        Raises:
            RowError: ``image_missing``, ``image_limit``, or as ``image_size``.
        """
        is_address = text.startswith(("https:", "http:"))
        data = self._fetcher.fetch(text) if is_address else _decode(text, self._limits)
        size = image_size(data, self._limits)
        self._left -= size.width * size.height
        if self._left < 0:
            raise RowError("image_limit", "All images of a prompt together have more pixels than the limit.")
        return {"bytes": data, "path": None}


def _decode(text: str, limits: ImageLimits) -> bytes:
    head, comma, body = text.partition(",")
    if text.startswith("data:"):
        if not comma or not head.endswith(";base64"):
            raise RowError("image_unreadable", "Expected a data URI with base64.")
        text = body
    # Before anything of that size is made: four characters hold three bytes.
    if len(text) * 3 > (limits.max_bytes + 3) * 4:
        raise RowError("image_limit", "The base64 of an image is longer than its limit of bytes.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        # A path, or base64 with something else in it.
        raise RowError("image_missing", "Expected base64 or a data URI.") from error
