"""Ensembles as specs: what they score, with whom, and what they refuse."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from basereward.data.outcomes import About, Failure, Score
from basereward.data.schema import Comparison, Response, ResponseGroup, messages_from_text
from basereward.errors import MissingFileError, RecipeError, ScoringError, WorkError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.scoring.cache import CachedScorer, cached
from basereward.scoring.compose.ensemble import Ensemble
from basereward.scoring.compose.members import Members
from basereward.scoring.compose.specs import EnsembleOptions
from basereward.scoring.compose.weights import pair_margins
from basereward.scoring.files import score_file
from basereward.scoring.model_spec import ModelSpec, Spec
from basereward.scoring.spec import is_judge, open_scorer

LONGER, SHORTER, RANDOM = "baseline:longer", "baseline:shorter", "baseline:random"
ALONE = f"members: [{{model: {LONGER}}}]\n"


class Fake:
    """Scores ``scale`` times the number that a response says; refuses the word bad."""

    def __init__(self, name, scale=1.0):
        self.about = About(name, sees_images=True, identity={"weights": name})
        self.scale = scale
        self.calls = []

    def score(self, groups):
        self.calls.append([group.id for group in groups])
        return [[self._score(response.text) for response in group.responses] for group in groups]

    def _score(self, text):
        return Failure("refused", "bad word") if "bad" in text else Score(self.scale * float(text), text="critique")


def group(*texts, images=()):
    answers = [messages_from_text(text, "assistant") for text in texts]
    prompt = messages_from_text("Which?", images=len(images))
    return ResponseGroup("g", prompt, tuple(Response(str(place), one) for place, one in enumerate(answers)), images)


def ensemble(scales, only=None, **options):
    fakes = {name: Fake(name, scale) for name, scale in scales.items()}
    specs = [ModelSpec(model=name, only=(only or {}).get(name)) for name in scales]
    members = Members(specs, lambda spec: fakes[spec.model])
    return Ensemble(members, EnsembleOptions(**options), "all"), fakes


def write(path, text):
    path.write_text(text)
    return str(path)


def values(scored):
    return [score.value for score in scored]


def test_one_member_is_itself():
    whole, fakes = ensemble({"a": 1.7})
    asked = [group("1", "2.5", "0.1"), group("3")]
    assert [values(own) for own in whole.score(asked)] == [values(own) for own in fakes["a"].score(asked)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [4.0, 8.0]),
        ({"weights": {"a": 3, "b": 1, "c": 0}}, [1.5, 3.0]),
        ({"rule": "median"}, [3.0, 6.0]),
        ({"rule": "min"}, [1.0, 2.0]),
        ({"rule": "lower", "penalty": 1}, [4 - 13**0.5, 8 - 52**0.5]),
        ({"rule": "vote"}, [0.0, 1.0]),
    ],
)
def test_rules_by_hand(options, expected):
    # Rewards 1, 3, 8 and twice that; deviation sqrt(13).
    whole, _ = ensemble({"a": 1, "b": 3, "c": 8}, **options)
    [scored] = whole.score([group("1", "2")])
    assert values(scored) == pytest.approx(expected)
    assert dict(scored[0].parts)["c"] == 8
    assert scored[0].text.split("\n\n---\n\n") == ["a: critique", "b: critique", "c: critique"]
    assert scored[0].parts["spread"] >= 0


def test_the_order_of_members_changes_nothing():
    scales = {"a": 0.1, "b": 0.7, "c": 1e9, "d": -1e9}
    one, _ = ensemble(scales)
    other, _ = ensemble(dict(reversed(scales.items())))
    asked = [group("0.3", "-2.2", "17")]
    assert values(one.score(asked)[0]) == values(other.score(asked)[0])
    assert one.about.identity == other.about.identity


def test_a_member_that_fails_fails_the_response_alone():
    whole, _ = ensemble({"a": 1, "b": 2})
    [scored] = whole.score([group("1", "bad", "3")])
    assert [type(one) for one in scored] == [Score, Failure, Score]
    assert scored[1] == Failure("refused", "a: bad word")
    assert [scored[0].value, scored[2].value] == [1.5, 4.5]


def test_a_member_for_text_is_left_out_of_prompts_with_images():
    whole, fakes = ensemble({"a": 1, "b": 3, "text": 8}, only={"text": "text"})
    picture = group("1", "2", images=("a.png",))
    shown, told = whole.score([picture, group("1", "2")])
    # A mean of two with images, of three on text: the last row of Table 7.
    assert values(shown) == [2.0, 4.0]
    assert values(told) == [4.0, 8.0]
    assert "text" not in shown[0].parts
    assert fakes["text"].calls == [["g"]]


def test_a_prompt_that_nobody_scores_is_a_failure():
    whole, _ = ensemble({"a": 1}, only={"a": "images"})
    [[found]] = whole.score([group("1")])
    assert (found.reason, "no image" in found.message) == ("no_member", True)


def test_a_vote_stands_for_no_other_group():
    whole, voting = ensemble({"a": 1})[0], ensemble({"a": 1}, rule="vote")[0]
    assert (whole.about.compares, voting.about.compares) == (False, True)
    assert isinstance(cached(whole), CachedScorer)
    assert cached(voting) is voting


def test_there_is_no_vote_on_one_response():
    whole, _ = ensemble({"a": 1, "b": 2}, rule="vote")
    [[alone], [left, failed]] = whole.score([group("1"), group("1", "bad")])
    assert [alone.reason, left.reason, failed.reason] == ["alone", "alone", "refused"]


def test_identities_differ_by_rule_weights_and_restriction():
    found = [
        ensemble({"a": 1, "b": 2}, **options)[0].about.identity
        for options in ({}, {"rule": "min"}, {"weights": {"a": 1, "b": 2}}, {"only": {"a": "text"}})
    ]
    assert len({json.dumps(one, sort_keys=True) for one in found}) == 4


def pairs_file(tmp_path, rows):
    lines = [{"id": str(n), "prompt": f"Q{n}?", "chosen": c, "rejected": r} for n, (c, r) in enumerate(rows)]
    return write(tmp_path / "pairs.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


# Longer is right three times of four, with margins 2, 1, 3, -1.
ROWS = [("abc", "a"), ("ab", "a"), ("abcd", "a"), ("a", "ab")]


@pytest.mark.parametrize(
    ("weights", "margin", "longer", "shorter"),
    [
        ("accuracy", "signed", 0.75, 0.25),
        # Mean margin 5/4; its size is 7/4 for both.
        ("confidence", "absolute", 1.75, 1.75),
    ],
)
def test_weights_are_measured_on_validation_pairs(tmp_path, weights, margin, longer, shorter):
    pairs = pairs_file(tmp_path, ROWS)
    options = f"{{weights: {weights}, validation: {pairs}, margin: {margin}}}"
    spec = write(tmp_path / "e.yaml", f"members: [{{model: {LONGER}}}, {{model: {SHORTER}}}]\nensemble: {options}\n")
    whole = open_scorer(spec)
    assert whole.weights == {LONGER: longer, SHORTER: shorter}
    [scored] = whole.score([group("abc", "a")])
    assert values(scored) == pytest.approx([(longer - shorter) / (longer + shorter) * size for size in (3, 1)])


def test_a_negative_confidence_is_refused(tmp_path):
    pairs = pairs_file(tmp_path, ROWS)
    options = f"{{weights: confidence, validation: {pairs}}}"
    spec = write(tmp_path / "e.yaml", f"members: [{{model: {LONGER}}}, {{model: {SHORTER}}}]\nensemble: {options}\n")
    with pytest.raises(ScoringError, match=r"shorter -1\.25; expected no negative weight"):
        open_scorer(spec)


def test_weights_that_hardly_differ_are_told(tmp_path, caplog):
    pairs = pairs_file(tmp_path, ROWS)
    text = f"members: [{{model: {LONGER}, name: a}}, {{model: {LONGER}, name: b}}]\n"
    spec = write(tmp_path / "e.yaml", f"{text}ensemble: {{weights: accuracy, validation: {pairs}}}\n")
    with caplog.at_level(logging.WARNING):
        open_scorer(spec)
    assert "hardly different from those of a plain mean" in caplog.text


def test_files_nest_and_pass_settings_on(tmp_path):
    inner = write(tmp_path / "inner.yaml", f"members: [{{model: {LONGER}}}, {{model: {RANDOM}}}]\nname: inner\n")
    outer = write(tmp_path / "outer.yaml", f"members: [{{model: {inner}}}, {{model: {LONGER}, only: text}}]\n")
    whole = open_scorer(outer, device="cpu")
    assert [member.label for member in whole.members.all] == ["inner", LONGER]
    assert [member.device for member in whole.members.all[0].spec.members] == ["cpu", "cpu"]
    [scored] = whole.score([group("abc", "a")])
    assert scored[0].parts["inner"] == pytest.approx(
        (3 + open_scorer(RANDOM).score([group("abc", "a")])[0][0].value) / 2
    )
    assert not is_judge(outer)


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (f"{ALONE}{ALONE}", RecipeError, "the key 'members' stands twice"),
        (f"{ALONE}ensemble: {{rule: min, rule: mean}}\n", RecipeError, "the key 'rule' stands twice"),
        ("? [model]\n: a\n", RecipeError, "unhashable"),
        ("members: []\n", RecipeError, "at least 1 item"),
        ("ensemble: {rule: mean}\n", RecipeError, "members: Field required"),
        (f"members: [{{model: {LONGER}}}, {{model: {LONGER}}}]\n", RecipeError, "give each a name of its own"),
        (f"members: [{{model: {LONGER}, dtpe: x}}]\n", RecipeError, r"Unknown key 'members\.0\.dtpe'.*'dtype'"),
        *(
            (f"members: [{{model: {LONGER}, name: {name}}}]\n", RecipeError, "give such members other names")
            for name in ("spread", "raw", "low", "high", "weight of a")
        ),
        (f"{ALONE}ensembl: {{}}\n", RecipeError, "Did you mean 'ensemble'"),
        (f"{ALONE}ensemble: {{rule: avg}}\n", RecipeError, "'mean', 'median'"),
        (f"{ALONE}ensemble: {{weights: {{a: 1}}}}\n", RecipeError, "give each one weight"),
        (
            f"{ALONE}ensemble: {{weights: {{'{LONGER}': -1}}}}\n",
            RecipeError,
            "greater than or equal to 0",
        ),
        (f"{ALONE}ensemble: {{weights: accuracy}}\n", RecipeError, "file of validation pairs"),
        (
            f"{ALONE}ensemble: {{weights: accuracy, validation: no.jsonl}}\n",
            MissingFileError,
            "",
        ),
        (
            f"{ALONE}ensemble: {{rule: min, weights: {{a: 1}}}}\n",
            RecipeError,
            "takes no weights",
        ),
        ("members: [{model: 'judge:http://host/v1#m'}]\n", ScoringError, "is a judge"),
        ("members: [{model: no.yaml}]\n", MissingFileError, "no file 'no.yaml'"),
        (f"model: {LONGER}\nonly: text\n", ScoringError, "goes with a member"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text, error, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        open_scorer(write(tmp_path / "m.yaml", text))


def test_members_are_called_what_names_them_and_never_alike(tmp_path):
    files = [write(tmp_path / f"{n}.yaml", f"model: {own}\nname: rm\n") for n, own in enumerate((LONGER, SHORTER))]
    both = ", ".join(f"{{model: {file}}}" for file in files)
    with pytest.raises(RecipeError, match="several members are called rm"):
        open_scorer(write(tmp_path / "alike.yaml", f"members: [{both}]\n"))
    named = f"members: [{{model: {files[0]}, name: one}}, {{model: {files[1]}, name: two}}]\n"
    whole = open_scorer(write(tmp_path / "named.yaml", f"{named}ensemble: {{weights: {{one: 3, two: 1}}}}\n"))
    [scored] = whole.score([group("abc", "a")])
    assert values(scored) == [1.5, 0.5]
    assert scored[0].parts["two"] == -3


@pytest.mark.parametrize(
    "kind", ["ensemble: {{weights: {{a: {}, b: 1}}}}", "router: {{by: task, routes: {{x: a, y: {}}}}}"]
)
def test_scores_of_a_changed_file_are_not_mixed(kind, tmp_path):
    members = f"members: [{{model: {LONGER}, name: a}}, {{model: {SHORTER}, name: b}}]\n"
    source = pairs_file(tmp_path, ROWS)

    def call(value, on_progress=lambda done, total: None):
        spec = write(tmp_path / "m.yaml", members + kind.format(value))
        return score_file(open_scorer(spec), Path(source), tmp_path / "out.jsonl", on_progress)

    def stop(done, total):
        raise KeyboardInterrupt

    first, second = ("a", "b") if "router" in kind else (1, 2)
    with pytest.raises(KeyboardInterrupt):
        call(first, stop)
    with pytest.raises(WorkError, match="not"):
        call(second)
    call(first)


def test_a_member_that_changed_while_it_made_room_is_refused(tmp_path):
    spec = ModelSpec(model="a")
    versions = iter(("old", "new"))
    members = Members([spec], lambda spec: Fake(next(versions)))
    members._loaded.clear()
    with pytest.raises(ScoringError, match="a has changed since it was loaded first: weights 'old', not 'new'"):
        members.score([group("1")])


def test_images_matter_to_members_that_are_left_out_of_some_prompts():
    for only in (None, "text", "images"):
        blind = Fake("a")
        blind.about = replace(blind.about, sees_images=False)
        assert Members([ModelSpec(model="a", only=only)], lambda _, own=blind: own).sees_images == bool(only)


def test_a_validation_pair_of_two_kinds_is_of_no_restricted_member():
    whole, _ = ensemble({"a": 1, "b": 2}, only={"b": "text"})
    told, shown = (group("2", images=images) for images in ((), ("a.png",)))
    mixed = Comparison((replace(told, id="m"), replace(shown, id="n")), 0, 1)
    plain = Comparison((group("2", "1"),), 0, 1)
    assert pair_margins(whole.members, [mixed, plain]) == {"a": [0, 1], "b": [2]}


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "m.yaml").write_bytes(b"model: \xff\n")
    with pytest.raises(RecipeError, match="no text in UTF-8"):
        open_scorer(str(tmp_path / "m.yaml"))


def test_files_that_name_each_other_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.yaml", f"members: [{{model: b.yaml}}, {{model: {LONGER}}}]\n")
    write(tmp_path / "b.yaml", "model: a.yaml\n")
    with pytest.raises(ScoringError, match=r"circle: .*a\.yaml -> .*b\.yaml -> a\.yaml"):
        open_scorer("a.yaml")


@pytest.fixture(scope="module")
def checkpoints(text_backbone, tmp_path_factory):
    """Two tiny reward models with different heads."""
    folder = tmp_path_factory.mktemp("members")
    return [save_reward_model(new_reward_model(text_backbone), folder / name) for name in ("one", "two")]


def test_members_take_turns_within_a_limit_and_score_the_same(checkpoints, tmp_path, make_group):
    members = ", ".join(f"{{model: {folder}}}" for folder in checkpoints)
    free = open_scorer(write(tmp_path / "free.yaml", f"members: [{members}]\n"), device="cpu")
    size = free.members.all[0].size
    limit = 1.5 * size / 2**30
    tight = open_scorer(write(tmp_path / "tight.yaml", f"members: [{members}]\nensemble: {{memory_gib: {limit}}}\n"))
    asked = [make_group("Which?", ["a b", "c"]), make_group("What?", ["d"])]
    assert [values(own) for own in tight.score(asked)] == [values(own) for own in free.score(asked)]
    assert [values(own) for own in tight.score(asked)] == [values(own) for own in free.score(asked)]
    assert (len(tight.members._loaded), len(free.members._loaded)) == (1, 2)
    few = write(tmp_path / "few.yaml", f"members: [{members}]\nensemble: {{memory_gib: {limit / 3}}}\n")
    with pytest.raises(ScoringError, match="GiB of weights; memory_gib is"):
        open_scorer(few)


def test_a_model_of_unknown_data_makes_the_whole_unknown(checkpoints):
    from basereward.data.record import DataRecord

    record = DataRecord(fingerprint="a", inputs=(), contamination=None)
    known, unknown = Fake("known"), Fake("unknown")
    known.about = replace(known.about, data_record=record)
    by_name = {"known": known, "unknown": unknown}
    members = Members([ModelSpec(model=name) for name in by_name], lambda spec: by_name[spec.model])
    joined = members.data_record()
    assert [one.name for one in joined.inputs] == ["unknown"]
    assert joined.summary is None


def test_a_spec_is_one_of_a_kind():
    with pytest.raises(TypeError, match="abstract"):
        Spec()
