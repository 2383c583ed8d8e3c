"""Ids and file names of one origin, in the forms that benchmarks and training sets have; the texts are invented."""

import pytest

from basereward.benchmarks.items import build_items, text_row
from basereward.curation.contamination.provenance import item_keys, row_keys
from basereward.data.schema import Video
from tests.curation.contamination.conftest import draw, encoded, item_row, pair

GENERIC = "Describe this image in detail."


@pytest.mark.parametrize(
    ("identity", "source", "extra"),
    [
        ("RLAIF-V-276", "rlaif_v", {"idx": "276"}),
        ("RLHF-V-31", "rlhf_v", {"idx": 31}),
        ("LRVInstruction-000000007746", "vlfeedback", {"original_id": "LRVInstruction-000000007746"}),
        ("svit-complex_reasoning-876", "vlfeedback", {"original_id": "svit-complex_reasoning-876"}),
        ("hallucination_pair-1003", "povid", {"id": "hallucination_pair-1003"}),
        ("wildvision-battle-13", "mine", {"original_id": "wildvision-battle-13"}),
    ],
)
def test_an_id_of_the_origin_and_the_same_question_are_a_match(match, identity, source, extra):
    # The image of the benchmark is not at hand, as in the copy of VL-RewardBench that lies in git.
    bench = [item_row(identity, GENERIC, "A pier.", "A bus.", ["/nowhere/image_0.jpg"])]
    found = match([pair(GENERIC, "A.", "B.", [encoded(draw(1))], source=source, **extra)], vl_rewardbench=bench)
    assert found == {(0, 0): "provenance"}


def test_an_id_is_not_believed_without_its_question(match):
    bench = [item_row("RLAIF-V-276", "How many kites fly above the wide green meadow?", "Two.", "Six.")]
    row = pair("What is written on the side of the small boat?", "A.", "B.", source="rlaif_v", idx="276")
    assert match([row], vl_rewardbench=bench) == {}


def test_an_id_and_a_near_question_are_a_match(match):
    question = "How many kites fly above the wide green meadow behind the old brick house?"
    bench = [item_row("RLHF-V-31", question, "Two.", "Six.", ["/nowhere/image_0.jpg"])]
    edited = pair(question.replace("brick", "stone"), "A.", "B.", [encoded(draw(1))], source="rlhf_v", idx=31)
    assert match([edited], vl_rewardbench=bench) == {(0, 0): "provenance"}


def test_numbers_alone_and_indices_of_other_sources_are_no_ids():
    assert row_keys("rlaif_v", "17", {"idx": "3"}) == {"id RLAIF-V-3"}
    assert row_keys("other", "17", {"idx": "RLAIF-V-3"}) == set()
    [item] = build_items("rewardbench", [item_row("17", "Why?", "So.", "No.")])
    assert item_keys("rewardbench", item) == set()


def test_media_of_mm_rlhf_are_known_by_their_names(match):
    bench = [item_row("10_2", GENERIC, "A pier.", "A bus.", ["/root/short/dvqa_00100690.png.png"])]
    image = [encoded(draw(1))]
    row = pair(GENERIC, "A.", "B.", image, source="mm_rlhf", image_path="short/dvqa_00100690.png.png")
    assert match([row], mm_rlhf_rewardbench=bench) == {(0, 0): "provenance"}
    # Names such as image_0.jpg mean nothing in sets of other origins.
    elsewhere = {**row, "source": "mmif"}
    assert match([elsewhere], mm_rlhf_rewardbench=bench) == {(0, 0): "same_question_other_image"}
    assert match([row], vl_rewardbench=bench) == {(0, 0): "same_question_other_image"}


def test_a_video_is_known_by_the_folder_of_its_frames():
    videos = [Video(("/root/video/v_Ab-Scene-012/0001.png", "/root/video/v_Ab-Scene-012/0002.png"))]
    [item] = build_items("b", [text_row("v_Ab_1", "video", "What?", ["A."], ["B."], videos=videos)])
    assert item_keys("mm_rlhf_rewardbench", item) == {"id v_Ab_1", "mm_rlhf v_Ab-Scene-012"}
    [gone] = build_items("b", [text_row("1", "video", "What?", ["A."], ["B."], videos=[Video(("/r/video/v_Ab",))])])
    assert item_keys("mm_rlhf_rewardbench", gone) == {"mm_rlhf v_Ab"}
    assert "mm_rlhf v_Ab" in row_keys("mm_rlhf", "x-1", {"video_path": "video/v_Ab"})
