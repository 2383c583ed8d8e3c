"""Weights that ranks wrote in parts: read in place, gathered, and joined to the model that they are of."""

import json
import shutil

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from basereward.data.record import DataRecord
from basereward.errors import CheckpointError
from basereward.models.checkpoint import (
    load_reward_model,
    load_weights,
    new_reward_model,
    save_reward_model,
    save_shards,
)
from basereward.models.facts import CriticRole
from basereward.models.hub import open_folder
from basereward.models.merging.sharded import join_shards
from basereward.training.parallel import shard_model

CPU = torch.device("cpu")


@pytest.fixture
def alone():
    """A process group of this process alone."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def sharded(vl_backbone, alone):
    """A model that was built on the meta device and sharded."""
    model = new_reward_model(vl_backbone, head_seed=0, is_empty=True)
    model.data_record = DataRecord(fingerprint="abc", inputs=(), contamination=None)
    shard_model(model, CPU, bf16=False, size=1)
    return model


def check_equal(found, expected):
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []


def test_a_sharded_model_is_saved_as_the_whole_one(sharded, vl_backbone, tmp_path):
    whole = new_reward_model(vl_backbone, head_seed=0)
    whole.data_record = sharded.data_record
    for name, model in (("sharded", sharded), ("whole", whole)):
        save_reward_model(model, tmp_path / name, shard_bytes=100_000)
    files = sorted(file.name for file in (tmp_path / "whole").iterdir())
    assert len([name for name in files if name.endswith(".safetensors")]) > 1
    assert sorted(file.name for file in (tmp_path / "sharded").iterdir()) == files
    for name in files:
        assert (tmp_path / "sharded" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("dtype", [None, torch.bfloat16], ids=["stored", "bf16"])
def test_parts_are_joined_to_the_model(dtype, sharded, tmp_path):
    save_shards(sharded, tmp_path / "parts", is_writer=True)
    for name in ("trainer_state.json", "scheduler.pt", "rng_state_0.pth", "files.json"):
        (tmp_path / "parts" / name).touch()
    (tmp_path / "joined").mkdir()
    join_shards(tmp_path / "parts", tmp_path / "joined", dtype)
    save_reward_model(sharded, tmp_path / "model", dtype=dtype)
    check_equal(*(load_reward_model(tmp_path / name).state_dict() for name in ("joined", "model")))
    names = [sorted(file.name for file in (tmp_path / folder).iterdir()) for folder in ("joined", "model")]
    assert names[0] == names[1]
    configs = [json.loads((tmp_path / folder / "config.json").read_text()) for folder in ("joined", "model")]
    assert configs[0] == configs[1]


def test_parts_load_into_a_whole_model_and_the_other_way(sharded, vl_backbone, tmp_path):
    with torch.no_grad():
        for weight in sharded.parameters():
            weight.add_(1)
    expected = {name: weight.full_tensor() for name, weight in sharded.state_dict().items()}
    save_shards(sharded, tmp_path / "parts", is_writer=True)
    whole = new_reward_model(vl_backbone, head_seed=1)
    load_weights(whole, tmp_path / "parts")
    check_equal(whole.state_dict(), expected)
    with torch.no_grad():
        for weight in whole.parameters():
            weight.add_(1)
    save_reward_model(whole, tmp_path / "whole")
    load_weights(sharded, tmp_path / "whole")
    check_equal({name: weight.full_tensor() for name, weight in sharded.state_dict().items()}, whole.state_dict())


def test_parts_are_no_model_and_not_those_of_another(sharded, text_model, tmp_path):
    save_shards(sharded, tmp_path / "parts", is_writer=True)
    with pytest.raises(CheckpointError, match=r"weights are in parts.*basereward merge .*parts"):
        open_folder(tmp_path / "parts")
    with pytest.raises(CheckpointError, match="other weights than this model"):
        load_weights(text_model, tmp_path / "parts")
    part = next((tmp_path / "parts" / "shards").glob("*.distcp"))
    part.rename(tmp_path / "part")
    with pytest.raises(CheckpointError, match=r"cannot be read.*No such file"):
        load_weights(sharded, tmp_path / "parts")
    (tmp_path / "parts" / "shards" / ".metadata").unlink()
    with pytest.raises(CheckpointError, match="no complete weights"):
        load_weights(sharded, tmp_path / "parts")


def test_tied_weights_stay_tied_and_are_stored_once(text_backbone, alone, tmp_path):
    folder = shutil.copytree(text_backbone, tmp_path / "backbone")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    role = CriticRole(request="short", max_tokens=8)
    models = [new_reward_model(folder, role=role, head_seed=0, is_empty=is_empty) for is_empty in (False, True)]
    shard_model(models[1], CPU, bf16=False, size=1)
    assert models[1].lm_head.weight is models[1].backbone.embed_tokens.weight
    for name, model in zip(("whole", "sharded"), models, strict=True):
        save_reward_model(model, tmp_path / name)
    check_equal(*(load_file(tmp_path / name / "model.safetensors") for name in ("whole", "sharded")))
