"""What a server allows: where it listens, how much it holds at once, and how large a request may be."""

import os

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from basereward.configuration import Section
from basereward.data.images import ImageLimits

MIB = 2**20


class RequestLimits(Section):
    """What one request may hold; more of it is refused or fails, and nothing is cut."""

    max_body_bytes: PositiveInt = 32 * MIB
    """Bytes of a body, base64 of images included."""
    max_groups: PositiveInt = 256
    """Prompts in a request."""
    max_responses: PositiveInt = 256
    """Responses to one prompt."""
    max_characters: PositiveInt = 1_000_000
    """Characters of a prompt and all its responses."""
    max_tokens: PositiveInt = 32_768
    """Tokens of a prompt with one response, those of images included; the model's own limit holds as well."""
    max_images: PositiveInt = 32
    """Images of a prompt."""
    max_frames: PositiveInt = 128
    """Frames of all videos of a prompt."""
    max_image_bytes: PositiveInt = 16 * MIB
    """Bytes of an image or frame as it is sent."""
    max_pixels: PositiveInt = 40_000_000
    """Pixels of an image or frame, read from its header before it is decoded."""

    max_total_pixels: PositiveInt = 160_000_000
    """Pixels of all images and frames of a prompt: they are in memory together while they are encoded."""
    max_messages: PositiveInt = 4096
    """Messages and parts of a prompt, and of each response."""

    @property
    def image(self) -> ImageLimits:
        """What an image or frame may be."""
        return ImageLimits(max_bytes=self.max_image_bytes, max_pixels=self.max_pixels)


class ServeSettings(Section):
    """How a server runs, beside the address and the key that it is given."""

    limits: RequestLimits = Field(default_factory=RequestLimits)
    """What one request may hold."""
    max_requests: PositiveInt = 256
    """Requests that are read, queued or computed at once; the next one is answered 429."""
    max_pending_bytes: PositiveInt = 512 * MIB
    """Bytes of the bodies of all these requests together."""
    deadline: PositiveFloat = 120.0
    """Seconds after which a request is given up and answered 504; a client may ask for fewer."""
    drain: NonNegativeFloat = 60.0
    """Seconds that SIGTERM leaves for what is in flight; what is cut then is answered 503."""
    company: NonNegativeFloat = 0.01
    """Seconds that an idle computing thread waits for requests that are being read, so that they share a batch."""
    threads: PositiveInt = Field(default_factory=lambda: min(8, os.cpu_count() or 1))
    """Threads that parse, decode and encode; one more computes."""
    row_tokens: PositiveInt = 16_384
    """Memory cap of one packed row, in tokens."""
    image_cache_bytes: PositiveInt = 512 * MIB
    """Encoded images that are kept, to be used again."""
    text_cache_bytes: PositiveInt = 64 * MIB
    """Encoded texts that are kept, to be used again."""
    url_hosts: tuple[str, ...] = ()
    """Hosts from which images may be fetched, over https alone; none by default."""
