"""What a backbone cannot place fails alone, and rotary frequencies never depend on what else is in the batch."""

import json
import shutil

import pytest
import torch
from transformers import AutoModel, Qwen2_5_VLConfig, Qwen3Config

from basereward.data.outcomes import Failure
from basereward.data.schema import PreferencePair
from basereward.data.sidecar import Media
from basereward.encoding.measuring import measure_pair
from basereward.errors import CheckpointError, RowError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.inputs import load_template
from basereward.models.positions import position_limit
from basereward.scoring.local import LocalScorer

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 16}
FACTORS = {"short_factor": [1.0] * 8, "long_factor": [3.0] * 8}


def config(rope, positions=16):
    rope = {"rope_theta": 1e4, **rope}
    return Qwen3Config(
        **SIZES, num_key_value_heads=1, vocab_size=100, max_position_embeddings=positions, rope_parameters=rope
    )


ROPES = {
    "dynamic": config({"rope_type": "dynamic", "factor": 4.0}),
    "longrope": config(
        {"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 16, **FACTORS}, positions=64
    ),
}


@torch.no_grad()
@pytest.mark.parametrize("kind", ROPES)
def test_frequencies_depend_on_the_batch_beyond_the_limit_alone(kind):
    limit = position_limit(ROPES[kind])
    torch.manual_seed(0)
    backbone = AutoModel.from_config(ROPES[kind]).eval()
    ids = torch.arange(1, 11)[None]
    alone = backbone(input_ids=ids).last_hidden_state[0, -1]

    def beside(length):
        batch = torch.ones(2, length, dtype=torch.long)
        batch[0, :10] = ids
        mask = torch.ones(2, length, dtype=torch.long)
        mask[0, 10:] = 0
        found = backbone(input_ids=batch, attention_mask=mask).last_hidden_state[0, 9]
        return float((found - alone).abs().max() / alone.abs().max())

    assert beside(limit) <= 1e-5
    assert beside(4 * limit) > 1e-2


@pytest.mark.parametrize(
    ("rope", "positions", "limit"),
    [
        ({"rope_type": "default"}, 40, 40),
        ({"rope_type": "linear", "factor": 4.0}, 40, 40),
        ({"rope_type": "dynamic", "factor": 4.0}, 40, 40),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, 32, 128),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, 512, 512),
        ({"rope_type": "longrope", "factor": 4.0, "original_max_position_embeddings": 8, **FACTORS}, 32, 8),
    ],
)
def test_the_limit_of_a_configuration(rope, positions, limit):
    assert position_limit(config(rope, positions)) == limit


def test_frequencies_of_the_batch_on_three_axes_are_refused():
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
    with pytest.raises(CheckpointError, match="'dynamic' on three axes"):
        position_limit(Qwen2_5_VLConfig(text_config={"rope_parameters": rope}))


@pytest.fixture(params=["qwen3", "qwen2_5_vl"])
def short_folder(request, backbone_of, tmp_path):
    """A backbone that can place 60 tokens."""
    folder = shutil.copytree(backbone_of(request.param), tmp_path / "short")
    content = json.loads((folder / "config.json").read_text())
    content.get("text_config", content)["max_position_embeddings"] = 60
    (folder / "config.json").write_text(json.dumps(content))
    return folder


def test_what_is_too_long_for_the_model_fails_alone(short_folder, make_group):
    model = new_reward_model(short_folder).eval()
    groups = [
        make_group("What color?", ["red", "blue"]),
        make_group("What color?", ["red", "word " * 80, "blue"]),
        make_group("word " * 80, ["red", "blue"]),
        make_group("Which shape?", ["circle"]),
    ]
    found = LocalScorer(model, "m").score(groups)
    failed = [[isinstance(score, Failure) for score in own] for own in found]
    assert failed == [[False] * 2, [False, True, False], [True] * 2, [False]]
    assert found[1][1].reason == "too_long"
    assert "more than the model's 60 positions" in found[1][1].message
    with pytest.raises(RowError, match="60 positions; shorten it"):
        model.score("What?", responses=["word " * 80])


def test_the_limit_goes_with_the_checkpoint(short_folder, tmp_path):
    folder = save_reward_model(new_reward_model(short_folder), tmp_path / "saved")
    assert load_reward_model(folder).template.positions == 60


def test_training_drops_and_counts_it(short_folder, say):
    template = load_template(short_folder)
    prompt = (say("user", "What color?"),)
    good, long = ((say("assistant", text),) for text in ("red", "word " * 80))
    for chosen, rejected in ((good, long), (long, good)):
        pair = PreferencePair("a", "s", prompt, chosen, rejected)
        reason, message = measure_pair(pair, Media([], []), template).problem
        assert reason == "too_long"
        assert "60 positions" in message
    short = PreferencePair("c", "s", prompt, good, (say("assistant", "blue"),))
    assert measure_pair(short, Media([], []), template).problem is None
