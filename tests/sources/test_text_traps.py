"""What goes wrong silently in sources of text: each case is read right, dropped with its reason, or an error."""

import pytest

from basereward.data.formats.conversations import split_conversations
from basereward.data.parsing import parse_pair
from basereward.errors import DataError, MissingFileError, RowError
from basereward.sources import swe_arena
from basereward.sources.convert import convert
from basereward.sources.registry import SOURCES

CONVERSATIONS = ("tulu3", "olmo2", "wildchat")
TEXT = ("ultra_all", "ultra_hard", "shp", *CONVERSATIONS, "swe_arena")


def said(*texts):
    """A conversation of user and assistant in turn."""
    return [{"content": text, "role": ("user", "assistant")[number % 2]} for number, text in enumerate(texts)]


@pytest.fixture
def first(multimodal):
    """``first(name, **changes)``: the first raw record of a source with other fields, and how it is parsed."""

    def change(name, **changes):
        files = multimodal.lay_out(name)
        record = {**next(iter(SOURCES.get(name).records(files))), **changes}
        return list(SOURCES.get(name).parse(record, files))

    return change


def reason_of(call, *arguments, **changes):
    """The reason with which a record is dropped."""
    with pytest.raises(RowError) as caught:
        call(*arguments, **changes)
    return caught.value.reason


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (said("A?", "B."), said("A? ", "C."), "prefix_mismatch"),
        (said("A?", "B.", "C?", "D."), said("A?", "B.", "C?", "E.", "F?", "G."), "prefix_mismatch"),
        (said("A?", "B.", "C?", "D."), said("A?", "X.", "C?", "E."), "prefix_mismatch"),
        ([{"role": "system", "content": "S."}, *said("A?", "B.")], said("A?", "C."), "prefix_mismatch"),
        ("B.", said("A?", "B."), "malformed"),
        (said("A?", "B."), "B.", "malformed"),
        (said("A?"), said("A?"), "malformed"),
        (said("A?", "B.")[1:], said("A?", "C.")[1:], "malformed"),
        ([], [], "malformed"),
        (None, said("A?", "B."), "malformed"),
        (["B."], ["C."], "malformed"),
    ],
)
def test_conversations_that_share_no_prompt_are_dropped(chosen, rejected, reason):
    assert reason_of(split_conversations, chosen, rejected) == reason


def test_what_conversations_share_is_the_prompt():
    prompt, chosen, rejected = split_conversations(said("A?", "B.", "C?", "D."), said("A?", "B.", "C?", "E."))
    assert (prompt, chosen, rejected) == (
        said("A?", "B.", "C?"),
        said("A?", "D.")[1:],
        [{"content": "E.", "role": "assistant"}],
    )


@pytest.mark.parametrize("name", CONVERSATIONS)
@pytest.mark.parametrize(
    ("rejected", "reason"),
    [("B. \n", "equal_responses"), ("\n", "empty_response"), ("", "empty_response"), (None, "malformed")],
)
def test_answers_that_say_nothing_or_the_same_are_dropped(name, rejected, reason, first):
    def read():
        [pair] = first(name, chosen=said("A?", "B."), rejected=said("A?", rejected))
        parse_pair(pair, "")

    assert reason_of(read) == reason


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_texts_where_messages_belong_are_dropped(name, first):
    assert reason_of(first, name, rejected="No.") == "malformed"


@pytest.mark.parametrize("history", [None, ["Why?"], 3])
def test_prompts_that_are_no_text_are_dropped(history, first):
    assert reason_of(first, "shp", history=history) == "malformed"


def test_tags_in_texts_are_texts(first):
    [pair] = first("tulu3", chosen=said("Is <image> html?", "<video>"), rejected=said("Is <image> html?", "No."))
    parsed = parse_pair(pair, "")
    assert [part.type for message in parsed.prompt + parsed.chosen for part in message.content] == ["text", "text"]


@pytest.mark.parametrize("name", ["ultra_all", "ultra_hard"])
def test_ultrafeedback_completions_have_to_be_a_list_of_the_documented_form(name, first):
    with pytest.raises(DataError, match="NoneType as 'completions'; expected a list"):
        first(name, completions=None)
    with pytest.raises(DataError, match="found the fields model, response, expected model, response, overall_score"):
        first(name, completions=[{"model": "a", "response": "b"}] * 2)


@pytest.mark.parametrize("score", ["N/A", None, "", "nan"])
def test_ultrafeedback_answers_without_a_score_are_left_out(score, first):
    answers = [{"model": "m", "response": f"Answer {n}.", "overall_score": n or score} for n in range(4)]
    pairs = first("ultra_all", completions=answers)
    assert len(pairs) == 3
    assert all("Answer 0." not in str(pair) for pair in pairs)


def test_ultrafeedback_equal_answers_are_dropped_whatever_their_scores(first):
    answers = [{"model": "m", "response": "Same.", "overall_score": score} for score in (3, 8)]
    [pair] = first("ultra_hard", completions=answers)
    assert reason_of(parse_pair, pair, "") == "equal_responses"


