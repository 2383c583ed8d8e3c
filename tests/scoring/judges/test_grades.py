"""What stands beside the words of a judge: probabilities of its verdict, votes, and one request for many questions."""

import json
import shutil
from itertools import permutations

import numpy as np
import pytest
import torch

from basereward.benchmarks.items import ItemRow
from basereward.benchmarks.records import judge_record
from basereward.data.judging.formats import FORMATS
from basereward.data.judging.prompts import make_prompt
from basereward.data.outcomes import JudgeQuestion, Verdict
from basereward.encoding.groups import EncodedPrompt
from basereward.evaluation.judge_rates import judge_rates
from basereward.scoring.judges.grades import grade, verdict_place, verdict_tokens
from basereward.scoring.judges.local import LocalJudge
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.judges.votes import SEPARATOR, vote
from basereward.scoring.spec import open_judge


def ask(say, first, second, images=(), prompt="Which color?"):
    """A question about images and two answers."""
    request = say("user", *[None] * len(images), prompt)
    return JudgeQuestion((request,), ((say("assistant", first),), (say("assistant", second),)), tuple(images))


@pytest.fixture(scope="module")
def grm(vl_backbone):
    """An untrained judge that is asked for a digit; do not change it."""
    return LocalJudge(vl_backbone, make_prompt("digit"), dtype=torch.float32, device="cpu")


def test_an_untrained_judge_is_graded_by_its_first_token(grm, say, picture):
    asked = [ask(say, *sides, [picture(84, 56)]) for sides in (("red", "blue"), ("blue", "red"))]
    tokenizer = grm.generator.template.tokenizer
    digits = [tokenizer.encode(text, add_special_tokens=False)[-1] for text in "12"]
    for question, verdict in zip(asked, grm.compare(asked), strict=True):
        [(_, tree)] = list(grm._open([question], [0]))
        prompt = EncodedPrompt(np.concatenate([tree.prefix, *tree.suffixes]), tree.images)
        with torch.inference_mode():
            logits = grm.generator.model(**grm.generator.inputs([prompt])).logits[0, -1]
        shares = logits.softmax(0)[digits]
        assert verdict.choice == "unparsable"
        assert verdict.mass == pytest.approx(shares.sum().item(), rel=1e-4)
        assert verdict.probabilities == pytest.approx((shares / shares.sum()).tolist(), rel=1e-4)


@pytest.mark.parametrize("name", FORMATS.names())
@pytest.mark.parametrize("responses", [2, 4])
def test_the_verdict_hangs_on_the_token_that_names_a_response(name, responses, grm):
    form, template = FORMATS.get(name), grm.generator.template
    tokens = verdict_tokens(template, form, responses)
    assert len(set(tokens)) == responses

    def place_of(text):
        ids = template.tokenizer.encode(text, add_special_tokens=False)
        return ids, verdict_place(form, tokens, ids, grm.generator.decode)

    for chosen in range(responses):
        ids, place = place_of(form.write("" if name == "digit" else "1 or 2, so A and B.", chosen))
        assert ids[place] == tokens[chosen]
    if name not in ("digit", "think", "sentence"):
        assert place_of(form.write("", 0) + "\n" + form.write("", 1))[1] is None
    if name != "digit":
        assert place_of("no verdict of 1 and 2")[1] is None


@pytest.mark.parametrize(
    ("said", "word"),
    [
        # What a template like Qwen3's writes into every answer, and so teaches.
        ("<think>\n\n</think>\n\n2", "2"),
        ("<think>\n\n</think>\n\nred", "red"),
        ("red 2", "red"),
        ("<think>\n2", None),
    ],
)
def test_a_thought_in_front_of_a_digit_is_passed_over(said, word, text_template):
    form = FORMATS.get("digit")
    ids = text_template.tokenizer.encode(said, add_special_tokens=False)
    place = verdict_place(form, verdict_tokens(text_template, form, 2), ids, text_template.tokenizer.decode)
    assert (None if place is None else text_template.tokenizer.decode([ids[place]])) == word


def test_responses_that_no_single_token_names_are_not_graded(grm):
    assert verdict_tokens(grm.generator.template, FORMATS.get("digit"), 12) == ()


def test_probabilities_sum_to_one_however_small_they_are():
    found = grade(Verdict(0, "1"), np.array([-1000.0, -1001.0], dtype=np.float32))
    assert found.probabilities == pytest.approx((0.7311, 0.2689), abs=1e-4)
    assert found.mass == 0.0
    assert grade(Verdict(0, "1"), np.log([0.3, 0.1])).mass == pytest.approx(0.4)


def test_a_tournament_computes_its_request_once(vl_backbone, say, picture):
    judge = LocalJudge(vl_backbone, make_prompt("digit"), JudgeOptions(batch_tokens=2000), torch.float32, "cpu")
    image, other = picture(112, 84), picture(56, 56)
    asked = [ask(say, *pair, [image]) for pair in permutations([f"answer {place}" for place in range(8)], 2)]
    patches = []
    hook = judge.generator.model.model.visual.register_forward_hook(lambda _, args, __: patches.append(len(args[0])))
    together = judge.compare([*asked, ask(say, "red", "blue", [other])])
    hook.remove()
    assert sorted(patches) == [4 * 4, 8 * 6]
    for place in (0, 30, 56):
        [alone] = judge.compare([[*asked, ask(say, "red", "blue", [other])][place]])
        assert alone.text == together[place].text
        assert alone.probabilities == pytest.approx(together[place].probabilities, rel=1e-4)


