"""Table 1 in miniature: what critics and judges are taught, and the way of a row with a few steps."""

import pytest

from basereward.data.annotations import critiques_of, thoughts_of
from basereward.data.outcomes import About, Failure, Verdict
from basereward.data.parsing import parse_pair
from basereward.data.storage import read_rows, unpack_row, write_rows
from basereward.errors import RecipeError
from basereward.lab.backbone import write_backbone
from basereward.lab.reasons import ASPECTS, critique, reason_texts, thought, with_reasons
from basereward.lab.table1 import (
    ABSENT,
    CRITIC,
    GRM_ABSENT,
    ROWS,
    SKILLS,
    UNTRAINED,
    MoreLikely,
    ParadigmSizes,
    paradigm_recipe,
    plan_table,
)
from basereward.lab.world import WorldConfig, draw_rows, world_texts
from basereward.models.inputs import load_template

CONFIG = WorldConfig(kinds=SKILLS)


def test_critiques_say_what_is_true():
    assert critique("count", "two", "one") == "The number is two. The response says one, which is wrong."
    assert critique("count", "two", "two").endswith("right.")
    assert thought("count", "two", "one", "two") == (
        "The number is two. Response 1 says one, which is wrong. Response 2 says two, which is right."
    )
    assert set(SKILLS) <= set(ASPECTS)


def test_reasons_are_read_as_annotations_after_storage(tmp_path):
    write_rows(with_reasons(draw_rows(20, 0, CONFIG), 0), tmp_path / "pairs.parquet")
    for row in read_rows(tmp_path / "pairs.parquet"):
        pair = parse_pair(unpack_row(row), "x")
        said, thoughts = critiques_of(pair), thoughts_of(pair)
        assert said.teaches == "both"
        assert said.chosen.endswith(f"{pair.chosen[0].text}, which is right.")
        assert said.rejected.endswith(f"{pair.rejected[0].text}, which is wrong.")
        assert thoughts.chosen_first.endswith("wrong.")
        assert thoughts.rejected_first.endswith("right.")


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_filler_words_in_front_of_an_answer_say_nothing_of_it(share):
    rows = list(with_reasons(draw_rows(60, 0, WorldConfig(padded_share=1.0)), 0, share))
    true = rows if not share else rows[::2]
    assert all(row["critiques"]["chosen"].endswith("right.") for row in true)
    assert all(row["critiques"]["rejected"].endswith("wrong.") for row in true)
    assert all("right. Response 2" in row["thoughts"]["chosen_first"] for row in true)
    for row in rows[1::2] if share else []:
        sides = [row["critiques"][side].rsplit(" ", 1)[1] for side in ("chosen", "rejected")]
        assert sides == ["wrong.", "right."]


def test_kinds_without_critiques_are_named():
    with pytest.raises(RecipeError, match="kind 'refusal' have no critiques"):
        list(with_reasons(draw_rows(40, 0, WorldConfig(text_share=1.0)), 0))


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_corrupted_critiques_teach_words_alone_and_true_ones_rewards(share):
    rows = list(draw_rows(200, 0, CONFIG))
    made = list(with_reasons(rows, 0, share))
    true, taught = made[::2], made[1::2]
    assert {row["critiques"]["teaches"] for row in true} == {"rewards"}
    assert {row["critiques"]["teaches"] for row in taught} == {"words"}
    assert len({row["id"] for row in made}) == 400
    assert all(row["critiques"]["chosen"].endswith("right.") for row in true)
    wrong = sum(row["critiques"]["chosen"].endswith("wrong.") for row in taught)
    assert wrong / 200 == pytest.approx(share, abs=0.1)
    # A corrupted critique takes the rejected response for the truth, for both responses.
    for row in taught:
        sides = [row["critiques"][side].rsplit(" ", 1)[1] for side in ("chosen", "rejected")]
        assert sorted(sides) == ["right.", "wrong."]


def test_every_word_of_the_reasons_is_a_token(tmp_path):
    texts = [*world_texts(), *reason_texts()]
    template = load_template(write_backbone(tmp_path, size="test", texts=texts))
    for row in with_reasons(draw_rows(60, 1, CONFIG), 0):
        for text in (*row["critiques"].values(), *row["thoughts"].values()):
            ids = template.tokenizer.encode(text, add_special_tokens=False)
            assert len(ids) <= len(text.replace(",", " ,").replace(".", " .").split()) + text.count("Response") * 1


def test_a_critic_and_a_judge_go_the_whole_way(tmp_path):
    sizes = ParadigmSizes(seeing_steps=1, steps=2, longcot_steps=2, rl_steps=1, held_out=14)
    plan = plan_table(sizes)
    assert plan.rows == ROWS
    critic = plan.run(CRITIC, 0, tmp_path)
    absent = plan.run(GRM_ABSENT, 0, tmp_path)
    untrained = plan.run(UNTRAINED, 0, tmp_path)
    assert {"all", "minutes"} <= critic.keys()
    assert "consistency" in absent
    assert "minutes" not in untrained
    assert set(SKILLS) >= untrained.keys() - {"all", "consistency"}
    kinds = {unpack_row(row)["kind"] for row in read_rows(tmp_path / "absent.parquet")}
    assert kinds == set(SKILLS) - {ABSENT}


def test_what_is_more_likely_is_preferred_whatever_is_written():
    class Odds:
        about = About("odds", sees_images=False)

        def compare(self, questions):
            said = [(0.2, 0.8), (0.5, 0.5), None]
            return [*(Verdict("unparsable", "?", probabilities=own) for own in said), Failure("no", "no")]

    found = MoreLikely(Odds()).compare([None] * 4)
    assert [one.choice for one in found[:3]] == [1, "tie", "unparsable"]
    assert isinstance(found[3], Failure)


def test_all_rows_see_the_same_pairs_each_once():
    sizes = ParadigmSizes(steps=10)
    for row in (CRITIC, "naive", "grm", "longcot"):
        recipe = paradigm_recipe(row, "backbone", "data", sizes.steps, 0)
        assert recipe.optimizer.pairs_per_step * recipe.optimizer.max_steps == sizes.pairs
