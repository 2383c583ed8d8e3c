"""What a user may write after MODEL, and what is said where it is wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from basereward.data.judging.prompts import make_prompt
from basereward.data.outcomes import Score
from basereward.errors import CheckpointError, MissingFileError, RecipeError, ScoringError, UnknownNameError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.scoring.baselines import BASELINES
from basereward.scoring.local import LocalScorer
from basereward.scoring.spec import is_judge, open_judge, open_scorer


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
    assert (scorer.about.name, scorer.model.backend) == (str(checkpoint), "plain")
    assert all(isinstance(score, Score) for score in scorer.score([make_group("Which?", ["a", "b"])])[0])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere", ["no folder 'nowhere'", "owner/name", "baseline:"]),
        ("baselines:longer", ["Did you mean 'baseline:longer'"]),
        ("./no/where", ["No folder './no/where'"]),
        ("ftp://localhost/model", ["web address", "checkpoint folder", "http://HOST:PORT"]),
        ("s3://bucket/model", ["web address"]),
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
    assert all(isinstance(score, Score) for score in scorer.score([make_group("Which?", ["a", "b"])])[0])


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


def write_spec(path, text):
    path.write_text(text)
    return str(path)


def test_a_file_names_a_model_with_its_own_settings(checkpoint, tmp_path, make_group):
    text = f"model: {checkpoint}\ndtype: bfloat16\ndevice: cpu\nbackend: plain\n"
    scorer = open_scorer(write_spec(tmp_path / "m.yaml", text), dtype="float32")
    assert isinstance(scorer, LocalScorer)
    assert (scorer.about.name, scorer.model.backend) == (str(tmp_path / "m.yaml"), "plain")
    # The member's own precision, not that of the command.
    assert next(scorer.model.backbone.parameters()).dtype == torch.bfloat16
    named = write_spec(tmp_path / "n.yml", f"model: {checkpoint}\nname: mine\n")
    own, other = open_scorer(named, "float32", "cpu"), open_scorer(str(checkpoint), "float32", "cpu")
    assert own.about.name == "mine"
    assert own.about.identity == other.about.identity
    group = make_group("Which?", ["a", "b"])
    assert own.score([group]) == other.score([group])
    baseline = open_scorer(write_spec(tmp_path / "b.yaml", "model: baseline:longer\nname: long\n"))
    assert (baseline.about.name, baseline.score([group])) == ("long", BASELINES.get("longer").score([group]))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("model: baseline:longer\ndevic: cpu\n", RecipeError, "Did you mean 'device'"),
        ("model: [a, b]\n", RecipeError, "model: Input should be a valid string"),
        ("dtype: float32\n", RecipeError, "model: Field required"),
        ("- a\n", RecipeError, "expected a mapping"),
        ("model: other.yaml\n", MissingFileError, "no file 'other.yaml'"),
        ("model: judge:http://host/v1#m\n", ScoringError, "is a judge"),
        ("model: nowhere\n", MissingFileError, "no folder 'nowhere'"),
        ("model: baseline:lnger\n", UnknownNameError, "Did you mean 'longer'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text, error, words, tmp_path):
    with pytest.raises(error, match=words):
        open_scorer(write_spec(tmp_path / "m.yaml", text))


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(MissingFileError, match=r"no file 'nowhere\.yaml'"):
        open_scorer("nowhere.yaml")


def test_the_configuration_of_a_model_is_opened_once_here(checkpoint, monkeypatch):
    opened = []
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda self, *a, **k: opened.append(self.name) or read(self, *a, **k))
    open_scorer(str(checkpoint), device="cpu")
    assert opened.count("config.json") == 1


def test_baselines_need_no_torch():
    code = (
        "import sys; from basereward.scoring.spec import open_scorer; open_scorer('baseline:longer');"
        "import basereward.scoring.files, basereward.evaluation.runner;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_describes_a_judge_with_its_prompt(chat_server, tmp_path):
    server = chat_server(lambda request: "<answer>1</answer>")
    text = "format=answer_tag\n{request} {response_1} {response_2}"
    (tmp_path / "mine.txt").write_text(text)
    file = tmp_path / "judge.yaml"
    file.write_text(
        f"model: judge:{server.url}#m\nprompt: {tmp_path / 'mine.txt'}\nmax_tokens: 9\njudge: {{temperature: 0.5}}\n"
    )
    assert is_judge(str(file))
    judge = open_judge(str(file))
    assert judge.prompt.format.name == "answer_tag"
    assert {key: judge.about.identity[key] for key in ("max_tokens", "temperature")} == {
        "max_tokens": 9,
        "temperature": 0.5,
    }
    # What the command line says goes first.
    assert open_judge(str(file), "think", 7).prompt == make_prompt("think", 7)
    assert open_scorer(f"tournament:{file}").judge.prompt == judge.prompt
    file.write_text("model: baseline:longer\nprompt: think\n")
    assert not is_judge(str(file))
    with pytest.raises(ScoringError, match="is no judge"):
        open_scorer(str(file))
