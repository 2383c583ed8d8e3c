"""Paradigms side by side: what is counted is what is computed, and what is written has the length asked for."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from basereward.data.judging.prompts import make_prompt
from basereward.data.outcomes import About, JudgeQuestion, Verdict
from basereward.data.storage import write_rows
from basereward.encoding.groups import GroupLength
from basereward.encoding.openings import encode_openings
from basereward.errors import MissingFileError
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.facts import CriticRole, JudgeRole
from basereward.models.flops import measure_backbone
from basereward.scoring.judged import Tournament
from basereward.speed.paradigm_plan import CRITIC, GRM, LONGCOT, NAIVE, ParadigmLengths, plan_paradigms
from basereward.speed.paradigm_quality import WORDINGS, measure_quality
from basereward.speed.paradigms import ParadigmBench
from basereward.speed.workloads import PRESETS, build_model

SMALL = ParadigmLengths(prompt=40, response=4, group=3, critique=5, thought=3, asking=2)


@pytest.fixture(scope="module")
def bench():
    """The preset tiny; every test leaves it as it is."""
    return ParadigmBench(build_model("tiny", torch.float32, "cpu"), batch_tokens=2000)


def test_operations_of_writing_are_those_that_are_counted():
    model = build_model("tiny", torch.float32, "cpu")
    own = ParadigmBench(model, batch_tokens=2000)
    # Without fused kernels, whose operations depend on what they skip, every product of attention is counted.
    model.use_backend("plain")
    model.backbone.set_attn_implementation("eager")
    size, length, written = measure_backbone(model.config), GroupLength(90, (30, 30), 64), 12
    group = own.encode(length)
    with FlopCounterMode(display=False) as counter:
        own.write(group, written)
    # What a causal mask hides is computed here, and no operation in the formula.
    hidden = 4 * size.attention * (length.prefix**2 + sum(size**2 for size in length.suffixes)) / 2
    # Patches are embedded by the only convolution, which the formula leaves out as it does other embeddings.
    counted = counter.get_flop_counts()["Global"]
    products = sum(number for operation, number in counted.items() if operation is not torch.ops.aten.convolution)
    assert products == pytest.approx(size.writing_flops(length, written) + hidden, rel=0.01)


def test_a_written_token_is_read_and_has_logits():
    size = measure_backbone(PRESETS.get("tiny")())
    length = GroupLength(50, (7, 9), 0)
    logits = 2 * size.hidden * size.vocabulary
    assert size.vocabulary == 1024
    # The last token is read by nobody.
    assert size.writing_flops(length, 1) == size.forward_flops(length) + 2 * logits
    longer = size.forward_flops(GroupLength(50, (10, 12), 0))
    assert size.writing_flops(length, 4) == longer + 8 * logits


def test_a_judge_is_asked_about_every_ordered_pair_in_one_tree(make_group, picture, vl_template):
    asked: list[JudgeQuestion] = []

    class Counting:
        about = About("counting", sees_images=True)

        def compare(self, questions):
            asked.extend(questions)
            return [Verdict(0, "") for _ in questions]

    group = make_group("Which?", [f"answer {number}" for number in range(8)], [picture()])
    Tournament(Counting()).score([group])
    lengths = ParadigmLengths()
    size = measure_backbone(PRESETS.get("tiny")())
    found = {own.name: own for own in plan_paradigms(lengths)}
    assert len(asked) == found[GRM].cost(size).questions == found[LONGCOT].cost(size).questions == 56
    assert [tuple(map(group_place(group), own.responses)) for own in asked] == list(found[GRM].shown)
    prompt = make_prompt("think")
    tree = encode_openings(vl_template, group, [prompt.ask(own) for own in asked])
    assert len(tree.suffixes) == 56
    assert found[LONGCOT].cost(size).written_tokens == 56 * 202
    assert found[CRITIC].cost(size).read_tokens == (1200 + 8 * 232) + (1200 + 8 * 332)


def group_place(group):
    """Return what finds a response of a group."""
    messages = [response.messages for response in group.responses]
    return messages.index


def test_answers_have_the_length_asked_for(bench, monkeypatch):
    lengths: list[list[int]] = []
    write = bench.write

    def spy(opened, tokens, watched=()):
        answers = write(opened, tokens, watched)
        lengths.append([len(answer.ids) for answer in answers])
        return answers

    monkeypatch.setattr(bench, "write", spy)
    for paradigm in plan_paradigms(SMALL):
        rewards = bench.prepare(paradigm)()
        assert len(rewards) == 3
        assert all(hasattr(reward, "value") for reward in rewards)
    assert lengths == [[5] * 3, [2] * 6, [5] * 6]


def test_the_command_prints_one_json_object():
    from basereward.cli.main import app

    sizes = ["--prompt", "40", "--response", "4", "--group", "2", "--critique", "2", "--thought", "2"]
    ended = CliRunner().invoke(app, ["speed", "paradigms", *sizes, "--repeats", "1", "--json"])
    assert ended.exit_code == 0, ended.output
    content = json.loads(ended.stdout)
    rows = {row["paradigm"]: row for row in content["rows"]}
    assert list(rows) == [NAIVE, CRITIC, GRM, LONGCOT]
    assert [row["cost"]["questions"] for row in rows.values()] == [0, 2, 2, 2]
    assert rows[NAIVE]["timing"]["times_naive_seconds"] == {"median": 1.0, "low": 1.0, "high": 1.0}
    assert all(row["timing"]["seconds_per_response"]["median"] > 0 for row in rows.values())
    assert content["lengths"]["thought"] == 2


def test_without_rounds_operations_are_counted_at_any_scale():
    from basereward.cli.main import app

    ended = CliRunner().invoke(app, ["speed", "paradigms", "--preset", "7b", "--repeats", "0"])
    assert ended.exit_code == 0, ended.output
    assert "CPU s" not in ended.output
    assert "LongCoT-GRM" in ended.output
    assert "12.0" in ended.output


def test_models_are_asked_in_several_wordings(vl_backbone, tmp_path):
    write_rows(draw_rows(4, 0, WorldConfig()), tmp_path / "test.parquet")
    roles = {
        "naive": None,
        "critic": CriticRole(request="short", max_tokens=2),
        "grm": JudgeRole(prompt="digit", max_tokens=2),
    }
    for name, role in roles.items():
        save_reward_model(new_reward_model(vl_backbone, role=role), tmp_path / name / "model")
    naive, critic, grm = measure_quality(tmp_path, limit=2)
    assert (naive.pairs, critic.pairs, grm.pairs) == (2, 2, 2)
    assert [own.wording for own in critic.asked] == ["detailed", "short"]
    assert [own.wording for own in grm.asked] == list(WORDINGS)
    # Untrained judges say nothing that can be read; a score is the same in both orders because it knows none.
    assert (grm.highest, grm.range, grm.asked[0].unparsable) == (0.0, 0.0, 1.0)
    assert naive.asked[0].order_consistency is None
    assert naive.asked[0].accuracy.n == 2


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(MissingFileError, match="lab table1"):
        measure_quality(tmp_path)
