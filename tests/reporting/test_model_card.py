"""Results in a model card: of exactly the weights of the folder, whole evaluations alone, the newest of a benchmark."""

import json

import pytest

from basereward.benchmarks.plugins import open_benchmark
from basereward.errors import DataError
from basereward.evaluation.opened import read_benchmark
from basereward.evaluation.runner import EvaluationOptions, evaluate
from basereward.models.card.facts import read_card_facts
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.reporting.model_card import update_card
from basereward.scoring.baselines import BASELINES
from basereward.scoring.folders import open_encoder
from tests.evaluation.conftest import FIXTURES


@pytest.fixture
def evaluated(text_backbone, tmp_path):
    """A run folder with a model and its evaluation beside it, and ``ask(name, limit)`` that adds others."""
    model = save_reward_model(new_reward_model(text_backbone, head_seed=0), tmp_path / "run" / "model")

    def ask(name, place, limit=None, scorer=None):
        subject = scorer or open_encoder(str(model), device="cpu")
        opened = read_benchmark(open_benchmark(name), FIXTURES, limit=limit)
        return evaluate(subject, opened, place, EvaluationOptions(references=False))

    ask("rewardbench2", tmp_path / "run" / "eval")
    return model, ask


def test_evaluations_beside_the_model_are_found_and_stay_when_others_are_named(evaluated, tmp_path):
    model, ask = evaluated
    ask("judgebench", tmp_path / "run" / "part", limit=1)
    ask("judgebench", tmp_path / "run" / "longer", scorer=BASELINES.get("longer"))
    found = update_card(model)
    assert [own.benchmark for own in found.results] == ["rewardbench2"]
    assert "part of the data" in " ".join(found.left_out)
    assert "does not say which weights" in " ".join(found.left_out)
    ask("judgebench", tmp_path / "judgebench")
    found = update_card(model, [tmp_path / "judgebench"])
    assert [own.benchmark for own in found.results] == ["judgebench", "rewardbench2"]
    text = found.path.read_text()
    first = json.loads((tmp_path / "judgebench" / "result.json").read_text())
    accuracy = first["protocols"]["official"]["model"]["metrics"]["accuracy"]
    row = f"| judgebench | official | accuracy | {100 * accuracy['value']:.1f} | {100 * accuracy['low']:.1f} to"
    assert row in text
    assert f"SHA-256 `{first['data']['sha256']}`" in text
    before = found.path.read_bytes()
    assert update_card(model).path.read_bytes() == before


def test_results_of_other_weights_are_refused_by_name_and_go_from_the_card(evaluated, text_backbone, tmp_path):
    model, _ = evaluated
    update_card(model)
    card = (model / "card.yaml").read_text()
    save_reward_model(new_reward_model(text_backbone, head_seed=1), model)
    with pytest.raises(DataError, match="whose weights are others; evaluate the model itself"):
        update_card(model, [tmp_path / "run" / "eval"])
    (model / "card.yaml").write_text(card)
    found = update_card(model)
    assert found.results == read_card_facts(model).results == ()
    assert "measured on other weights" in found.left_out[0]
    assert "rewardbench2" not in found.path.read_text()


def test_a_folder_without_an_evaluation_is_named(evaluated, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no evaluation"):
        update_card(evaluated[0], [tmp_path / "empty"])
