"""Groups and pairs as who sees no image reads them: the texts alone."""

from dataclasses import replace

from basereward.data.schema import Comparison, Message, Messages, Part, ResponseGroup


def withhold_images(group: ResponseGroup) -> ResponseGroup:
    """Return a group without its images and videos; its texts and ids stay as they are."""
    responses = tuple(replace(own, messages=_texts(own.messages)) for own in group.responses)
    return replace(group, prompt=_texts(group.prompt), responses=responses, images=(), videos=())


def withhold_from_all(comparison: Comparison) -> Comparison:
    """Return a comparison whose groups have no images or videos."""
    return comparison._replace(groups=tuple(map(withhold_images, comparison.groups)))


def _texts(messages: Messages) -> Messages:
    # A message that only showed something stays, saying nothing: without it turns would not alternate.
    return tuple(
        Message(own.role, tuple(part for part in own.content if part.type == "text") or (Part("text"),))
        for own in messages
    )
