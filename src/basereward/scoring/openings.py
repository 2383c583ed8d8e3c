"""What a model that writes is given: openings about the same images as one tree, each of which fails alone."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from basereward.data.outcomes import Failure
from basereward.data.schema import Messages, ResponseGroup
from basereward.encoding.openings import Openings, encode_openings
from basereward.errors import RowError, TemplateError
from basereward.models.generation import TreeGenerator
from basereward.scoring.interface import failure_of

NOT_FINITE = Failure("not_finite", "The logits of an answer are not finite; the weights or the precision are broken.")


def open_each(
    generator: TreeGenerator, group: ResponseGroup, conversations: Sequence[Messages]
) -> Iterator[tuple[tuple[int, ...], Openings | Failure]]:
    """Yield the places of conversations and their tree; of what cannot be opened together, each alone.

    Args:
        generator: what is to continue them.
        group: has the images and videos; its messages are not read.
    """
    everyone = tuple(range(len(conversations)))
    try:
        tree = encode_openings(generator.template, group, conversations)
    except (RowError, TemplateError) as error:
        failure = failure_of(error)
        if len(conversations) == 1 or failure.reason.startswith("image_"):
            yield everyone, failure
            return
        for place in everyone:
            for _, outcome in open_each(generator, group, conversations[place : place + 1]):
                yield (place,), outcome
        return
    lengths = [len(tree.prefix) + len(suffix) for suffix in tree.suffixes]
    longest, limit = generator.max_tokens, generator.context
    if fitting := tuple(place for place in everyone if lengths[place] + longest <= limit):
        yield fitting, replace(tree, suffixes=tuple(tree.suffixes[place] for place in fitting))
    for place in set(everyone) - set(fitting):
        message = f"{lengths[place]} tokens and {longest} of the answer are more than {limit}."
        yield (place,), Failure("too_long", message)
