"""Model folders: what is refused before transformers looks at it, what is fetched, how often a file is read."""

import json
import shutil
import subprocess
import sys

import pytest
from transformers import AutoConfig

from basereward.errors import CheckpointError, MissingFileError
from basereward.models import hub
from basereward.models.checkpoint import load_reward_model, new_reward_model
from basereward.models.hub import ModelFolder, load_backbone, open_folder, resolve_folder
from basereward.models.inputs import load_template
from basereward.models.parts import has_head
from basereward.models.reward_model import RewardModel
from basereward.models.shapes import backbone_config
from basereward.scoring.spec import open_scorer

# The layout of OpenGVLab/InternVL2-8B, which only the code in its repository reads.
REMOTE = {
    "model_type": "internvl_chat",
    "architectures": ["InternVLChatModel"],
    "auto_map": {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"},
}


@pytest.fixture
def remote(tmp_path):
    folder = tmp_path / "InternVL2-8B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(REMOTE))
    (folder / "configuration_internvl_chat.py").write_text("raise SystemExit('ran')")
    return folder


@pytest.mark.parametrize(
    "load",
    [load_reward_model, new_reward_model, load_backbone, load_template, backbone_config, RewardModel.from_pretrained],
)
def test_a_model_of_repository_code_is_refused_before_it_could_run(load, remote):
    with pytest.raises(CheckpointError, match=r"'internvl_chat'.*Python code in its repository.*-hf") as caught:
        load(remote)
    assert str(remote) in str(caught.value)


def test_nothing_is_asked_on_the_terminal(remote):
    code = f"from basereward import RewardModel\ntry: RewardModel.from_pretrained({str(remote)!r})\n"
    code += "except RuntimeError as error: print('refused', error)"
    done = subprocess.run([sys.executable, "-c", code], input="y\n" * 9, capture_output=True, text=True, timeout=120)
    assert "refused" in done.stdout
    assert "[y/N]" not in done.stdout + done.stderr


def test_code_beside_a_known_architecture_is_not_looked_at(backbone_of, tmp_path):
    """Some repositories offer code for a model that transformers reads by itself."""
    folder = shutil.copytree(backbone_of("qwen3"), tmp_path / "both")
    for name in ("config.json", "tokenizer_config.json"):
        content = json.loads((folder / name).read_text())
        auto = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.T", "evil.T"]}
        (folder / name).write_text(json.dumps({**content, "auto_map": auto}))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    assert new_reward_model(folder).template.chat_template


@pytest.fixture
def fake_hub(monkeypatch):
    """``fake_hub(folder)``: every hub id is this folder; returns the patterns that were asked for."""

    def make(folder):
        asked = []
        monkeypatch.setattr(
            hub, "snapshot_download", lambda name, revision, allow_patterns: asked.append(allow_patterns) or str(folder)
        )
        return asked

    return make


def test_weights_of_a_model_that_is_refused_are_not_fetched(remote, fake_hub):
    asked = fake_hub(remote)
    with pytest.raises(CheckpointError, match=r"^OpenGVLab/InternVL2-8B .*-hf"):
        resolve_folder("OpenGVLab/InternVL2-8B")
    assert asked == [["config.json"]]


def test_a_plan_fetches_the_configuration_alone(backbone_of, fake_hub):
    asked = fake_hub(backbone_of("qwen3"))
    assert backbone_config("owner/unknown").hidden_size == 32
    assert all(patterns == ["config.json"] for patterns in asked)


def test_a_hub_that_does_not_answer_is_a_missing_file(monkeypatch):
    def fail(*args, **options):
        raise ConnectionError("no network\nand more")

    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(
        MissingFileError, match=r"'owner/name', and the hub did not give it: no network. Check the name and the network"
    ):
        open_folder("owner/name")


@pytest.mark.parametrize(("content", "expected"), [("{", "is not JSON"), ("[1]", "holds list, expected an object")])
def test_a_broken_configuration_is_named(content, expected, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=expected):
        open_folder(tmp_path)


def test_a_folder_is_opened_once(backbone_of, tmp_path, monkeypatch):
    shutil.copytree(backbone_of("qwen3"), tmp_path / "model")
    folder = open_folder(tmp_path / "model")
    assert open_folder(folder) is folder
    assert folder.content["model_type"] == folder.config.model_type == "qwen3"
    assert not has_head(folder)
    monkeypatch.setattr(hub, "_read_config", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(AutoConfig, "from_pretrained", lambda *_, **__: pytest.fail("read again"))
    assert isinstance(folder, ModelFolder)
    assert load_backbone(folder).config.hidden_size == 32


def test_an_open_folder_is_all_that_loading_needs(text_model, tmp_path, text_groups, rewards_of):
    from basereward.models.checkpoint import save_reward_model

    folder = open_folder(save_reward_model(text_model, tmp_path))
    expected = rewards_of(text_model, text_groups).tolist()
    assert rewards_of(RewardModel.from_pretrained(folder, device="cpu"), text_groups).tolist() == expected
    assert open_scorer(str(tmp_path)).model.score("q", responses=["a"]) == text_model.score("q", responses=["a"])
