"""Evaluations of benchmarks from their fixtures, and scorers and judges that answer by a rule."""

from pathlib import Path

from basereward.benchmarks.plugins import open_benchmark
from basereward.data.outcomes import About, Failure, Score, Verdict
from basereward.data.progress import no_progress
from basereward.errors import ScoringError
from basereward.evaluation.opened import read_benchmark
from basereward.evaluation.runner import EvaluationOptions, evaluate

FIXTURES = Path(__file__).parents[1] / "benchmarks" / "fixtures"


def run(subject, benchmark, folder, protocol=None, limit=None, root=FIXTURES, on_progress=no_progress, **options):
    """Evaluate on a benchmark, by name or as it is, from the fixtures."""
    chosen = open_benchmark(benchmark) if isinstance(benchmark, str) else benchmark
    opened = read_benchmark(chosen, root, protocol, limit)
    return evaluate(subject, opened, folder, EvaluationOptions(**options), on_progress)


def values(summary):
    """The values of all metrics by name."""
    return {name: metric.value for name, metric in summary.metrics.items()}


class Counting:
    """Scores by length, counts what it scores, and fails as it is told."""

    about = About("counting", sees_images=True)

    def __init__(self, fails=(), breaks_after=None):
        self.seen, self.fails, self.breaks_after = [], set(fails), breaks_after

    def score(self, groups):
        if self.breaks_after is not None and len(self.seen) >= self.breaks_after:
            raise ScoringError("the machine went away")
        scores = []
        for group in groups:
            texts = [response.text for response in group.responses]
            self.seen += [(group.id, text) for text in texts]
            gone = Failure("image_missing", f"no image of {group.id}")
            scores.append([gone if text in self.fails else Score(float(len(text))) for text in texts])
        return scores


class Rule:
    """A judge that answers by a rule on the two texts, and remembers what it was asked."""

    def __init__(self, rule, breaks_after=None, name="judge:rule", **identity):
        self.about = About(name, sees_images=True, identity=identity or None)
        self.rule, self.seen, self.breaks_after = rule, [], breaks_after

    def compare(self, questions):
        if self.breaks_after is not None and len(self.seen) >= self.breaks_after:
            raise ScoringError("the machine went away")
        texts = [tuple(response[0].text for response in question.responses) for question in questions]
        self.seen += [(question.prompt, question.images, *own) for question, own in zip(questions, texts, strict=True)]
        said = [self.rule(*own) for own in texts]
        return [own if isinstance(own, Failure) else Verdict(own, f"I say {own}.") for own in said]


def longer(first, second):
    """The longer response is better."""
    return "tie" if len(first) == len(second) else 0 if len(first) > len(second) else 1


def always(choice):
    """The same answer to everything."""
    return lambda first, second: choice
