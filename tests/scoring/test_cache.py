"""The score cache: the same question is asked once, another one always, and failures every time."""

import dataclasses
from concurrent.futures import ProcessPoolExecutor

import pytest

from basereward.data.outcomes import About, Failure, JudgeQuestion, Score, Verdict
from basereward.errors import ScoringError
from basereward.scoring.baselines import BASELINES
from basereward.scoring.cache import CachedScorer, cached, cached_judge
from basereward.scoring.store import KeyValueStore

IDENTITY = {"weights": "a", "template": "t", "dtype": "float32", "pixels": [4, 16]}


class Counting:
    """Scores by length, counts the groups that it sees, and fails on a text."""

    def __init__(self, identity=IDENTITY, offset=0.0):
        self.about = About("counting", sees_images=False, identity=identity)
        self.offset, self.seen = offset, []

    def score(self, groups):
        self.seen += [group.id for group in groups]
        return [[self._score(response.text) for response in group.responses] for group in groups]

    def _score(self, text):
        return Failure("too_long", "shorten it") if text == "fail" else Score(len(text) / 3 + self.offset)


@pytest.fixture
def store(tmp_path):
    return KeyValueStore(tmp_path / "deep" / "scores.sqlite")


@pytest.fixture
def groups(make_group, tmp_path):
    """A text group and one with an image."""
    (tmp_path / "a.png").write_bytes(b"pixels")
    return [make_group("Why?", ["So.", "Because."]), make_group("What?", ["A cat.", "A dog!"], [tmp_path / "a.png"])]


def test_the_same_is_scored_once_and_is_the_same_to_the_last_bit(store, groups):
    first, second = Counting(), Counting(offset=1.0)
    scores = cached(first, store).score(groups)
    assert scores == first.score(groups)
    assert cached(second, KeyValueStore(store.path)).score(list(reversed(groups))) == scores[::-1]
    assert second.seen == []


def test_ids_of_groups_and_places_of_responses_do_not_matter(store, groups):
    scores = cached(Counting(), store).score(groups[:1])
    other = dataclasses.replace(groups[0], id="another", responses=groups[0].responses[::-1])
    again = Counting(offset=1.0)
    assert cached(again, store).score([other]) == [scores[0][::-1]]
    assert again.seen == []


@pytest.mark.parametrize(
    "change", [{"weights": "b"}, {"template": "u"}, {"dtype": "bfloat16"}, {"pixels": [4, 32]}, {"max_length": 9}]
)
def test_whatever_decides_a_score_makes_it_another_one(store, groups, change):
    cached(Counting(), store).score(groups)
    other = Counting({**IDENTITY, **change})
    cached(other, store).score(groups)
    assert other.seen == [group.id for group in groups]


def test_other_bytes_of_an_image_are_another_image(store, groups, tmp_path):
    cached(Counting(), store).score(groups)
    (tmp_path / "a.png").write_bytes(b"pixelz")
    again = Counting()
    cached(again, store).score(groups)
    assert again.seen == [groups[1].id]
    # The picture, not its place.
    (tmp_path / "b.png").write_bytes(b"pixels")
    moved = dataclasses.replace(groups[1], images=(tmp_path / "b.png",))
    cached(again, store).score([moved])
    assert again.seen == [groups[1].id]


def test_a_group_with_a_new_response_is_scored_whole(store, make_group):
    cached(Counting(), store).score([make_group("Why?", ["one", "two"])])
    scorer = Counting(offset=1.0)
    scores = cached(scorer, store).score([make_group("Why?", ["one", "two", "three"])])
    assert scores == [[Score(2.0), Score(2.0), Score(5 / 3 + 1)]]
    # The last computation is what a later call finds.
    assert cached(Counting(), store).score([make_group("Why?", ["one", "two"])]) == [[Score(2.0), Score(2.0)]]


def test_failures_are_never_kept(store, make_group):
    group = make_group("Why?", ["fail", "fine"])
    for scorer in (Counting(), Counting()):
        [scores] = cached(scorer, store).score([group])
        assert isinstance(scores[0], Failure)
        assert scorer.seen == [group.id]


