"""A world of colours in which the truth is seen, and scorers and judges with faults planted in them."""

from collections.abc import Callable
from random import Random

from PIL import Image

from basereward.benchmarks.pairs import PairItems
from basereward.data.outcomes import About, Score, Verdict
from basereward.data.schema import PreferencePair, ResponseGroup, messages_from_text
from basereward.evaluation.audit.run import AuditOptions, audit
from basereward.evaluation.opened import Opened

COLOURS = {"red": (220, 30, 30), "green": (30, 170, 50), "blue": (40, 60, 220), "yellow": (230, 220, 40)}
SENTENCES = ("It is {}.", "I would say that it is {}.", "Having looked at it for long, what there is to say is: {}.")
QUESTIONS = ("Which color is shown here?", "Which color is not shown here?")


def draw_pairs(count=240, seed=0):
    """Pairs whose better answer depends on the image and on the prompt, and on nothing else."""
    rng = Random(seed)
    pairs = []
    for number in range(count):
        seen, other = rng.sample(sorted(COLOURS), 2)
        asks_not = rng.random() < 0.5
        right, wrong = (other, seen) if asks_not else (seen, other)
        said = [rng.choice(SENTENCES).format(own) for own in (right, wrong)]
        chosen, rejected = (messages_from_text(text, "assistant") for text in said)
        prompt = messages_from_text(QUESTIONS[asks_not], images=1)
        image = Image.new("RGB", (40, 40), COLOURS[seen])
        pairs.append(PreferencePair(f"pair-{number}", "colours", prompt, chosen, rejected, (image,)))
    return pairs


def look(image):
    """The name of the colour that an image is nearest to."""
    seen = image.convert("RGB").resize((1, 1)).getpixel((0, 0))
    return min(COLOURS, key=lambda name: sum(abs(a - b) for a, b in zip(COLOURS[name], seen, strict=True)))


def truth_of(prompt, images, text):
    """4 for a right answer, 0 for a wrong one."""
    asks_not = any(" not " in message.text for message in prompt)
    named = min((name for name in COLOURS if name in text), key=text.index)
    return 4.0 * ((named == look(images[0])) != asks_not)


def clean(group: ResponseGroup, place: int, groups) -> float:
    """The right answer, from the pixels and the prompt."""
    if not group.images:
        return 0.0
    return truth_of(group.prompt, group.images, group.responses[place].text)


def by_hash(group, place, groups):
    """A number that the texts alone decide."""
    return Random(f"{group.prompt[-1].text}/{group.responses[place].text}/{group.id}").random()


class Ruled:
    """Scores by a rule on a group, the place of a response in it, and all groups of the call."""

    def __init__(self, rule: Callable = clean, sees_images=True, name="ruled"):
        self.about = About(name, sees_images)
        self.rule, self.calls = rule, []

    def score(self, groups):
        self.calls.append(len(groups))
        return [[Score(self.rule(group, place, groups)) for place in range(len(group.responses))] for group in groups]


class RuledJudge:
    """Names the better of two responses by a rule on the prompt, the images and the texts."""

    def __init__(self, rule):
        self.about = About("judge:ruled", True)
        self.rule = rule

    def compare(self, questions):
        return [Verdict(self.rule(question), "So it is.") for question in questions]


def judge_clean(question):
    """The right answer, or a tie."""
    values = [truth_of(question.prompt, question.images, own[0].text) for own in question.responses]
    return "tie" if values[0] == values[1] else int(values[1] > values[0])


def opened(pairs=None):
    """The world, opened for an audit."""
    return Opened("colours", list(PairItems(draw_pairs() if pairs is None else pairs)))


def run(scorer, folder, *probes, pairs=None, **options):
    """Audit in the world of colours; the results of the probes by name."""
    found = audit(scorer, opened(pairs), folder, AuditOptions(probes, **options))
    return {probe.name: probe for probe in found.probes}
