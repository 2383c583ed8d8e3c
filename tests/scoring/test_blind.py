"""A scorer from which images are withheld."""

from PIL import Image

from basereward.data.groups import make_group
from basereward.data.outcomes import About, Score
from basereward.scoring.blind import BlindScorer


class CountsImages:
    about = About("counts", sees_images=True, identity={"weights": "abc"})

    def score(self, groups):
        parts = [sum(part.type == "image" for message in group.prompt for part in message.content) for group in groups]
        return [
            [Score(float(len(group.responses[0].text) + 10 * shown + 100 * len(group.images)))]
            for group, shown in zip(groups, parts, strict=True)
        ]


def test_a_blind_scorer_shows_no_image_and_says_so():
    group = make_group("What is it?", ["a cat"], [Image.new("RGB", (8, 8))])
    assert CountsImages().score([group]) == [[Score(115.0)]]
    blind = BlindScorer(CountsImages())
    assert blind.score([group]) == [[Score(5.0)]]
    assert not blind.about.sees_images
    assert blind.about.name == "counts without images"
    # Its scores stand for those of the same weights with images in no cache.
    assert blind.about.identity == {"weights": "abc", "images": "withheld"}
