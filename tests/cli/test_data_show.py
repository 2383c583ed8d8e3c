"""``data show`` on the command line: the page, the statistics as JSON, and its refusals."""

import json

import pytest

from basereward.data.manifest import Manifest, write_manifest


def write_asked(path, questions, count=40, image=None):
    rows = [{"prompt": questions[n % len(questions)], "chosen": f"It is {n}.", "rejected": "No."} for n in range(count)]
    path.write_text("".join(json.dumps(row | ({"images": [image]} if image else {})) + "\n" for row in rows))
    return path


def test_a_page_is_written_and_named_after_the_set(command, tiny, tmp_path):
    ended = command("data", "show", tiny.pairs)
    assert ended.code == 0, ended.err
    page = tmp_path / "runs" / f"show-{tiny.folder.name}-pairs.html"
    assert ended.out.splitlines()[0] == "pairs     24 of 24 rows, 24 with images or videos"
    assert f"page      runs/{page.name}" in ended.out
    assert "Sampled pairs" in page.read_text()


def test_json_is_the_statistics_and_nothing_else(command, tiny, tmp_path):
    found = command("data", "show", tiny.pairs, "--out", "here/page.html", "--samples", 3, "--json").json
    assert (found["rows"], found["pairs"], found["multimodal"]) == (24, 24, 24)
    assert sum(own["pairs"] for own in found["sources"].values()) == 24
    assert (tmp_path / found["page"]).is_file()
    assert "tokens" not in found


def test_several_files_are_one_set(command, tiny):
    found = command("data", "show", tiny.pairs, tiny.pairs, "--json").json
    assert (found["pairs"], found["duplicates"]) == (
        48,
        24 + command("data", "show", tiny.pairs, "--json").json["duplicates"],
    )


def test_tokens_are_those_that_training_counts(command, tiny, vl_backbone, tmp_path):
    plan = command("train", tiny.recipe, "--plan", "--json").json
    found = command("data", "show", tiny.pairs, "--out", "page.html", "--tokenizer", vl_backbone, "--json").json[
        "tokens"
    ]
    assert found["of a pair"]["n"] == plan["pairs"] == 24
    assert found["of a pair"]["mean"] == pytest.approx(plan["tokens_per_pair"])
    assert found["of a pair"]["max"] == plan["longest_pair"]
    assert found["of its images"]["min"] > 0
    assert "image tokens of" in (tmp_path / "page.html").read_text()


def test_a_missing_file_and_a_set_of_prompts_are_refused(command, tmp_path):
    missing = command("data", "show", "none.jsonl")
    assert (missing.code, missing.out) == (1, "")
    assert "none.jsonl does not exist" in missing.err
    (tmp_path / "prompts").mkdir()
    drops = {"total": 0, "reasons": {}}
    manifest = Manifest(
        kind="converted",
        holds="prompts",
        name="p",
        rows=0,
        multimodal=0,
        shards=(),
        sources=(),
        drops=drops,
        created_by="x",
    )
    write_manifest(manifest, tmp_path / "prompts")
    refused = command("data", "show", "prompts")
    assert refused.code == 1
    assert "holds prompts, expected pairs" in refused.err
    assert not list(tmp_path.rglob("*.html"))


def test_images_that_cannot_be_read_are_told(command, tmp_path):
    ended = command("data", "show", write_asked(tmp_path / "gone.jsonl", ["Which?"], image="gone.png"))
    assert "images    of 40 pairs opened, not readable: image_missing 40" in ended.out.splitlines()


@pytest.mark.parametrize(
    ("questions", "image", "options"),
    [(1, "gone.png", " --like-prompts shown"), (20, "gone.png", ""), (1, None, "")],
)
def test_the_next_split_ties_questions_only_where_it_can(command, tmp_path, questions, image, options):
    asked = [f"What is {n}?" for n in range(questions)]
    ended = command("data", "show", write_asked(tmp_path / "pairs.jsonl", asked, image=image))
    assert ended.out.splitlines()[-1].endswith(f"--test 0.1{options}"), ended.out