class Planted:
    """A vocabulary head that says ``1`` with a probability, else ``2``, and then ends."""

    def __init__(self, tokens, end, size, share):
        self.calls = 0
        self.first, self.then = torch.full((size,), -torch.inf), torch.full((size,), -torch.inf)
        self.first[list(tokens)] = torch.tensor([share, 1 - share]).log()
        self.then[end] = 0.0

    def __call__(self, hidden):
        self.calls += 1
        return (self.first if self.calls % 2 else self.then).expand(len(hidden), -1)


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_a_planted_position_bias_is_reported_within_its_interval(share, text_backbone, say):
    options = JudgeOptions(temperature=1.0, seed=3)
    judge = LocalJudge(text_backbone, make_prompt("digit"), options, torch.float32, "cpu")
    tokenizer = judge.generator.template.tokenizer
    tokens = verdict_tokens(judge.generator.template, judge.prompt.format, 2)
    judge.generator.decoder.lm_head = Planted(tokens, tokenizer.eos_token_id, len(tokenizer), share)
    pairs = [(f"right {number}", f"wrong {number}") for number in range(80)]
    verdicts = judge.compare([ask(say, *own) for pair in pairs for own in (pair, pair[::-1])])
    assert {verdict.text for verdict in verdicts} == {"1", "2"}
    assert all(verdict.probabilities == pytest.approx((share, 1 - share)) for verdict in verdicts)
    records = [
        judge_record(
            ItemRow(row, str(row), "s", (0,), (1,)),
            row,
            {(0, 1): (verdicts[2 * row],), (1, 0): (verdicts[2 * row + 1],)},
        )
        for row in range(len(pairs))
    ]
    found = judge_rates(records)
    low, high = found["first_position_rate"].low, found["first_position_rate"].high
    assert low < share < high < low + 0.25
    assert (found["pair_accuracy_correct_first"].value > 0.65) == (share > 0.65)


def test_samples_vote():
    said = [Verdict(0, "a"), Verdict(1, "b"), Verdict(0, "c"), Verdict("unparsable", "d", is_cut_off=True)]
    found = vote(said, 2)
    assert (found.choice, found.is_cut_off, found.mass) == (0, True, 0.75)
    assert found.probabilities == pytest.approx((2 / 3, 1 / 3))
    assert found.text.split(SEPARATOR) == ["a", "b", "c", "d"]
    assert vote([Verdict("tie", ""), Verdict("tie", ""), Verdict(1, "")], 2).choice == "tie"
    tied = vote([Verdict(1, ""), Verdict(0, ""), Verdict("tie", ""), Verdict(1, ""), Verdict(0, "")], 2)
    assert (tied.choice, tied.probabilities) == ("tie", (0.5, 0.5))
    nothing = vote([Verdict("unparsable", "")] * 2, 3)
    assert (nothing.choice, nothing.probabilities, nothing.mass) == ("unparsable", None, 0.0)
    assert vote(said[:1], 2) is said[0]


def test_samples_differ_and_come_again(vl_backbone, say, picture):
    options = JudgeOptions(temperature=1.5, samples=3)
    judge = LocalJudge(vl_backbone, make_prompt("digit", 6), options, torch.float32, "cpu")
    question = ask(say, "red", "blue", [picture()])
    first, again = judge.compare([question] * 2)
    assert len({*first.text.split(SEPARATOR), *again.text.split(SEPARATOR)}) == 6
    [alone] = judge.compare([question])
    assert alone.text == first.text
    identities = [LocalJudge(vl_backbone, judge.prompt, own, device="cpu").about.identity for own in (None, options)]
    assert identities[0] != identities[1]
    assert (identities[1]["samples"], identities[1]["temperature"], identities[1]["seed"]) == (3, 1.5, 0)


def test_a_trained_judge_says_how_it_is_asked(text_backbone, tmp_path):
    folder = shutil.copytree(text_backbone, tmp_path / "judge")
    file = folder / "config.json"
    section = {"judge": {"role": {"prompt": "think", "max_tokens": 33}}}
    file.write_text(json.dumps(json.loads(file.read_text()) | section))

    def asked(*choice):
        prompt = open_judge(f"judge:{folder}", *choice, device="cpu").prompt
        return prompt.format.name, prompt.max_tokens

    assert asked() == asked("think") == ("think", 33)
    assert asked(None, 5) == ("think", 5)
    assert asked("digit") == ("digit", 16)


@pytest.mark.parametrize("options", [JudgeOptions(), JudgeOptions(samples=2, temperature=1.0)])
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_no_verdict(options, broken, text_backbone, say):
    judge = LocalJudge(text_backbone, make_prompt("digit"), options, torch.float32, "cpu")
    head, asked = judge.generator.decoder.lm_head, [ask(say, "red", "blue"), ask(say, "green", "gray")]
    calls = []

    def breaking(hidden):
        # One row of the two, from its second token on.
        calls.append(hidden)
        logits = head(hidden)
        logits[-1, 0] += broken if len(calls) > 1 else 0.0
        return logits

    judge.generator.decoder.lm_head = breaking
    found = judge.compare(asked)
    assert [getattr(one, "reason", None) for one in found] == [None, "not_finite"]
