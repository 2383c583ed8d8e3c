"""What a user may write after MODEL, and what is said where it is wrong."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from basereward.errors import CheckpointError, MissingFileError, ScoringError, UnknownNameError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.scoring.baselines import BASELINES
from basereward.scoring.local import LocalScorer
from basereward.scoring.spec import open_scorer


@pytest.fixture(scope="module")
def checkpoint(vl_backbone, tmp_path_factory):
    """The folder of a tiny reward model."""
    return save_reward_model(new_reward_model(vl_backbone), tmp_path_factory.mktemp("spec") / "model")


@pytest.mark.parametrize("name", BASELINES.names())
def test_baselines_have_names(name):
    assert open_scorer(f"baseline:{name}") is BASELINES.get(name)


def test_a_misspelt_baseline_names_the_right_one():
    with pytest.raises(UnknownNameError, match="Did you mean 'longer'"):
        open_scorer("baseline:lnger")


def test_a_folder_is_opened_under_its_own_name(checkpoint, make_group):
    scorer = open_scorer(str(checkpoint), device="cpu", backend="plain")
    assert isinstance(scorer, LocalScorer)
    assert (scorer.name, scorer.model.backend) == (str(checkpoint), "plain")
    assert all(isinstance(score, float) for score in scorer.score([make_group("Which?", ["a", "b"])])[0])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere", ["no folder 'nowhere'", "owner/name", "baseline:"]),
        ("baselines:longer", ["Did you mean 'baseline:longer'"]),
        ("./no/where", ["No folder './no/where'"]),
        ("http://localhost:8000", ["web address", "checkpoint folder"]),
        ("https://hub/owner/name", ["web address"]),
        (__file__, ["is a file", "checkpoint folder"]),
    ],
)
def test_what_is_no_model_is_refused_with_the_forms(spec, words):
    with pytest.raises(MissingFileError) as caught:
        open_scorer(spec)
    assert all(word in str(caught.value) for word in words)


def test_a_bare_backbone_is_refused_by_name(vl_backbone):
    with pytest.raises(CheckpointError, match=r"is a Qwen2_5_VLForConditionalGeneration.*basereward train") as caught:
        open_scorer(str(vl_backbone))
    assert str(vl_backbone) in str(caught.value)


@pytest.mark.parametrize("name", ["v_head.summary", "score"])
def test_the_head_of_another_library_scores(vl_backbone, make_group, tmp_path, name):
    folder = tmp_path / "foreign"
    shutil.copytree(vl_backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    width = config["text_config"]["hidden_size"]
    save_file({f"{name}.weight": torch.ones(1, width)}, folder / "value_head.safetensors", {"format": "pt"})
    if name == "score":
        config["architectures"] = ["Qwen2_5_VLForSequenceClassification"]
        (folder / "config.json").write_text(json.dumps(config))
    scorer = open_scorer(str(folder), device="cpu")
    assert all(isinstance(score, float) for score in scorer.score([make_group("Which?", ["a", "b"])])[0])


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_scorer(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not JSON"):
        open_scorer(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen3"}))
    with pytest.raises(CheckpointError, match="without architectures"):
        open_scorer(str(tmp_path))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"dtype": "float61"}, "float61.*float32 or bfloat16"),
        ({"dtype": "load"}, "float32 or bfloat16"),
        ({"device": "gpu"}, "'gpu' cannot be used here.*cpu"),
        ({"backend": "fast"}, "'fast'.*auto, plain, split"),
    ],
)
def test_a_wrong_option_is_named(checkpoint, option, words):
    with pytest.raises(ScoringError, match=words):
        open_scorer(str(checkpoint), **option)


def test_baselines_need_no_torch():
    code = (
        "import sys; from basereward.scoring.spec import open_scorer; open_scorer('baseline:longer');"
        "import basereward.scoring.files, basereward.evaluation.runner;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
