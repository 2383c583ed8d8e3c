"""What a judge's answers are worth: form, verdict, and what its thoughts support."""

import math

import pytest

from basereward.data.judging.formats import FORMATS
from basereward.data.outcomes import About, Failure, Verdict
from basereward.errors import RewardError
from basereward.rl.consistency import AskingReader, StatementReader, open_reader
from basereward.rl.judge_function import JudgeReward
from basereward.rl.judge_rewards import answer_rewards, consistency, format_rewards, judge_rewards
from basereward.rl.recipe import JudgeRewardRecipe
from basereward.rl.thoughts import supported_response

WRITE = FORMATS.get("think").write
B = "The color is blue. Response 1 says blue, which is right. Response 2 says red, which is wrong."


@pytest.mark.parametrize(
    ("text", "form", "answer"),
    [
        (WRITE("It is blue.", 0), 1, 1),
        (WRITE("", 0), 1, 1),
        (f"\n{WRITE('It is', 0)} \n", 1, 1),
        (WRITE("It is red.", 1), 1, 0),
        ("<think>a</think><answer>tie</answer>", 1, 0),
        ("<think>a</think><answer>both</answer>", 1, 0),
        # As Qwen3's template writes an answer that it was taught.
        ("<think>\na\n</think>\n\n<answer>1</answer>", 1, 1),
        ("<think>a</think> So <answer>1</answer>", 0, 1),
        ("<answer>1</answer>", 0, 1),
        ("<think>a</think><answer>1</answer> Indeed.", 0, 1),
        ("So: <think>a</think><answer>1</answer>", 0, 1),
        ("<think>a</think><think>b</think><answer>1</answer>", 0, 1),
        ("<think>a</think><answer>1</answer><answer>1</answer>", 0, 1),
        ("<think>a</think><answer>1</answer><answer>2</answer>", 0, 0),
        ("<think>a <answer>1</answer></think><answer>1</answer>", 0, 1),
        ("<think>a <answer>1</answer>", 0, 0),
        ("<think>a</think><answer>1", 0, 0),
        ("<think>a</think>1", 0, 0),
        ("1", 0, 0),
        ("", 0, 0),
    ],
)
def test_form_and_verdict_are_read_apart(text, form, answer):
    assert (format_rewards([text]), answer_rewards([text], 0)) == ([form], [answer])


def test_an_answer_that_was_cut_off_matches_nothing():
    text = WRITE("Response 1.", 0)
    assert answer_rewards([text, text], 0, [False, True]) == [1, 0]


@pytest.mark.parametrize(
    ("thought", "supported"),
    [
        (B, 0),
        ("The color is blue. Response 1 says red. Response 2 says blue. Response 2 is right.", 1),
        ("Response 1 is wrong. Response 2 says blue.", 1),
        ("Response 1 is not right. Response 2 is right.", 1),
        ("Response 1 is right. Wait. Response 1 is wrong, and Response 2 is correct.", 1),
        ("Response 2 is wrong in one detail, but overall Response 2 is better.", 1),
        ("Response 1 is better in style. All in all, Response 2 is better.", 1),
        ("Response 1 is not better. Response 2 is better.", 1),
        ("Response 1 is right. Response 2 is right.", None),
        ("Response 1 is wrong. Response 2 is wrong.", None),
        ("They are equally good.", None),
        ("If Response 1 is right, the color is blue.", None),
        ("Is Response 1 right? Response 2 is clear.", None),
        ("Response 1 says blue and Response 2 red.", None),
        ("Response 1 mentions that Response 2 is wrong.", 0),
        ("Neither Response 1 nor Response 2 is right.", None),
        ("It is not true that Response 1 is right.", None),
        ("I doubt that Response 2 is correct.", None),
        ("Nothing in Response 2 is wrong.", None),
        ("Response 1 does not say what is right.", None),
        ("No, wait: Response 2 is right.", 1),
        ("Response 1 is not what was asked for, so Response 2 is right.", 1),
        ("Response 1 says that the cat is right of the dog.", None),
        ("", None),
    ],
)
def test_thoughts_support_what_they_state(thought, supported):
    assert supported_response(thought) == supported


def test_long_thoughts_are_read_in_linear_time():
    assert supported_response("Response 1 " * 20_000) is None
    assert supported_response("a" * 200_000 + ".") is None


