"""Interrupted annotation goes on where it stopped: nothing is asked twice, paid for unseen, or put on another pair."""

import json
import time
from collections import Counter

import pytest

from basereward.data.annotations import thoughts_of
from basereward.data.arrangement import ReadOptions
from basereward.data.manifest import read_manifest
from basereward.data.outcomes import Failure, Verdict
from basereward.data.pairs import load_pairs
from basereward.data.work import RECORDS
from basereward.errors import DataError, ScoringError, WorkError
from basereward.scoring.annotation.run import AnnotationOptions, annotate
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.spec import open_judge
from tests.scoring.annotation.planted import THOUGHTS, Stopping, completion, number_of, serve, think_right, write_pairs

REFUSED = (400, {"error": "content policy"}, {})


def test_tokens_of_questions_that_were_asked_in_vain_are_paid_for_too(chat_server, tmp_path, monkeypatch):
    asked = Counter()

    def answer(request):
        asked[request.text] += 1
        # Each question gets its answer from the second call on.
        said = completion(
            think_right(request.text) if asked[request.text] > 1 or number_of(request.text) else "", (7, 3)
        )
        return said if said[1]["choices"][0]["message"]["content"] else (200, {**said[1], "choices": []}, {})

    server = serve(chat_server, answer)
    source, out = write_pairs(tmp_path / "pairs.jsonl", 2), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("basereward.scoring.annotation.run.publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            annotate(open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, source, out)
    manifest = annotate(open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, source, out)
    assert (manifest.rows, sum(asked.values())) == (2, 6)
    assert (manifest.judges[0].prompt_tokens, manifest.judges[0].completion_tokens) == (6 * 7, 6 * 3)


def test_interrupted_work_goes_on_and_asks_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.scoring.judges.answers.BATCH_QUESTIONS", 3)
    source, out = write_pairs(tmp_path / "pairs.jsonl", 10), tmp_path / "out"
    whole = annotate(Stopping(), THOUGHTS, source, tmp_path / "whole")
    first, second, done = Stopping(after=8), Stopping(), []
    with pytest.raises(ScoringError):
        annotate(first, THOUGHTS, source, out)
    assert not out.exists()
    with pytest.raises(WorkError, match="name 'stopping', not 'another'"):
        annotate(Stopping(name="another"), THOUGHTS, source, out)
    # A kill in the middle of a line.
    records = tmp_path / "out.partial" / RECORDS
    records.write_bytes(records.read_bytes()[:-5])
    manifest = annotate(second, THOUGHTS, source, out, on_progress=lambda own, total: done.append((own, total)))
    assert (len(first.asked), len(second.asked)) == (9, 20 - 8)
    assert len({*first.asked[:8], *second.asked}) == 20
    assert (done[0], done[-1]) == ((8, 20), (20, 20))
    assert manifest.model_copy(update={"name": "whole"}).sha256 == whole.sha256
    # Complete work is left as it is, other work is refused.
    assert annotate(second, THOUGHTS, source, out) == read_manifest(out)
    assert len(second.asked) == 12
    with pytest.raises(WorkError, match="holds other work"):
        annotate(second, THOUGHTS, source, out, AnnotationOptions(limit=3))


def test_what_failed_is_asked_again_by_the_next_call_and_counted_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("basereward.scoring.judges.answers.BATCH_QUESTIONS", 1)

    class Failing(Stopping):
        def answer(self, question):
            if "Q1" in question.prompt[0].text:
                return Failure("refused", "no")
            return super().answer(question)

    source, out = write_pairs(tmp_path / "pairs.jsonl", 3), tmp_path / "out"
    with pytest.raises(ScoringError):
        annotate(Failing(after=5), THOUGHTS, source, out)
    last = Failing()
    manifest = annotate(last, THOUGHTS, source, out)
    assert [prompt for prompt, _ in last.asked] == ["Q1?", "Q1?", "Q2?"]
    assert manifest.steps[0]["dropped"] == {"refused": 1}
    assert (manifest.judges[0].requests, manifest.judges[0].failed) == (6, 2)


def test_answers_stay_with_their_pair_when_an_image_comes_back(picture, tmp_path, monkeypatch):
    """Of two calls the first cannot read the image of the first pair, so that every other pair stands one place up."""
    monkeypatch.setattr("basereward.scoring.judges.answers.BATCH_QUESTIONS", 1)
    shown = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "QN?"}]}]
    rows = []
    for number in range(4):
        picture(30, 20, number).save(tmp_path / f"{number}.png")
        prompt = json.loads(json.dumps(shown).replace("QN", f"Q{number}"))
        rows.append({"id": str(number), "prompt": prompt, "images": [f"{number}.png"], "chosen": "a", "rejected": "b"})
    source, out = tmp_path / "pairs.jsonl", tmp_path / "out"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))

    class Naming(Stopping):
        def answer(self, question):
            place = [side[0].text for side in question.responses].index("a")
            name = question.prompt[0].content[1].text
            return Verdict(place, f"<think>On {name}</think><answer>{place + 1}</answer>")

    (tmp_path / "0.png").rename(tmp_path / "hidden.png")
    with pytest.raises(ScoringError, match="gone"):
        annotate(Naming(after=4), THOUGHTS, str(source), out)
    (tmp_path / "hidden.png").rename(tmp_path / "0.png")
    last = Naming()
    annotate(last, THOUGHTS, str(source), out)
    assert len(last.asked) == 4
    assert {pair.id: set(thoughts_of(pair)) for pair in load_pairs([out]).pairs} == {
        str(number): {f"On Q{number}?"} for number in range(4)
    }