def test_ultrafeedback_prompts_do_not_tell_how_an_answer_was_elicited(multimodal):
    records, _ = multimodal.parse_all("ultra_all", multimodal.lay_out("ultra_all"))
    assert "pirate" not in str(records)


@pytest.mark.parametrize(("label", "chosen"), [(1, "A"), (0, "B"), (1.0, "A")])
def test_shp_label_one_prefers_a(label, chosen, first):
    scores = {"score_A": 1 + 8 * (chosen == "A"), "score_B": 1 + 8 * (chosen == "B")}
    [pair] = first("shp", labels=label, human_ref_A="A", human_ref_B="B", **scores)
    parsed = parse_pair(pair, "")
    assert (parsed.chosen[0].text, parsed.rejected[0].text) == (chosen, "AB".replace(chosen, ""))
    assert parsed.scores == (9, 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"labels": 2}, "unknown_label"),
        ({"labels": None}, "unknown_label"),
        ({"labels": "A"}, "unknown_label"),
        ({"labels": 1, "score_A": 2, "score_B": 8}, "unknown_label"),
        ({"score_A": None}, "unrated"),
    ],
)
def test_shp_labels_that_tell_nothing_are_dropped(changes, reason, first):
    assert reason_of(first, "shp", **changes) == reason


@pytest.mark.parametrize("domain", ["askcats_test", "askcats_validation", "askcats", None])
def test_shp_refuses_what_is_for_evaluation(domain, first):
    with pytest.raises(DataError, match="ends in '_train'") as caught:
        first("shp", domain=domain)
    assert not isinstance(caught.value, RowError)


def test_shp_without_its_training_part_is_missing(multimodal):
    files = multimodal.lay_out("shp")
    for path in files.folder.glob("*/train.json"):
        path.unlink()
    with pytest.raises(MissingFileError, match=r"train\.json"):
        list(SOURCES.get("shp").records(files))


@pytest.mark.parametrize(
    ("ratings", "scores"), [((None, 2.0), ()), ((2.0, 4.0), (2.0, 4.0)), ((float("nan"), 1.0), ())]
)
def test_olmo2_ratings_are_kept_only_if_there_are_two(ratings, scores, first):
    [pair] = first("olmo2", chosen_rating=ratings[0], rejected_rating=ratings[1])
    assert parse_pair(pair, "").scores == scores


def test_wildchat_needs_each_of_its_four_splits(multimodal):
    files = multimodal.lay_out("wildchat")
    (files.folder / "data" / "wildchat_if-00000-of-00001.parquet").unlink()
    with pytest.raises(MissingFileError, match=r"wildchat_if-\*"):
        list(SOURCES.get("wildchat").records(files))


@pytest.mark.parametrize("vote", ["vote_tie", "vote_both_bad"])
def test_swe_arena_ties_are_dropped(vote):
    assert reason_of(swe_arena.order_models, vote) == "tie"


@pytest.mark.parametrize("vote", ["tie", "model_A", None, "VOTE_LEFT"])
def test_swe_arena_names_votes_that_are_not_documented(vote):
    with pytest.raises(RowError, match=f"{vote!r}; expected one of vote_model_A") as caught:
        swe_arena.order_models(vote)
    assert caught.value.reason == "unknown_label"


@pytest.mark.parametrize("field", ["feedback", "models", "states"])
def test_swe_arena_records_without_one_of_their_parts_are_dropped(field, first):
    assert reason_of(first, "swe_arena", **{field: None}) == "malformed"
    with pytest.raises(DataError, match=f"The {field} of .* found the fields other, expected"):
        first("swe_arena", **{field: {"other": 1}})


@pytest.mark.parametrize("messages", [None, [["Human"]], [["Robot", "Hi."]], [{"role": "Human", "content": "Hi."}]])
def test_swe_arena_messages_of_another_form_are_dropped(messages, first):
    states = {side: {"messages": messages} for side in ("model_A", "model_B")}
    assert reason_of(first, "swe_arena", states=states) == "malformed"


def test_swe_arena_answers_that_never_came_are_dropped(first):
    states = {side: {"messages": [["Human", "Go."], ["Assistant", None]]} for side in ("model_A", "model_B")}
    assert reason_of(first, "swe_arena", states=states) == "malformed"


@pytest.mark.parametrize("name", TEXT)
def test_every_raw_record_of_a_conversion_is_accounted_for(name, multimodal, tmp_path):
    files = multimodal.lay_out(name)
    kept, dropped = multimodal.parse_all(name, files)
    manifest = convert(SOURCES.get(name), files, tmp_path / "out")
    step = manifest.steps[0]
    assert (step["records"], manifest.multimodal) == (len(list(SOURCES.get(name).records(files))), 0)
    assert (manifest.rows, step["refused"], manifest.drops["total"]) == (len(kept), len(dropped), len(dropped))
