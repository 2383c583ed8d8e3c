"""A prompt with responses to score, as a record gives it: read by the same rules as a pair."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basereward.data.formats.conversations import Branches
from basereward.data.formats.format import file_pair
from basereward.data.images import pack_images, pack_videos
from basereward.data.media import locate_image
from basereward.data.messages import parse_messages
from basereward.data.parsing import check_placeholders, parse_response, parse_videos
from basereward.data.schema import PartType, Response, ResponseGroup, count_parts, response_id, task_of
from basereward.errors import RowError

_KINDS: tuple[PartType, ...] = ("image", "video")


def parse_group(record: Mapping[str, Any], name: str, folder: Path) -> ResponseGroup:
    """Return the group of a record with ``prompt``, ``responses`` and, where there are any, ``images`` and ``task``.

    Args:
        record: responses are texts or lists of messages.
        name: id of the group.
        folder: relative paths of images are resolved against it.

    Raises:
        RowError: ``malformed``, also for responses with media of their own, or ``placeholder_count``.
    """
    responses = record.get("responses")
    if not isinstance(responses, list):
        raise RowError("malformed", f"Row {name!r}: expected a list under 'responses', found {responses!r:.200}.")
    if record.get("prompt") is None:
        raise RowError("malformed", f"Row {name!r} has no prompt; expected prompt and responses.")
    # Read as a pair whose responses do not matter: all rules for prompts, images and what would be lost are the same.
    pair = file_pair(record, name, Branches(record["prompt"], "", ""), (), marks=False)
    images = [locate_image(image, folder) for image in pair["images"]]
    answers = [parse_response(answer) for answer in responses]
    if found := [kind for kind in _KINDS if any(count_parts(answer, kind) for answer in answers)]:
        raise RowError("malformed", f"Row {name!r}: a response holds {found[0]} parts; give such responses as pairs.")
    prompt = parse_messages(pair["prompt"], "user")
    videos = parse_videos(pack_videos(pair.get("videos"), folder))
    check_placeholders(prompt, images, videos)
    return ResponseGroup(
        name,
        prompt,
        tuple(Response(response_id(name, answer), answer) for answer in answers),
        tuple(pack_images(images, folder)),
        videos,
        task_of(record),
    )
