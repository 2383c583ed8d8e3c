"""Groups without images: texts, ids and turns stay."""

from basereward.data.schema import Message, Part, Response, ResponseGroup, Video
from basereward.data.withheld import withhold_images

SEEN = Part("image")


def test_texts_and_ids_stay_and_images_go():
    prompt = (Message("user", (SEEN, Part("text", "Look."), Part("video"))), Message("assistant", (SEEN,)))
    group = ResponseGroup("g", prompt, (Response("a", (Message("assistant", (Part("text", "x"), SEEN)),)),), ("i",))
    blind = withhold_images(
        ResponseGroup(
            *(getattr(group, name) for name in ("id", "prompt", "responses", "images")), videos=(Video(("f",)),)
        )
    )
    assert (blind.images, blind.videos, blind.id) == ((), (), "g")
    assert blind.prompt == (Message("user", (Part("text", "Look."),)), Message("assistant", (Part("text"),)))
    assert blind.responses == (Response("a", (Message("assistant", (Part("text", "x"),)),)),)
    assert withhold_images(blind) == blind
