"""What goes wrong silently in the multimodal sources: each case is read right, dropped with its reason, or an error."""

import json
import zipfile

import pytest

from basereward.data.files import DataFiles
from basereward.data.formats.records import Turn, media_messages
from basereward.data.images import load_image
from basereward.data.parsing import parse_pair
from basereward.errors import DataError, MissingFileError, RowError
from basereward.sources import mmif, mmpr, r1_reward_rl, vlfeedback
from basereward.sources.deepeyes import question_turns
from basereward.sources.registry import SOURCES


def first_record(name, files, place=0):
    """One raw record of a source."""
    return list(SOURCES.get(name).records(files))[place]


def parse(name, files, record):
    """The canonical records of a raw one."""
    return list(SOURCES.get(name).parse(record, files))


def kinds(messages):
    """The types of the parts of the first message."""
    return [part["type"] for part in messages[0]["content"]]


@pytest.mark.parametrize(
    ("text", "images", "expected"),
    [
        ("<image>\nA?", 1, ["image", "text"]),
        ("A?\n<image>", 1, ["text", "image"]),
        ("A?", 1, ["image", "text"]),
        ("A <image> B?", 1, ["text", "image", "text"]),
        ("<image>\n<image>\nA?", 2, ["image", "image", "text"]),
        ("<image>", 1, ["image"]),
        ("A?", 0, ["text"]),
    ],
)
def test_marks_become_parts_where_they_stand(text, images, expected):
    assert kinds(media_messages([Turn("user", text)], images)) == expected


@pytest.mark.parametrize(("text", "images"), [("<image> A?", 0), ("<image><image>A?", 1), ("A?", 2), ("<image>A?", 2)])
def test_marks_and_images_that_differ_in_number_are_dropped(text, images):
    with pytest.raises(RowError) as caught:
        media_messages([Turn("user", text)], images)
    assert caught.value.reason == "placeholder_count"


@pytest.mark.parametrize("roles", [(), ("user", "assistant"), ("system",)])
def test_a_prompt_without_a_question_at_its_end_is_malformed(roles):
    with pytest.raises(RowError, match="last turn is the user's") as caught:
        media_messages([Turn(role, "A.") for role in roles], 1)
    assert caught.value.reason == "malformed"


def test_texts_lose_nothing_but_line_breaks_beside_marks_at_an_edge():
    [message] = media_messages([Turn("user", "  <image>\n\nA\n<image>\nB\n<image>\n")], 3)
    assert [part.get("text") for part in message["content"]] == [None, "A\n", None, "\nB", None]


def test_a_single_image_stands_before_the_first_question_and_not_before_the_system():
    messages = media_messages(
        [Turn("system", "Be brief."), Turn("user", "A?"), Turn("assistant", "B."), Turn("user", "C?")], 1
    )
    assert [[part["type"] for part in message["content"]] for message in messages] == [
        ["text"],
        ["image", "text"],
        ["text"],
        ["text"],
    ]


def test_mmif_answers_are_turns_not_texts(multimodal):
    files = multimodal.lay_out("mmif")
    with pytest.raises(DataError, match=r"\{'from', 'value'\}, found Green"):
        parse("mmif", files, {**first_record("mmif", files), "chosen": "Green."})


def test_mmif_reads_the_first_version_alone(multimodal):
    files = multimodal.lay_out("mmif")
    (files.folder / "v2").mkdir()
    (files.folder / "v2" / "mmif_dpo.json").write_text("[]")
    assert len(list(mmif.records(files))) == 3
    (files.folder / "another_dpo.json").write_text("[]")
    with pytest.raises(DataError, match=r"found another_dpo.json, mmif_dpo.json"):
        mmif.records(files)
    for path in files.folder.glob("*dpo.json"):
        path.unlink()
    with pytest.raises(MissingFileError, match=r"found mmif_dpo.json"):
        mmif.records(files)


def test_omnialign_knows_the_folder_of_the_authors_layout(multimodal):
    files = multimodal.lay_out("omnialign_v_dpo")
    record = {**first_record("omnialign_v_dpo", files), "image": "OmniAlign_V_DPO/images/poster.png"}
    [pair] = parse("omnialign_v_dpo", files, record)
    assert pair["images"][0]["path"] == "images/poster.png"
    assert pair["image_path"] == ["OmniAlign_V_DPO/images/poster.png"]


