"""A verdict is read as it was said, or not at all."""

from string import ascii_uppercase

import pytest

from basereward.data.judging.formats import FORMATS, MOST_RESPONSES
from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import JudgeQuestion
from basereward.errors import RowError


@pytest.mark.parametrize(
    ("name", "text", "choice"),
    [
        ("verdict_line", "Response 2 is longer.\nVerdict: 1", 0),
        ("verdict_line", "**Verdict: 2**", 1),
        ("verdict_line", "**Final verdict:** Response 2.\n", 1),
        ("verdict_line", "两个回答都对。\nVerdict\uff1atie。", "tie"),
        ("verdict_line", "> verdict: TIE", "tie"),
        ("verdict_line", "Verdict: 1\nVerdict: 1", 0),
        ("verdict_line", "Verdict: 1\n...\nVerdict: 2", "unparsable"),
        ("verdict_line", "Verdict: 1 or 2", "unparsable"),
        ("verdict_line", "I would say Verdict: 1", "unparsable"),
        ("verdict_line", "Verdict: 12", "unparsable"),
        ("verdict_line", "Response 1 is better.", "unparsable"),
        ("verdict_line", "", "unparsable"),
        ("verdict_line", "<think>Response 2 is better.\nVerdict: 2</think>\nVerdict: 1", 0),
        ("verdict_line", "Response 2 seems better.\nVerdict: 2\n</think>\nVerdict: 1", 0),
        ("verdict_line", "<think>So far:\nVerdict: 2\n", "unparsable"),
        ("answer_tag", "<think>Response 2 is better: <answer>2</answer></think><answer>1</answer>", 0),
        ("answer_tag", "<answer> 2 </answer>", 1),
        ("answer_tag", "<answer>Answer 1 is better</answer>", 0),
        ("answer_tag", "<answer>1</answer> no, <answer>2</answer>", "unparsable"),
        ("think", "<think>2 is better than 1.</think><answer>2</answer>", 1),
        ("think", "<think>1</think><answer>1</answer><answer>2</answer>", "unparsable"),
        ("digit", "2", 1),
        ("digit", "1 or 2", "unparsable"),
        ("digit", "12", "unparsable"),
        ("answer_tag", "<answer>1</answer> or <answer>neither</answer>", "unparsable"),
        ("answer_tag", "<answer>1", "unparsable"),
        ("brackets", "A is fine, B is wrong. [[A]]", 0),
        ("brackets", "[[B>>A]]", 1),
        ("brackets", "[[C]]", "tie"),
        ("brackets", "[[A=B]]", "tie"),
        ("brackets", "[[A]] ... [[B]]", "unparsable"),
        ("brackets", "[A]", "unparsable"),
        ("sentence", "It reads the sign. The first response is better because it looks.", 0),
        ("sentence", "**Response 2 is clearly better.**", 1),
        ("sentence", "They are equally good.", "tie"),
        ("sentence", "In style response 2 is better, but overall response 1 is better.", "unparsable"),
        ("sentence", "Response 1 is not better.", "unparsable"),
        ("sentence", "Is response 1 better?", "unparsable"),
        ("verdict_line", "\\boxed{1}", 0),
        ("verdict_line", "Both are fine.\n$\\boxed{\\text{Response 2}}$", 1),
        ("verdict_line", "Verdict: \\boxed{2}", 1),
        ("verdict_line", "\\boxed{4}", "unparsable"),
        ("verdict_line", "Response 2 ends with\n\\boxed{2}\nwhich is wrong.\nVerdict: 1", 0),
        ("verdict_line", "Response 2 says \\boxed{2}.", "unparsable"),
        ("verdict_line", 'Verdict: "1"', 0),
        ("verdict_line", "Verdict: \u201ctie\u201d.", "tie"),
        ("verdict_line", "- Verdict: 2", 1),
        ("verdict_line", "3. **Verdict**: 2", 1),
        ("sentence", "Response 1 is better in style. All in all, response 2 is better.", 1),
        ("sentence", "Response 1 is better, because it does not guess and cannot be wrong.", 0),
        ("sentence", "Response 1 is better than Response 2, not by much.", 0),
        ("sentence", "Response 2 is better than Response 1.", 1),
        ("sentence", "2 is better than 1.", 1),
        ("sentence", "All in all, 1 is clearly better than response 2.", 0),
        ("sentence", "A share of 2 is better than 1.", "unparsable"),
        ("sentence", "2 is not better than 1.", "unparsable"),
        ("sentence", "Response 1 is better, 2 is better than 1.", "unparsable"),
        ("sentence", "I think the second answer is slightly better", 1),
        ("sentence", "Response 2 is wrong and never looks, so Response 1 is better.", 0),
        ("sentence", "Since the first one does not look, the second response is better.", 1),
        ("sentence", "Response 2 is wrong, but I do not think Response 1 is better.", "unparsable"),
        ("sentence", "It is not the case, as I see it, that Response 1 is better.", "unparsable"),
        ("sentence", "I do not think Response 1 is better.", "unparsable"),
        ("sentence", "I don\u2019t think Response 1 is better.", "unparsable"),
        ("sentence", "Neither response is right, nor can I say that Response 1 is better.", "unparsable"),
        ("sentence", "I do not think Response 1 is better. It is hard to say.", "unparsable"),
        ("sentence", "Response 1 is better. But I cannot be sure.", "unparsable"),
        ("sentence", "It is hard to say whether Response 1 is better.", "unparsable"),
        ("sentence", "Response 1 is better if you like it short.", "unparsable"),
        ("sentence", "Response 1 is better is not what I would say.", "unparsable"),
        ("sentence", "So Response 1 is better?", "unparsable"),
        ("sentence", 'A reader may say "Response 1 is better."', "unparsable"),
        ("sentence", "Response 2 claims: \u201cResponse 2 is better\u201d.", "unparsable"),
        ("sentence", "It says 'Response 2 is better' itself.", "unparsable"),
        ("sentence", "The prompt's last word: Response 1 is better.", 0),
        ("sentence", "I doubt that they are equally good.", "unparsable"),
        ("sentence", "Response 3 is better.", "unparsable"),
    ],
)
def test_a_verdict_is_one_clear_word_behind_all_thoughts(name, text, choice):
    verdict = FORMATS.get(name).read(text)
    assert (verdict.choice, verdict.text) == (choice, text)


