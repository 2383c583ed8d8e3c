"""Distillation: a judge's both orders become preferences and weights, whatever the label says."""

import json
from random import Random

import pytest

from basereward.data.annotations import critiques_of, thoughts_of, weight_of
from basereward.data.io import read_records
from basereward.data.outcomes import About, Failure, Verdict
from basereward.data.pairs import load_pairs
from basereward.data.record import record_data
from basereward.errors import DataError
from basereward.scoring.annotation.preferences import LABEL, PreferenceTask
from basereward.scoring.annotation.run import DROPPED, annotate, explain


class Planted:
    """A judge that answers by what ``answer(number, shown)`` gives for the texts that it is shown."""

    def __init__(self, answer, **identity):
        self._answer = answer
        self.about = About("planted", sees_images=False, identity={"prompt": "digit", **identity})

    def compare(self, questions):
        return [
            self._answer(int(own.prompt[0].text[1:]), [side[0].text for side in own.responses]) for own in questions
        ]


def said(choice, probabilities=None):
    return Verdict(choice, "said", probabilities=probabilities)


def write_pairs(path, count=6, **extra):
    rows = [{"id": str(n), "prompt": f"Q{n}", "chosen": "good", "rejected": "bad", **extra} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def distilled(judge, tmp_path, count=6, **extra):
    source = write_pairs(tmp_path / "pairs.jsonl", count, **extra)
    manifest = annotate(judge, PreferenceTask(), source, tmp_path / "out")
    return manifest, load_pairs([tmp_path / "out"]).pairs


def test_hard_verdicts_that_agree_weigh_one_and_those_that_do_not_drop_the_pair(tmp_path):
    def answer(number, shown):
        # 0: the good one. 1: the bad one. 2: always the first. 3: a tie once. 4: nothing. 5: no answer in one order.
        good, bad = shown.index("good"), shown.index("bad")
        if number == 5 and good:
            return Failure("refused", "no")
        return said([good, bad, 0, "tie" if good else 0, "unparsable", good][number])

    manifest, pairs = distilled(Planted(answer), tmp_path)
    assert [(pair.id, pair.chosen[0].text, weight_of(pair)) for pair in pairs] == [
        ("0", "good", 1.0),
        ("1", "bad", 1.0),
        ("3", "good", 0.5),
    ]
    assert manifest.steps[0]["dropped"] == {"refused": 1, "undecided": 1, "unparsable": 1}
    assert [pair.extra[LABEL] for pair in pairs] == ["chosen", "rejected", "chosen"]
    agreement = manifest.steps[0]["details"]["agreement_with_label"]
    assert (agreement["value"], agreement["n"]) == (0.6667, 3)
    assert manifest.steps[0]["details"]["both_orders_name_one"] == 2
    assert manifest.steps[0]["details"]["weighted_agreement_with_label"] == pytest.approx(1.5 / 2.5)
    assert any("66.7% of the preferences are the label's" in line for line in explain(manifest))
    unused = [(own["id"], own["question"]) for own in read_records(tmp_path / "out" / DROPPED)]
    assert sorted(unused) == [
        ("2", "chosen_first"),
        ("2", "rejected_first"),
        ("4", "chosen_first"),
        ("4", "rejected_first"),
        ("5", "rejected_first"),
    ]


@pytest.mark.parametrize(
    ("first", "second", "chosen", "weight"),
    [
        # Probabilities of the response shown first: q is the mean over both orders, the weight 2 q - 1.
        (0.9, 0.3, "good", 0.6),
        (0.4, 0.8, "bad", 0.4),
        (0.9, 0.5, "good", 0.4),
        (0.7, 0.3, "good", 0.4),
    ],
)
def test_probabilities_of_both_orders_are_averaged(first, second, chosen, weight, tmp_path):
    def answer(number, shown):
        share = first if shown[0] == "good" else second
        # Not normalised, and no clear word: probabilities are the better witness.
        return said("unparsable", (share / 2, (1 - share) / 2))

    _, (pair,) = distilled(Planted(answer), tmp_path, 1)
    assert (pair.chosen[0].text, weight_of(pair)) == (chosen, pytest.approx(weight))


def test_what_names_neither_response_is_no_preference(tmp_path):
    """A judge that would say something else altogether prefers nothing, whatever is left of the two digits."""

    def answer(number, shown):
        share = 0.9 if shown[0] == "good" else 0.1
        return Verdict("unparsable", "said", probabilities=(share, 1 - share), mass=(1.0, 0.5, 0.0)[number])

    manifest, pairs = distilled(Planted(answer), tmp_path, 3)
    assert [weight_of(pair) for pair in pairs] == pytest.approx([0.8, 0.4])
    assert manifest.steps[0]["dropped"] == {"undecided": 1}


def test_the_label_plays_no_part(tmp_path):
    """Labels turned round give the same preferences with the same weights."""

    def answer(number, shown):
        share = Random(f"{number} {shown}").random()
        return said(0, (share, 1 - share))

    def kept(name, chosen, rejected):
        (tmp_path / name).mkdir()
        _, pairs = distilled(Planted(answer), tmp_path / name, 30, chosen=chosen, rejected=rejected)
        return {(pair.id, pair.chosen, pair.rejected, weight_of(pair)) for pair in pairs}

    right = kept("a", "good", "bad")
    assert right == kept("b", "bad", "good")
    assert len({chosen[0].text for _, chosen, _, _ in right}) == 2


def test_what_belongs_to_a_response_moves_with_it_and_nothing_teaches_the_label(tmp_path):
    sides = {
        name: [{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": name}]}]
        for name in ("good", "bad")
    }
    extra = {
        "chosen": sides["good"],
        "rejected": sides["bad"],
        "images": ["shown.png", "good.png", "bad.png"],
        "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q0"}]}],
        "scores": [5.0, 1.0],
        "margin": 4.0,
        "critiques": {"chosen": "It is good.", "rejected": "It is bad."},
        "thoughts": {"chosen_first": "1 is good"},
        "axis": "kept",
    }
    from PIL import Image

    for place, name in enumerate(extra["images"]):
        Image.new("RGB", (28, 28), (place * 90, 0, 0)).save(tmp_path / name)
    judge = Planted(lambda number, shown: said(shown.index("bad")))
    manifest, (pair,) = distilled(judge, tmp_path, 1, **extra)
    from basereward.data.images import load_image

    assert [load_image(image).getpixel((0, 0))[0] for image in pair.images] == [0, 180, 90]
    assert pair.scores == (1.0, 5.0)
    assert critiques_of(pair)[:2] == ("It is bad.", "It is good.")
    assert (thoughts_of(pair), pair.margin) == (None, None)
    assert (pair.extra["source_margin"], pair.extra["axis"]) == (4.0, "kept")
    assert manifest.multimodal == 1


