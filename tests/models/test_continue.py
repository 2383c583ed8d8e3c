"""Training on from a reward model: head and record stay; neither a backbone nor adapters are taken for one."""

import pytest
import torch

from basereward.data.record import DataRecord
from basereward.errors import CheckpointError
from basereward.models.adapters import LoraSettings, attach_lora
from basereward.models.checkpoint import continue_reward_model, load_reward_model, save_reward_model
from basereward.models.inputs import TemplateSettings, load_template

RECORD = DataRecord(fingerprint="abc", inputs=(), contamination=None)


@pytest.fixture
def folder(vl_model, tmp_path):
    vl_model.data_record = RECORD
    return save_reward_model(vl_model, tmp_path / "first", dtype=torch.bfloat16)


def test_head_and_record_are_kept_and_weights_train_in_fp32(folder, vl_model):
    model = continue_reward_model(folder)
    assert model.data_record == RECORD
    assert all(torch.equal(own, vl_model.head.state_dict()[name]) for name, own in model.head.state_dict().items())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert all(weight.requires_grad for weight in model.parameters())


def test_limits_may_change_and_a_loaded_template_is_used(folder):
    assert continue_reward_model(folder, TemplateSettings(max_length=300)).template.max_length == 300
    template = load_template(folder)
    assert continue_reward_model(folder, template).template is template


def test_adapters_on_top_name_the_first_model_as_their_base(folder, rewards_of, image_groups, tmp_path):
    pytest.importorskip("peft", reason="LoRA needs peft")
    model = continue_reward_model(folder)
    attach_lora(model, LoraSettings(rank=2))
    expected = rewards_of(model.eval(), image_groups)
    loaded = load_reward_model(save_reward_model(model, tmp_path / "second"), dtype=torch.float32).eval()
    assert torch.equal(rewards_of(loaded, image_groups), expected)
    with pytest.raises(CheckpointError, match=r"holds adapters; .*basereward merge .*second"):
        continue_reward_model(tmp_path / "second")


def test_a_backbone_is_no_reward_model(vl_backbone):
    with pytest.raises(CheckpointError, match="no reward head"):
        continue_reward_model(vl_backbone)