def test_what_cannot_be_read_is_asked_every_time(store, make_group):
    group = make_group("What?", ["a", "b"], ["absent.png"])
    for scorer in (Counting(), Counting()):
        cached(scorer, store).score([group])
        assert scorer.seen == [group.id]


def test_a_scorer_that_does_not_say_what_it_is_is_not_cached(store):
    scorer = BASELINES.get("longer")
    assert cached(scorer, store) is scorer
    behind = cached(Counting(), store)
    assert isinstance(behind, CachedScorer)
    assert behind.about == About("counting", sees_images=False, identity=IDENTITY)


class Judging:
    """Names the longer response, counts the questions that it sees, and has no answer to a text."""

    def __init__(self, identity=IDENTITY):
        self.about = About("judging", sees_images=True, identity=identity)
        self.seen = []

    def compare(self, questions):
        self.seen += [question.prompt[0].text for question in questions]
        return [self._verdict([shown[0].text for shown in question.responses]) for question in questions]

    def _verdict(self, texts):
        if "fail" in texts:
            return Failure("http_500", "broken")
        longest = max(range(len(texts)), key=lambda place: len(texts[place]))
        return Verdict(longest, f"{texts[longest]}!", probabilities=(0.25, 0.75), is_cut_off="cut" in texts)


@pytest.fixture
def question(say):
    """``question(prompt, *responses)``: a question to a judge."""
    return lambda prompt, *texts, images=(): JudgeQuestion(
        (say("user", *[None] * len(images), prompt),), tuple((say("assistant", text),) for text in texts), images
    )


def test_a_judge_is_asked_once_about_the_same_in_the_same_order(store, question, tmp_path):
    (tmp_path / "a.png").write_bytes(b"pixels")
    asked = [
        question("Why?", "a", "bb"),
        question("Why?", "bb", "a"),
        question("Why?", "a", "bb", "cut"),
        question("Why?", "a", "bb", images=(tmp_path / "a.png",)),
    ]
    first, second = Judging(), Judging()
    verdicts = cached_judge(first, store).compare(asked)
    assert verdicts == Judging().compare(asked)
    assert cached_judge(second, KeyValueStore(store.path)).compare([*asked[::-1], question("Who?", "a", "b")]) == [
        *verdicts[::-1],
        *Judging().compare([question("Who?", "a", "b")]),
    ]
    assert (len(first.seen), second.seen) == (4, ["Who?"])
    other = Judging({**IDENTITY, "weights": "b"})
    cached_judge(other, store).compare(asked)
    assert len(other.seen) == 4


def test_a_question_without_an_answer_is_asked_again(store, question):
    asked = [question("Why?", "fail", "fine"), question("What?", "a", "b", images=("absent.png",))]
    for judge in (Judging(), Judging()):
        failure, _ = cached_judge(judge, store).compare(asked)
        assert failure.reason == "http_500"
        assert len(judge.seen) == 2
    silent = Judging(None)
    assert cached_judge(silent, store) is silent


def _fill(path, start):
    store = KeyValueStore(path)
    for number in range(start, start + 20):
        store.put({f"key {number}": number})


def test_several_processes_write_at_once(tmp_path):
    path = tmp_path / "scores.sqlite"
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(_fill, [path] * 3, (0, 20, 40)))
    assert KeyValueStore(path).get(f"key {number}" for number in range(1000)) == {f"key {n}": n for n in range(60)}


def test_a_cache_that_cannot_be_used_is_an_error_with_a_way_out(tmp_path, groups):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScoringError, match="--no-cache"):
        cached(Counting(), KeyValueStore(tmp_path / "file" / "scores.sqlite")).score(groups)
    (tmp_path / "broken.sqlite").write_bytes(b"no database" * 200)
    with pytest.raises(ScoringError, match="BASEREWARD_CACHE"):
        KeyValueStore(tmp_path / "broken.sqlite").get(["key"])
