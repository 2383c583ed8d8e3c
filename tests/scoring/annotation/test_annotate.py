"""Annotations of a judge: asked once, without the label, checked against it, and counted with what they cost."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import nullcontext

import pytest

from basereward.data.annotations import critiques_of, thoughts_of
from basereward.data.io import read_records
from basereward.data.judging.prompts import make_prompt
from basereward.data.judging.ratings import make_critic_prompt
from basereward.data.outcomes import Verdict
from basereward.data.pairs import load_pairs
from basereward.errors import DataError, RecipeError, ScoringError
from basereward.scoring.annotation.asking import Price
from basereward.scoring.annotation.critiques import CritiqueTask
from basereward.scoring.annotation.run import DROPPED, AnnotationOptions, annotate, explain
from basereward.scoring.annotation.thoughts import ThoughtTask
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.spec import open_judge
from tests.scoring.annotation.planted import THOUGHTS, Stopping, completion, number_of, serve, think_right, write_pairs

CRITIQUES = CritiqueTask(make_critic_prompt("score"))


def dropped(out):
    return [(own["id"], own["question"], own["reason"]) for own in read_records(out / DROPPED)]


def test_thoughts_that_come_to_the_label_stay_and_the_others_are_counted(chat_server, tmp_path):
    def answer(request):
        number = number_of(request.text)
        if number == 0:
            # Position bias: right in one order alone.
            return "<think>First.</think><answer>1</answer>"
        odd = {1: "<think>a</think><answer>1</answer><answer>2</answer>", 2: "<answer>1</answer>", 3: "<think>"}
        return odd.get(number) or think_right(request.text)

    server = serve(chat_server, answer)
    source = write_pairs(tmp_path / "pairs.jsonl", margin=2.0, scores=[5, 1])
    judge = open_judge(f"judge:{server.url}#m", "think")
    manifest = annotate(judge, THOUGHTS, source, tmp_path / "out")
    loaded = load_pairs([tmp_path / "out"])
    assert [pair.id for pair in loaded.pairs] == ["secret-0", "secret-4", "secret-5"]
    first, second, _ = map(thoughts_of, loaded.pairs)
    assert first == ("First.", None)
    assert second == ("The apple of 4 is response 1.", "The apple of 4 is response 2.")
    # Rows keep everything else.
    assert (loaded.pairs[1].extra["axis"], loaded.pairs[1].margin, loaded.pairs[1].scores) == ([4], 2.0, (5, 1))
    step = manifest.steps[0]
    assert (step["in"], step["out"]) == (6, 3)
    assert step["dropped"] == {"unparsable": 2, "contradicts+no_words": 1}
    assert step["details"]["unused_answers"] == {"contradicts": 2, "no_words": 1, "unparsable": 4}
    assert Counter(dropped(tmp_path / "out"))[("secret-0", "rejected_first", "contradicts")] == 1
    assert len(dropped(tmp_path / "out")) == 7


@pytest.mark.parametrize("task", [THOUGHTS, CRITIQUES], ids=["thoughts", "critiques"])
def test_nothing_that_is_asked_tells_the_label(task, chat_server, tmp_path):
    server = serve(chat_server, lambda request: think_right(request.text) if task is THOUGHTS else "x\nScore: 5")
    source = write_pairs(tmp_path / "pairs.jsonl", 3, source="chosen is better", scores=[91, 17], margin=74)
    judge = open_judge(f"judge:{server.url}#m", task.prompt if task is THOUGHTS else task.prompt.prompt)
    # All ratings are equal, so no critique is left.
    with pytest.raises(DataError) if task is CRITIQUES else nullcontext():
        annotate(judge, task, source, tmp_path / "out")
    asked = [json.dumps(request.body) for request in server.requests if request.body]
    assert len(asked) == 6
    for word in ("secret", "chosen", "rejected", "91", "17", "74", "axis"):
        assert not any(word in text for text in asked)
    if task is CRITIQUES:
        # The same words around every response.
        assert len({re.sub(r"(apple|pear) \d|Q\d", "", text) for text in asked}) == 1
    else:
        assert Counter(text.index("apple") < text.index("pear") for text in asked) == {True: 3, False: 3}


def test_critiques_stay_where_the_chosen_response_is_rated_higher(chat_server, tmp_path):
    def answer(request):
        number, is_apple = number_of(request.text), "apple" in request.text
        ratings = {0: (8, 3), 1: (3, 8), 2: (5, 5), 3: (None, 2)}.get(number, (9, 1))
        rating = ratings[0] if is_apple else ratings[1]
        text = f"It is {'an apple' if is_apple else 'a pear'}." + (f"\nScore: {rating}" if rating else "")
        return completion(text, reason="length" if number == 4 else "stop")

    server = serve(chat_server, answer)
    judge = open_judge(f"judge:{server.url}#m", CRITIQUES.prompt.prompt)
    source = write_pairs(tmp_path / "pairs.jsonl")
    manifest = annotate(judge, CRITIQUES, source, tmp_path / "out")
    loaded = load_pairs([tmp_path / "out"])
    assert [pair.id for pair in loaded.pairs] == ["secret-0", "secret-5"]
    assert critiques_of(loaded.pairs[0])[:2] == ("It is an apple.", "It is a pear.")
    assert manifest.steps[0]["dropped"] == {"contradicts": 1, "cut_off": 1, "undecided": 1, "unparsable": 1}
    unchecked = CritiqueTask(make_critic_prompt("none"))
    judge = open_judge(f"judge:{server.url}#m", unchecked.prompt.prompt)
    whole = annotate(judge, unchecked, source, tmp_path / "all")
    assert (whole.rows, whole.steps[0]["details"]["checked_against_label"]) == (5, False)
    assert any("no critique was checked" in line for line in explain(whole))


def test_images_of_a_pair_reach_the_judge_and_stay_in_the_row(chat_server, picture, tmp_path):
    for name in "abc":
        picture(30, 20, ord(name)).save(tmp_path / f"{name}.png")
    said = [[{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for text in "xy"]
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Q0?"}]}]
    row = {"prompt": prompt, "chosen": said[0], "rejected": said[1], "images": ["a.png", "b.png", "c.png"]}
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row))
    server = serve(chat_server, lambda request: f"Seen.\nScore: {8 if 'x' in request.text.split('===')[4] else 2}")
    judge = open_judge(f"judge:{server.url}#m", CRITIQUES.prompt.prompt)
    manifest = annotate(judge, CRITIQUES, str(tmp_path / "pairs.jsonl"), tmp_path / "out")
    assert manifest.multimodal == 1
    shown = [
        tuple(part["image_url"]["url"] for part in request.parts if part["type"] == "image_url")
        for request in server.requests
        if request.body
    ]
    assert [len(own) for own in shown] == [2, 2]
    assert shown[0][0] == shown[1][0]
    assert shown[0][1] != shown[1][1]
    assert len(load_pairs([tmp_path / "out"]).pairs[0].images) == 3


def test_tokens_and_cost_are_counted_and_who_told_none(chat_server, tmp_path):
    def answer(request):
        number = number_of(request.text)
        return completion(think_right(request.text), None if number == 0 else (100, number))

    server = serve(chat_server, answer)
    source = write_pairs(tmp_path / "pairs.jsonl", 4)
    judge = open_judge(f"judge:{server.url}#m", "think")
    manifest = annotate(judge, THOUGHTS, source, tmp_path / "out", AnnotationOptions(price=Price(2.0, 10.0)))
    [use] = manifest.judges
    assert (use.requests, use.failed, use.without_usage, use.pairs) == (8, 0, 2, 4)
    assert (use.prompt_tokens, use.completion_tokens) == (600, 2 * (1 + 2 + 3))
    assert use.cost == pytest.approx((600 * 2 + 12 * 10) / 1e6)
    assert (use.prompt, use.wrote, use.identity["model"]) == ("think", "thoughts", "m")
    # The same data for another price are the same data.
    again = annotate(judge, THOUGHTS, source, tmp_path / "free")
    assert (again.judges[0].cost, again.model_copy(update={"name": "out"}).sha256) == (None, manifest.sha256)


def test_a_pair_file_where_nothing_is_left_is_an_error_with_the_reasons(tmp_path):
    class Silent(Stopping):
        def answer(self, question):
            return Verdict("unparsable", "hm")

    with pytest.raises(DataError, match=r"Of 2 pairs none is left: {'unparsable': 2}.*dropped\.jsonl"):
        annotate(Silent(), THOUGHTS, write_pairs(tmp_path / "pairs.jsonl", 2), tmp_path / "out")


def test_a_judge_that_answers_with_a_digit_has_no_thoughts():
    with pytest.raises(RecipeError, match="asks for no thoughts"):
        ThoughtTask(make_prompt("digit"))


def test_thoughts_that_a_server_keeps_apart_are_thoughts(chat_server, tmp_path):
    def answer(request):
        place = 1 + (request.text.index("apple") > request.text.index("pear"))
        message = {"content": f"<answer>{place}</answer>", "reasoning_content": "It grows on trees."}
        return (200, {"choices": [{"message": message, "finish_reason": "stop"}]}, {})

    server = serve(chat_server, answer)
    annotate(
        open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, write_pairs(tmp_path / "p.jsonl", 1), tmp_path / "o"
    )
    assert thoughts_of(load_pairs([tmp_path / "o"]).pairs[0]) == ("It grows on trees.", "It grows on trees.")


def test_a_model_in_this_process_is_asked_as_a_critic_and_as_a_judge(vl_backbone, picture, tmp_path):
    picture().save(tmp_path / "a.png")
    row = {"prompt": "<image>Which?", "chosen": "red", "rejected": "blue", "images": ["a.png"]}
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    (tmp_path / "pairs.jsonl").write_text(json.dumps({**row, "prompt": prompt}))
    unchecked = CritiqueTask(make_critic_prompt("none", 4))
    for task, own in ((unchecked, unchecked.prompt.prompt), (THOUGHTS, make_prompt("think", 4))):
        judge = open_judge(f"judge:{vl_backbone}", own, device="cpu")
        # Random weights never come to an end.
        with pytest.raises(DataError, match=r"Of 1 pairs none is left: {'cut_off': 1}"):
            annotate(judge, task, str(tmp_path / "pairs.jsonl"), tmp_path / task.wrote)
        [first, second] = read_records(tmp_path / f"{task.wrote}.partial" / DROPPED)
        assert first["text"]
        assert second["text"]
    votes = open_judge(f"judge:{vl_backbone}", "think", options=JudgeOptions(temperature=1.0, samples=2), device="cpu")
    with pytest.raises(ScoringError, match="Thoughts are of one answer; found samples=2"):
        annotate(votes, THOUGHTS, str(tmp_path / "pairs.jsonl"), tmp_path / "votes")


@pytest.mark.slow
def test_a_killed_command_asks_only_what_was_in_flight_again(chat_server, tmp_path):
    asked = []

    def answer(request):
        asked.append(request.text)
        time.sleep(0.05)
        return think_right(request.text)

    server = serve(chat_server, answer)
    source, out = write_pairs(tmp_path / "pairs.jsonl", 60), tmp_path / "out"
    arguments = [
        "data",
        "annotate",
        source,
        "--out",
        str(out),
        "--kind",
        "thoughts",
        "--judge",
        f"judge:{server.url}#m",
    ]
    command = [sys.executable, "-m", "basereward", *arguments, "--judge-option", "concurrency=4"]
    for kills in (20, 60):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while len(asked) < kills and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, capture_output=True)
    again = sum(count - 1 for count in Counter(asked).values())
    assert len(set(asked)) == 120
    assert again <= 2 * 4
    assert len(load_pairs([out]).pairs) == 60