def test_consistency_multiplies_a_right_verdict_alone():
    texts = [
        WRITE(B, 0),
        WRITE(B, 1),
        WRITE("Hm.", 0),
        WRITE("Response 2 is better.", 0),
        WRITE("Response 2 is better.", 1),
    ]
    forms, answers = format_rewards(texts), answer_rewards(texts, 0)
    known = [
        consistency(place, supported_response(text[7 : text.index("</think>")]))
        for place, text in zip((0, 1, 0, 0, 1), texts, strict=True)
    ]
    assert known == [1, -1, 0, -1, 1]
    assert judge_rewards(forms, answers, known) == [2.0, 0.5, 1.5, 1.0, 0.5]
    assert judge_rewards(forms, answers, known, 0.0, 1.0) == [2.0, 0.0, 1.0, 0.0, 0.0]
    assert judge_rewards([1], [1], [None]) == [None]
    assert consistency("tie", 0) == consistency("unparsable", 1) == 0


class Reading:
    """A judge that finds what it is told to in thoughts, and fails where it is told nothing."""

    about = About("reading", sees_images=False, identity={"weights": "w"})

    def __init__(self, found):
        self.found, self.asked = found, []

    def compare(self, questions):
        self.asked += questions
        texts = [question.prompt[0].text for question in questions]
        known = [next((choice for part, choice in self.found.items() if part in text), None) for text in texts]
        return [Failure("timeout", "slow") if one is None else Verdict(one, "") for one in known]


def test_a_judge_reads_thoughts_without_their_verdict(make_group):
    judge = Reading({"AAA": 0, "BBB": 1, "CCC": "tie", "DDD": "unparsable"})
    texts = [
        WRITE("AAA", 0),
        WRITE("AAA", 1),
        WRITE("BBB {x}", 1),
        WRITE("CCC", 0),
        WRITE("DDD", 0),
        WRITE("", 0),
        "AAA 1",
    ]
    [scored] = AskingReader(judge).score([make_group("Q?", texts)])
    assert [one.value for one in scored] == [1, -1, 1, 0, 0, 0, 0]
    assert len(judge.asked) == 4
    for question in judge.asked:
        assert "<answer>" not in question.prompt[0].text
        assert [said[0].text for said in question.responses] == ["Response 1 is better.", "Response 2 is better."]
    [[failed]] = AskingReader(judge).score([make_group("Q?", [WRITE("EEE", 0)])])
    assert failed == Failure("timeout", "slow")
    assert AskingReader(judge).about.identity["weights"] == "w"


def test_a_group_is_rewarded_by_the_pure_functions(rollouts):
    texts = (WRITE(B, 0), WRITE(B, 1), "1", WRITE(B, 0), WRITE("Response 2 is right.", 0))
    function, seen = JudgeReward(), []
    function.observers.append(lambda own, rewarded: seen.extend(rewarded))
    [found] = function([rollouts(texts, "1", truncated=(False, False, False, True, False))])
    assert found.rewards == (2.0, 0.5, 0.0, 0.0, 1.0)
    assert found.terms == {"format": (1, 1, 0, 0, 1), "consistency": (1, -1, 0, 1, -1)}
    assert [(one.matched, one.extracted) for one in found.matches] == [
        (True, "1"),
        (False, "2"),
        (False, None),
        (False, None),
        (True, "1"),
    ]
    assert seen == [found]
    metrics = function.summary.metrics()
    assert (metrics["matched"], metrics["format"], metrics["consistency"]) == (0.4, 0.6, 0)
    assert "saturated" not in metrics
    [other] = function([rollouts(texts[:2], "2")])
    assert other.rewards == (0.5, 1.0)


def test_a_reader_that_fails_gives_no_reward(rollouts):
    function = JudgeReward(reader=AskingReader(Reading({"blue": 0})))
    [found] = function([rollouts((WRITE(B, 0), WRITE("else", 0), "no form"), "1")])
    assert found.rewards == (2.0, None, 0.0)
    assert found.failures == {1: Failure("timeout", "slow")}
    assert math.isnan(found.terms["consistency"][1])
    assert function.summary.terms["consistency"] == 0.5
    for _ in range(2):
        function([rollouts((WRITE("else", 0),), "1")])
    with pytest.raises(RewardError, match="slow"):
        function([rollouts((WRITE("else", 0),), "1")])


def test_readers_go_by_name(rollouts):
    assert isinstance(open_reader("statements"), StatementReader)
    with pytest.raises(RewardError, match="expected statements, none or judge"):
        open_reader("baseline:longer")
    [found] = JudgeReward(JudgeRewardRecipe(reader="none", format_weight=0.25))([rollouts((WRITE("x", 0), "1"), "1")])
    assert found.rewards == (1.25, 0.0)
    assert list(found.terms) == ["format"]
    with pytest.raises(RewardError, match="expected 1 or 2"):
        JudgeReward()([rollouts(("a",), "blue")])