def test_work_of_which_failures_alone_are_left_comes_to_its_end(chat_server, tmp_path, monkeypatch):
    """That many failures in front of any answer would mean a server that cannot be asked at all."""
    server = serve(chat_server, lambda request: think_right(request.text) if number_of(request.text) > 4 else REFUSED)
    source, out = write_pairs(tmp_path / "pairs.jsonl", 8), tmp_path / "out"
    judge = open_judge(f"judge:{server.url}#m", "think", options=JudgeOptions(concurrency=1))
    judge.trust()
    with monkeypatch.context() as patch:
        patch.setattr("basereward.scoring.annotation.run.publish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            annotate(judge, THOUGHTS, source, out)
    manifest = annotate(open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, source, out)
    assert (manifest.rows, manifest.judges[0].failed) == (3, 10)


def test_a_complete_folder_was_read_as_it_would_be_read_now(tmp_path):
    source, out = write_pairs(tmp_path / "pairs.jsonl", 2), tmp_path / "out"
    turned = ReadOptions(map={"chosen": "rejected", "rejected": "chosen"})
    annotate(Stopping(), THOUGHTS, source, out)
    with pytest.raises(WorkError, match="holds other work"):
        annotate(Stopping(), THOUGHTS, source, out, AnnotationOptions(read=turned))
    pears = tmp_path / "pears"
    with pytest.raises(DataError, match="contradicts"):
        annotate(Stopping(), THOUGHTS, source, pears, AnnotationOptions(read=turned))
    annotate(Stopping(), THOUGHTS, source, tmp_path / "same", AnnotationOptions(read=ReadOptions(format="trl")))
    with pytest.raises(WorkError, match="holds other work"):
        annotate(Stopping(), THOUGHTS, source, tmp_path / "same")


def test_answers_in_flight_are_kept_when_the_endpoint_refuses(chat_server, tmp_path):
    asked = []

    def answer(request):
        asked.append(request.text)
        if len(asked) == 9:
            return (401, {}, {})
        time.sleep(0.02)
        return think_right(request.text)

    server = serve(chat_server, answer)
    source, out = write_pairs(tmp_path / "pairs.jsonl", 20), tmp_path / "out"
    with pytest.raises(ScoringError, match="refuses access"):
        annotate(open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, source, out)
    first = len(asked)
    annotate(open_judge(f"judge:{server.url}#m", "think"), THOUGHTS, source, out)
    # Only the refused question is asked again.
    assert (len(asked), len(set(asked))) == (41, 40)
    assert first < 40