def test_an_answer_that_was_cut_off_has_no_verdict():
    verdict = FORMATS.get("verdict_line").read("First idea.\nVerdict: 1\nBut then", is_cut_off=True)
    assert (verdict.choice, verdict.is_cut_off) == ("unparsable", True)


@pytest.mark.parametrize(
    ("name", "text", "choice"),
    [
        ("verdict_line", "Verdict: 4", 3),
        ("verdict_line", "Verdict: 5", "unparsable"),
        ("verdict_line", "Verdict: 0", "unparsable"),
        ("answer_tag", "<answer>Response 3 is the best</answer>", 2),
        ("answer_tag", "<answer>9</answer>", "unparsable"),
        ("brackets", "[[C]]", 2),
        ("brackets", "[[tie]]", "tie"),
        ("brackets", "[[A>B]]", "unparsable"),
        ("brackets", "[[E]]", "unparsable"),
        ("sentence", "Response 4 is the best.", 3),
        ("sentence", "The third response is best, since it looks.", 2),
        ("sentence", "They are equally good.", "tie"),
    ],
)
def test_four_responses_have_names_of_their_own(name, text, choice):
    assert FORMATS.get(name).read(text, responses=4).choice == choice


@pytest.mark.parametrize("responses", [2, 3, 6, MOST_RESPONSES])
@pytest.mark.parametrize("name", FORMATS.names())
def test_what_a_judge_is_told_to_write_is_read(name, responses):
    told = FORMATS.get(name).instruct(responses)
    for place in range(responses):
        letter, best = ascii_uppercase[place], "better" if responses == 2 else "best"
        options = {
            "verdict_line": f"Verdict: {place + 1}",
            "answer_tag": f"<answer>{place + 1}</answer>",
            "think": f"<answer>{place + 1}</answer>",
            "digit": str(place + 1),
            "brackets": f"[[{letter}]]",
            "sentence": f"Response {place + 1} is {best}.",
        }
        assert options[name] in told
        assert FORMATS.get(name).read(options[name], responses).choice == place


@pytest.mark.parametrize("responses", [2, 3, 6])
@pytest.mark.parametrize("name", FORMATS.names())
def test_the_instruction_repeated_is_no_verdict(name, responses):
    assert FORMATS.get(name).read(FORMATS.get(name).instruct(responses), responses).choice == "unparsable"


def test_a_prompt_shows_every_response_under_its_number(say):
    shown = tuple((say("assistant", text),) for text in ("ONE", "TWO", "THREE"))
    [message] = JudgePrompt(FORMATS.get("verdict_line")).ask(JudgeQuestion((say("user", "WHY"),), shown))
    words = (
        "3 responses",
        "best",
        "WHY",
        "Response 1",
        "ONE",
        "Response 2",
        "TWO",
        "Response 3",
        "THREE",
        "Verdict: 3",
    )
    places = [message.text.index(word) for word in words]
    assert places == sorted(places)
    with pytest.raises(RowError, match="1 responses to compare, expected 2 to 26"):
        JudgePrompt(FORMATS.get("verdict_line")).ask(JudgeQuestion((say("user", "WHY"),), shown[:1]))
