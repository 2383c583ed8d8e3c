"""Parameters and floating-point work of published backbones, against known sizes and closed forms."""

from functools import cache

import pytest
from transformers import AutoConfig, Qwen3Config

from basereward.encoding.groups import GroupLength
from basereward.errors import MissingFileError
from basereward.models.flops import measure_backbone
from basereward.models.shapes import SHAPES, backbone_config

# Without vocabulary head. Sources: the model cards, less the lm_head where it is not tied (7B: 152064 x 3584), and of
# Qwen3.5 less what guesses further tokens (mtp.*).
TOTALS = {
    "Qwen/Qwen2.5-VL-3B-Instruct": 3.75e9,
    "Qwen/Qwen2.5-VL-7B-Instruct": 7.75e9,
    "Qwen/Qwen2-VL-2B-Instruct": 2.21e9,
    "Qwen/Qwen2-VL-7B-Instruct": 7.75e9,
    "Qwen/Qwen3-VL-4B-Instruct": 4.44e9,
    "Qwen/Qwen3-VL-8B-Instruct": 8.15e9,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": 30.76e9,
    "Qwen/Qwen3.5-9B": 8.39e9,
    "OpenGVLab/InternVL3-1B-hf": 0.802e9,
    "OpenGVLab/InternVL3-8B-hf": 7.40e9,
    "Qwen/Qwen2.5-7B-Instruct": 7.07e9,
    "Qwen/Qwen3-0.6B": 0.596e9,
    "Qwen/Qwen3-4B": 4.02e9,
    "Qwen/Qwen3-8B": 7.57e9,
}


@pytest.fixture(scope="module")
def size_of():
    return cache(lambda name: measure_backbone(backbone_config(name)))


def test_every_row_has_a_known_size():
    assert TOTALS.keys() == SHAPES.keys()


@pytest.mark.parametrize("name", TOTALS)
def test_totals(name, size_of):
    assert size_of(name).total == pytest.approx(TOTALS[name], rel=0.01)


@pytest.mark.parametrize(
    ("name", "ratio"), [("Qwen/Qwen2.5-VL-3B-Instruct", 1.84), ("Qwen/Qwen2.5-VL-7B-Instruct", 1.80)]
)
def test_sharing_saves_what_theory_says(name, ratio, size_of):
    length = GroupLength(prefix=1200, suffixes=(200, 200), image_tokens=1024)
    size = size_of(name)
    assert size.forward_flops(length, shared=False) / size.forward_flops(length) == pytest.approx(ratio, abs=0.01)


def test_the_share_of_vision(size_of):
    length = GroupLength(prefix=1200, suffixes=(200, 200), image_tokens=1024)
    for name, share in (("Qwen/Qwen2.5-VL-3B-Instruct", 0.41), ("Qwen/Qwen2.5-VL-7B-Instruct", 0.23)):
        size = size_of(name)
        without = size.forward_flops(length._replace(image_tokens=0), shared=False)
        assert 1 - without / size.forward_flops(length, shared=False) == pytest.approx(share, abs=0.01)


@pytest.fixture(scope="module")
def tiny():
    return measure_backbone(
        Qwen3Config(
            vocab_size=11,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=4,
        )
    )


def test_a_text_backbone_in_closed_form(tiny):
    linear = 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 16
    norms = 2 * 8 + 2 * 4
    assert tiny.text == 3 * (linear + norms)
    assert tiny.total == tiny.text + 11 * 8 + 8
    assert (tiny.layers, tiny.hidden, tiny.attention) == (3, 8, 3 * 2 * 4)
    assert tiny.lora_parameters(1) == 3 * (2 * (8 + 8) + 2 * (8 + 4) + 3 * (8 + 16))
    assert (tiny.vision, tiny.vision_total) == (0, 0)
    # 4 prompt tokens; responses of 2 and 3: 8 + 2 * 5 + 3 * 5.5 attended keys, two products of 24 multiply-adds each.
    length = GroupLength(4, (2, 3), 0)
    assert tiny.forward_flops(length) == 2 * tiny.text * 9 + 4 * 24 * (8 + 10 + 16.5)
    assert tiny.forward_flops(length, shared=False) == 2 * tiny.text * 13 + 4 * 24 * (2 * 8 + 10 + 16.5)


def test_linear_attention_in_closed_form():
    config = AutoConfig.for_model(
        "qwen3_5_text",
        **{"vocab_size": 11, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 4},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4},
        **{"linear_num_key_heads": 2, "linear_num_value_heads": 4},
        **{"linear_key_head_dim": 3, "linear_value_head_dim": 5},
    )
    size = measure_backbone(config)
    keys, values, mlp = 6, 20, 3 * 8 * 16
    # Queries, keys, values and a gate in, one number for each value head of decay and of strength, and out.
    linear = 8 * (2 * keys + values) + 8 * values + 2 * 8 * 4 + 8 * values
    # A convolution over four tokens, two numbers a value head, the norm of a head.
    more = 4 * (2 * keys + values) + 2 * 4 + 5
    full = 8 * (2 * 2 * 4) + 2 * 8 * 4 + 8 * 8 + 2 * 4
    assert size.text == 3 * (linear + more) + full + 4 * (mlp + 2 * 8)
    assert size.attention == 2 * 4
    assert size.recurrent == 3 * 4 * (3 * 3 * 5 + 64 * (5 * 3 + 3 * 5) // 2)
    linear_sides = (8 + 2 * keys + values) + (8 + values) + 2 * (8 + 4) + (values + 8)
    full_sides = (8 + 16) + 2 * (8 + 4) + (8 + 8)
    assert size.lora_parameters(1) == 3 * linear_sides + full_sides + 4 * 3 * (8 + 16)
    assert size.forward_flops(GroupLength(4, (2,), 0)) == 2 * (size.text + size.recurrent) * 6 + 4 * 8 * (8 + 2 * 5)


def test_a_token_works_with_the_experts_that_it_is_sent_to():
    shape = {"vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 4}
    shape |= {"num_key_value_heads": 1, "num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    config = AutoConfig.for_model("qwen3_vl_moe", text_config=shape, vision_config={"depth": 1, "out_hidden_size": 8})
    size = measure_backbone(config)
    attention = 2 * 8 * 8 + 2 * 8 * 4 + 2 * 4
    router, norms, expert = 6 * 8, 2 * 8, 3 * 8 * 16
    assert size.text == attention + router + norms + 2 * expert
    assert size.total - size.vision_total == attention + router + norms + 6 * expert + 11 * 8 + 8
    assert size.lora_parameters(1) == 2 * (8 + 8) + 2 * (8 + 4)


def test_the_cost_model_is_proportional_to_flops(tiny):
    lengths = [GroupLength(4, (2, 3), 0), GroupLength(100, (7,), 0), GroupLength(30, (9, 9, 90), 0)]
    ratios = [tiny.forward_flops(length) / tiny.cost_model().of(length) for length in lengths]
    assert ratios == pytest.approx([2 * tiny.text] * 3)


def test_a_group_alone_shares_nothing(size_of):
    size, length = size_of("Qwen/Qwen2.5-VL-3B-Instruct"), GroupLength(300, (50,), 256)
    assert size.forward_flops(length) == size.forward_flops(length, shared=False)


def test_a_folder_is_preferred_to_the_table(vl_backbone):
    assert backbone_config(vl_backbone).get_text_config().hidden_size == 32


def test_an_unknown_backbone_names_the_table(tmp_path):
    with pytest.raises(MissingFileError, match=r"Qwen/Qwen2\.5-VL-3B-Instruct"):
        backbone_config(tmp_path / "nothing")