@pytest.mark.parametrize("name", ["rlaif_v", "rlhf_v"])
def test_a_broken_image_is_kept_as_it_is_and_found_when_it_is_opened(name, multimodal):
    files = multimodal.lay_out(name)
    record = {**first_record(name, files), "image": {"bytes": b"\x89PNG cut", "path": None}}
    [pair] = parse(name, files, record)
    assert pair["images"][0]["bytes"] == b"\x89PNG cut"
    with pytest.raises(RowError) as caught:
        load_image(pair["images"][0])
    assert caught.value.reason == "image_unreadable"


def test_rlhf_v_text_may_be_decoded_already(multimodal):
    files = multimodal.lay_out("rlhf_v")
    record = first_record("rlhf_v", files)
    assert parse("rlhf_v", files, {**record, "text": json.loads(record["text"])}) == parse("rlhf_v", files, record)
    with pytest.raises(DataError, match=r"column text .* 'question'.* found the fields query"):
        parse("rlhf_v", files, {**record, "text": '{"query": "?", "chosen": "a", "rejected": "b"}'})


def completion(response, *ratings):
    """One completion of VLFeedback with the ratings of the three aspects."""
    annotations = {aspect: {"Rating": rating} for aspect, rating in zip(vlfeedback.ASPECTS, ratings, strict=True)}
    return {"model": "m", "response": response, "annotations": annotations}


def test_vlfeedback_pairs_have_the_mean_ratings_as_scores_and_ids_of_their_own(multimodal):
    files = multimodal.lay_out("vlfeedback")
    pairs = parse("vlfeedback", files, first_record("vlfeedback", files))
    assert [pair["scores"] for pair in pairs] == [pytest.approx([14 / 3, 8 / 3])] * 2
    other = parse(
        "vlfeedback",
        files,
        {
            **first_record("vlfeedback", files, 1),
            "completions": [completion("a", "1", "1", "2"), completion("b", *"111")],
        },
    )
    assert pairs[0]["original_id"] == other[0]["original_id"] == "s-1"
    assert pairs[0]["id"] != other[0]["id"]


@pytest.mark.parametrize("rating", ["N/A", None, "nan", "inf", ""])
def test_vlfeedback_answers_without_all_ratings_make_no_pair(rating):
    answers = vlfeedback.rated_answers([completion("a", "5", rating, "5"), completion("b", "1", "1", "1")], "x")
    assert [answer.response for answer in answers] == ["b"]


def test_vlfeedback_refuses_completions_in_columns():
    with pytest.raises(DataError, match=r"x has dict as 'completions'; expected a list"):
        vlfeedback.rated_answers({"model": ["a"], "response": ["b"]}, "x")
    with pytest.raises(DataError, match=r"'Helpfulness'.*found the fields Help"):
        vlfeedback.rated_answers([{**completion("a", *"111"), "annotations": {"Help": {"Rating": "1"}}}], "x")


def test_mm_rlhf_takes_32_frames_at_equal_distances_in_the_order_of_names(multimodal):
    files = multimodal.lay_out("mm_rlhf")
    multimodal.put_media(files.folder, "more.zip", [f"video/run/{number:03}.png" for number in range(63)])
    record = {**first_record("mm_rlhf", files, 1), "video": "video/run"}
    [pair] = parse("mm_rlhf", files, record)
    [video] = pair["videos"]
    assert [frame["path"] for frame in video["frames"]] == [f"video/run/{number:03}.png" for number in range(0, 63, 2)]
    assert video["fps"] is None


def test_mm_rlhf_with_an_image_and_a_video_is_malformed(multimodal):
    files = multimodal.lay_out("mm_rlhf")
    with pytest.raises(RowError, match="an image and a video"):
        parse("mm_rlhf", files, {**first_record("mm_rlhf", files), "video": "video/walk"})


@pytest.mark.parametrize(
    ("answers", "number"),
    [(["<answer>2</answer>"], 2), ("<answer>1</answer>", 1), (["<answer> 1 </answer>", "<answer>1</answer>"], 1)],
)
def test_r1_reward_answers_name_a_response(answers, number):
    assert r1_reward_rl.preferred(answers) == number


@pytest.mark.parametrize(
    "answers", [[], None, ["2"], ["<answer>3</answer>"], ["<answer>1</answer>", "<answer>2</answer>"]]
)
def test_r1_reward_answers_that_name_none_are_dropped(answers):
    with pytest.raises(RowError) as caught:
        r1_reward_rl.preferred(answers)
    assert caught.value.reason == "unknown_label"