def test_pairs_of_low_weight_are_the_wrong_ones_more_often(tmp_path):
    """A judge with planted noise: in each order it sees the truth through noise of its own, so orders disagree."""
    draw = Random(0)

    def answer(number, shown):
        # The same sign in both orders, other noise: P = logistic(1 + noise).
        evidence = 1 + draw.gauss(0, 2)
        share = 1 / (1 + 2.718281828**-evidence)
        return said(0, (share, 1 - share) if shown[0] == "good" else (1 - share, share))

    manifest, pairs = distilled(Planted(answer), tmp_path, 240)
    half = sorted(pairs, key=weight_of)
    wrong = [sum(pair.extra[LABEL] == "rejected" for pair in part) for part in (half[:120], half[120:])]
    assert wrong[0] > 2 * wrong[1]
    bands = list(manifest.steps[0]["details"]["by_weight"].values())
    assert sum(band["n"] for band in bands) == len(pairs) == 240
    assert bands[0]["high"] < bands[-1]["low"]
    details = manifest.steps[0]["details"]
    assert details["weighted_agreement_with_label"] > details["agreement_with_label"]["value"]


def test_the_judge_stands_in_the_data_record_of_what_is_trained_on_it_and_on_what_is_made_of_it(tmp_path):
    from basereward.curation.mix import mix
    from basereward.curation.mix_recipe import MixRecipe
    from basereward.data.manifest import read_manifest

    judge = Planted(lambda number, shown: said(shown.index("good")), prompt_sha256="abc")
    manifest, _ = distilled(judge, tmp_path, 4)
    record = record_data([str(tmp_path / "out")], "fingerprint")
    [use] = record.inputs[0].judges
    assert use == manifest.judges[0]
    assert (use.name, use.wrote, use.identity["prompt_sha256"]) == ("planted", "preferences", "abc")
    assert type(record).model_validate_json(record.model_dump_json()).inputs == record.inputs
    recipe = MixRecipe.model_validate({"name": "m", "inputs": [{"path": str(tmp_path / "out")}]})
    mix(recipe, tmp_path, tmp_path / "mixed")
    assert read_manifest(tmp_path / "mixed").judges == manifest.judges


def test_a_judge_of_one_opinion_on_places_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match=r"none is left: \{'undecided': 6\}"):
        distilled(Planted(lambda number, shown: said(0)), tmp_path)
