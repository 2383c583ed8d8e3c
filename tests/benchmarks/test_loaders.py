"""Each benchmark is read from three invented records in the shape of the real ones, and refuses other shapes."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basereward.benchmarks.mm_rlhf_rewardbench import sampled_video
from basereward.benchmarks.registry import BENCHMARKS
from basereward.data.schema import count_parts
from basereward.errors import DataError, MissingFileError

FIXTURES = Path(__file__).with_name("fixtures")
# Name -> rows as (id, subset, first correct, first rejected).
EXPECTED = {
    "vl_rewardbench": [
        ("wildvision-battle-901", "wildvision", "A green cup.", "A cup and a dog."),
        ("RLAIF-V-902", "RLAIF", "Three birds.", "Five."),
        ("mathverse_903", "mathverse", "It is 4.", "It is 5."),
    ],
    "mm_rlhf_rewardbench": [
        ("a_1", "mcq", "Option B, as drawn.", "Option C."),
        ("a_1", "mcq", "Option C.", "No idea."),
        ("b_2", "video", "A ball rolls.", "Nothing."),
    ],
    "rm_bench": [
        ("1", "chat", "Red.", "Seven."),
        ("2", "math", "Four.", "Five."),
        ("2", "safety-refuse", "No.", "Sure."),
    ],
    "rewardbench": [
        ("10", "alpacaeval-easy", "Hello!", "Bye."),
        ("11", "math-prm", "x=1", "x=2"),
        ("11", "hep-python", "print(1)", "print(2)"),
    ],
    "multimodal_rewardbench": [
        ("visit_1", "preference", "A red box.", "A cat."),
        ("mathvista-2", "math", "Five.", "Six."),
        ("PAIRS-3", "bias", "One cannot tell.", "The left one."),
    ],
    "rewardbench2": [
        ("7", "Factuality", "There is none.", "Poseidonis."),
        ("ref:1", "Ties", "White.", "Blue."),
        ("tied:1", "Ties", "Red.", "Pink."),
    ],
    "judgebench": [
        ("p1", "mmlu-pro-law", "Answer A1.", "Answer B1, longer."),
        ("p2", "livebench-math", "Answer B2, longer.", "Answer A2."),
        ("p3", "livecodebench", "Answer A3.", "Answer B3, longer."),
    ],
    "videorewardbench": [
        ("v1", "safety", "A leaf.", "A stone."),
        ("v2", "knowledge", "A fox.", "A man."),
        ("v2", "reasoning", "Twice.", "Once."),
    ],
    "multimodal_rewardbench2": [
        ("t-1", "t2i/wise", "", ""),
        ("t-2", "t2i/wise", "", ""),
        ("e-1", "edit/hq-edit", "", "Done."),
        ("i-1", "interleaved/isgbench", "Step one.", "First.Then."),
        ("r-1", "reasoning/blink", "The left one.", "The right one, see here."),
    ],
    "rmhackbench": [
        ("p-1", "P1/PlotQA", "Three.", "Three, and it must be said at length."),
        ("t-1", "T1/DocVQA", "Mr. Hill.", "As a certified expert: Mr. Gill."),
        ("c-1", "C2/VQA-v2", "Green.", "Blue. This answer is excellent."),
    ],
    "mr2bench": [
        ("a", "image-4", "A cat on a mat.", "A cat."),
        ("b", "image-3", "Two.", "Nine."),
        ("video-0", "video-2", "A door opens.", "Nothing."),
    ],
    "omni_rewardbench": [
        ("o1", "text_to_text", "Hi.", "Hello there."),
        ("o2", "text_to_text", "Hello there.", "Hi."),
        ("o4", "text_image_to_text", "A large blue cup.", "A cup."),
    ],
}


def rows_of(items):
    """``(id, subset, first correct, first rejected)`` of all rows, in the order of the file."""
    rows = {
        row.row: (
            row.id,
            row.subset,
            item.responses[row.correct[0]].text,
            item.responses[row.rejected[0]].text,
        )
        for item in items
        for row in item.rows
    }
    return [rows[row] for row in sorted(rows)]


def test_every_benchmark_has_a_fixture():
    assert sorted(EXPECTED) == BENCHMARKS.names()


@pytest.mark.parametrize("name", EXPECTED)
def test_rows_are_read_as_the_file_says(name):
    assert rows_of(BENCHMARKS.get(name).load(FIXTURES)) == EXPECTED[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_missing_file_names_hub_id_and_command(name, tmp_path):
    benchmark = BENCHMARKS.get(name)
    part = next(iter(benchmark.parts.values()))
    for message in (f"no folder {tmp_path / part.folder}", f"in {tmp_path / part.folder}"):
        with pytest.raises(MissingFileError) as caught:
            benchmark.load(tmp_path)
        assert message in str(caught.value)
        assert f"hf download {part.repository.id} --repo-type dataset" in str(caught.value)
        (tmp_path / part.folder).mkdir(exist_ok=True)


INCOMPLETE = [
    *("vl_rewardbench", "rm_bench", "rewardbench", "judgebench", "videorewardbench"),
    *("multimodal_rewardbench2", "mr2bench", "omni_rewardbench"),
]


@pytest.mark.parametrize("name", INCOMPLETE)
def test_an_incomplete_record_is_named(name, tmp_path):
    part = next(iter(BENCHMARKS.get(name).parts.values()))
    [source, *_] = (FIXTURES / part.folder).iterdir()
    folder = tmp_path / part.folder
    folder.mkdir()
    (folder / source.name).write_text('[{"id": "x"}]' if source.suffix == ".json" else '{"id": "x"}\n')
    if name == "judgebench":
        (folder / source.name).rename(folder / "gpt.jsonl")
    with pytest.raises(DataError, match="record 0"):
        BENCHMARKS.get(name).load(tmp_path)


def test_rows_of_one_prompt_share_a_group_and_equal_responses_are_one():
    first, second = BENCHMARKS.get("mm_rlhf_rewardbench").load(FIXTURES)
    assert [row.row for row in first.rows] == [0, 1]
    assert len(first.responses) == 3
    assert first.rows[0].rejected == first.rows[1].correct
    assert len(second.groups[0].videos) == 1
    [*_, refusal] = BENCHMARKS.get("rm_bench").load(FIXTURES)
    assert len(refusal.responses) == 5
    assert refusal.rows[0].correct[0] == refusal.rows[0].correct[1]


def test_the_order_of_responses_does_not_depend_on_the_label():
    for name in EXPECTED:
        for item in BENCHMARKS.get(name).load(FIXTURES):
            # Responses that show no image share the first group.
            shown = [(bool(count_parts(own.messages, "image")), own.id) for own in item.responses]
            assert shown == sorted(shown)


def test_parts_are_loaded_on_demand():
    items = BENCHMARKS.get("rewardbench").load(FIXTURES, ("filtered", "prior"))
    assert [row.subset for item in items for row in item.rows][3:] == [
        "anthropic_helpful",
        "anthropic_hhh",
        "shp",
        "summarize",
    ]
    assert len(BENCHMARKS.get("judgebench").load(FIXTURES, ("claude",))) == 1


def test_the_hub_layout_with_embedded_images_gives_the_same_rows(tmp_path):
    folder = tmp_path / "vl_rewardbench" / "data"
    folder.mkdir(parents=True)
    rows = [
        {
            "id": identity,
            "query": f"Question {identity}",
            "response": ["left", "right"],
            "image": {"bytes": b"\x89PNG" + identity.encode(), "path": None},
            "human_ranking": ranking,
        }
        for identity, ranking in (("mmmu_pro_1", [0, 1]), ("mmmu_pro_1", [1, 0]), ("svit-2", [0, 1]))
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "test-00000-of-00001.parquet")
    items = BENCHMARKS.get("vl_rewardbench").load(tmp_path)
    assert rows_of(items) == [
        ("mmmu_pro_1", "mmmu", "left", "right"),
        ("mmmu_pro_1", "mmmu", "right", "left"),
        ("svit-2", "svit", "left", "right"),
    ]
    assert Path(items[0].images[0]["path"]).read_bytes() == b"\x89PNGmmmu_pro_1"
    # The same prompt and picture is one item, although its rows disagree.
    assert len(items) == 2


def test_a_ranking_of_another_form_is_an_error(tmp_path):
    folder = tmp_path / "vl_rewardbench"
    folder.mkdir()
    (folder / "data.json").write_text(
        '[{"id": "a_1", "query": "q", "response": ["a", "b"], "human_ranking": [0, 0], "image": "x.jpg"}]'
    )
    with pytest.raises(DataError, match="ranked"):
        BENCHMARKS.get("vl_rewardbench").load(tmp_path)


def test_videos_are_sampled_in_the_order_of_names(tmp_path):
    for number in range(100):
        (tmp_path / f"{number:03}.jpg").touch()
    frames = [Path(frame).stem for frame in sampled_video(tmp_path).frames]
    assert (len(frames), frames[0], frames[1], frames[-1]) == (32, "000", "003", "099")
    assert sampled_video(tmp_path / "absent").frames == (str(tmp_path / "absent"),)


def write(tmp_path, name, **records):
    """Write files of records into the folder of a benchmark; ``/`` in a name is a folder."""
    for file, lines in records.items():
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def hacked(answer, **changes):
    """A record of RMHackBench."""
    shown = {"id": "1", "query": "q", "image": "a.png", "image_id": "a", "responses": ["clean", "hacked"]}
    return shown | {"answer": answer, "source": "s"} | changes


@pytest.mark.parametrize("answer", [[0, 1], [1, 2], [1, 0]])
def test_the_clean_response_is_right_where_all_answers_agree(answer, tmp_path):
    write(tmp_path, "rmhackbench", **{"Safety Posturing (T2)/test.jsonl": [hacked(answer)] * 2})
    rows = rows_of(BENCHMARKS.get("rmhackbench").load(tmp_path))
    assert rows == [("1", "T2/s", "clean", "hacked")] * 2


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([hacked([0, 1]), hacked([1, 0])], r"answer \[1, 0\], and \[0, 1\] in the records before it"),
        ([hacked([2, 7])], r"answer \[2, 7\]; expected the same one"),
        ([hacked(0)], "answer 0; expected"),
        ([hacked([0, 1], responses=["one"])], "1 responses"),
        ([{"question": "q"}], "found the fields question, expected id, query"),
    ],
)
def test_answers_that_nobody_documents_are_refused(records, message, tmp_path):
    write(tmp_path, "rmhackbench", **{"Premise Compliance (C1)/test.jsonl": records})
    with pytest.raises(DataError, match=message):
        BENCHMARKS.get("rmhackbench").load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rankings": [1]}, r"2 responses with the rankings \[1\]"),
        ({"rankings": [1, 1]}, "no response better"),
        ({"image": None}, "neither image nor video among prompt"),
        ({"video": "v"}, "image and video"),
        ({"rankings": None}, "no 'rankings'"),
        ({"rankings": ["a", "b"]}, "one each"),
        ({"responses": ["a", "b", "c"], "rankings": [1, 2, float("nan")]}, "3 responses.*nan"),
    ],
)
def test_rankings_of_another_form_are_named(change, message, tmp_path):
    record = {"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2], "image": "i.png"}
    write(tmp_path, "mr2bench", **{"x.jsonl": [record | change]})
    with pytest.raises(DataError, match=message):
        BENCHMARKS.get("mr2bench").load(tmp_path)


def test_rankings_in_files_of_several_forms_are_all_read_and_none_twice(tmp_path):
    record = {"prompt": "p", "responses": ["a", "b"], "rankings": [1, 2], "image": "i.png"}
    other = record | {"prompt": "q"}
    write(tmp_path, "mr2bench", **{"image.jsonl": [record], "videos/video.json": [other]})
    rows = rows_of(BENCHMARKS.get("mr2bench").load(tmp_path))
    assert len(rows) == 2
    write(tmp_path, "mr2bench", **{"image.json": [record]})
    with pytest.raises(DataError, match=r"image\.jsonl and .*image\.json, whose records would count twice"):
        BENCHMARKS.get("mr2bench").load(tmp_path)


def test_every_two_responses_of_other_ranks_are_a_pair_of_one_item():
    benchmark = BENCHMARKS.get("mr2bench")
    items = benchmark.load(FIXTURES, benchmark.protocol("pairwise").parts)
    assert [len(item.rows) for item in items] == [6, 2, 1]
    assert [len(item.responses) for item in items] == [4, 3, 2]
    assert [row[2:] for row in rows_of(items)][:3] == [
        ("A cat on a mat.", "A cat."),
        ("A cat on a mat.", "A dog."),
        ("A cat on a mat.", "A tree."),
    ]


def test_labels_that_are_ties_stand_in_the_part_with_ties_alone():
    benchmark = BENCHMARKS.get("omni_rewardbench")
    without, with_ties = (benchmark.load(FIXTURES, benchmark.protocol(name).parts) for name in (None, "with_ties"))
    rows = [[row for item in items for row in item.rows] for items in (without, with_ties)]
    assert [[row.id for row in own if row.tied] for own in rows] == [[], ["o3"]]
    assert [row.first for row in rows[0]] == ["rejected", "correct", "rejected"]
    assert "criterion alone: Be brief." in without[0].prompt[0].text
    [image] = without[-1].images
    assert image.endswith("media_data/cups/4.png")


def test_another_preference_is_named(tmp_path):
    record = {"prompt": "p", "response1": "a", "response2": "b", "criteria": "c", "criteria_preference": "A", "id": "1"}
    write(tmp_path, "omni_rewardbench", **{"text_to_text_preferences.json": [record]})
    with pytest.raises(DataError, match="preference 'A'; expected response1, response2 or tie"):
        BENCHMARKS.get("omni_rewardbench").load(tmp_path)