def test_r1_reward_responses_that_quote_the_template_are_dropped():
    text = "###### [Response 1]:\nA\n\n###### [Response 2]:\nB\n\n###### [Response 2]:\nC\n\n###### **Output Format**"
    with pytest.raises(RowError, match="found 1, 2 and 1") as caught:
        r1_reward_rl.split_responses(text)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize("message", ["{broken", "[1]", '[{"role": "user"}]', None])
def test_r1_reward_messages_that_are_no_messages_are_dropped(message):
    with pytest.raises(RowError) as caught:
        r1_reward_rl.message_text(message)
    assert caught.value.reason == "malformed"


def test_mmpr_sets_are_subsampled_below_one_and_repeated_above():
    half = list(mmpr.repeated("a", 100, 0.5))
    assert len(half) == len(set(half)) == 50
    assert half == sorted(half) == list(mmpr.repeated("a", 100, 0.5))
    assert half != list(mmpr.repeated("b", 100, 0.5))
    assert list(mmpr.repeated("a", 2, 2.5)) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert len(list(mmpr.repeated("a", 3, 0.5))) == 1
    for times in (0.0, -1.0, float("nan")):
        with pytest.raises(DataError, match="repeat_time"):
            list(mmpr.repeated("a", 3, times))


def test_mmpr_repeated_records_have_ids_of_their_own(multimodal):
    records, _ = multimodal.parse_all("mmpr", multimodal.lay_out("mmpr"))
    assert [record["id"] for record in records if record["subset"] == "text"] == [
        "text-0",
        "text-1",
        "text-0-1",
        "text-1-1",
    ]


def test_mmpr_films_are_dropped_and_not_taken_for_images(multimodal):
    files = multimodal.lay_out("mmpr")
    record = {**first_record("mmpr", files), "image": None, "video": "red.png"}
    with pytest.raises(RowError, match="is a film") as caught:
        parse("mmpr", files, record)
    assert caught.value.reason == "video"


@pytest.mark.parametrize("image", [{"path": "red.png"}, [1], 7])
def test_mmpr_images_that_are_no_paths_are_dropped(image, multimodal):
    files = multimodal.lay_out("mmpr")
    with pytest.raises(RowError) as caught:
        parse("mmpr", files, {**first_record("mmpr", files), "image": image})
    assert caught.value.reason == "malformed"


def test_mmpr_reads_extracted_files_too(multimodal):
    packed = multimodal.lay_out("mmpr")
    before = [record["chosen"] for record in multimodal.parse_all("mmpr", packed)[0]]
    extracted = DataFiles(packed.folder.with_name("extracted"), packed.repository)
    extracted.folder.mkdir()
    (extracted.folder / "meta.json").write_text((packed.folder / "meta.json").read_text())
    joined = b"".join(path.read_bytes() for path in sorted(packed.folder.glob("images.zip_*")))
    (packed.folder / "joined.zip").write_bytes(joined)
    for name in ("annotations.zip", "joined.zip"):
        zipfile.ZipFile(packed.folder / name).extractall(extracted.folder)
    assert [record["chosen"] for record in multimodal.parse_all("mmpr", extracted)[0]] == before


@pytest.mark.parametrize(("rejected", "reason"), [("Red.", "equal_responses"), (" \n", "empty_response")])
def test_pairs_that_say_nothing_are_dropped(rejected, reason, multimodal):
    files = multimodal.lay_out("mmpr")
    [pair] = parse("mmpr", files, {**first_record("mmpr", files), "rejected": rejected})
    with pytest.raises(RowError) as caught:
        parse_pair(pair, "x")
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", ["mmpr", "rlaif_v", "omnialign_v_dpo", "mm_rlhf"])
def test_message_lists_where_texts_belong_are_dropped(name, multimodal):
    files = multimodal.lay_out(name)
    record = {**first_record(name, files), "chosen": [{"role": "assistant", "content": "Red."}]}
    with pytest.raises(RowError) as caught:
        parse(name, files, record)
    assert caught.value.reason == "malformed"


def test_a_request_for_the_tool_that_cannot_be_cut_is_an_error():
    turns = [{"role": "user", "content": "<image>\nCall image_zoom_in_tool now: what is it?"}]
    with pytest.raises(DataError, match="image_zoom_in_tool in another form"):
        question_turns(turns, "x")
    with pytest.raises(DataError, match="str as 'prompt'; expected a list"):
        question_turns("What is it?", "x")
