"""Backends side by side: what is timed is the same work, and the figures are those of the layouts."""

import json

import pytest
import torch
from typer.testing import CliRunner

from basereward.encoding.groups import GroupLength
from basereward.errors import RecipeError, UnknownNameError
from basereward.models.flops import measure_backbone
from basereward.speed.loader import measure_loader, needed_images
from basereward.speed.measure import layout_flops, matmul_rate, measure_speed
from basereward.speed.memory import peak_bytes
from basereward.speed.workloads import PRESETS, Workload, build_model, encode_lengths, pack, separate

NAMES = ["plain", "plain_unpadded", "split"]
SMALL = Workload(prompt=60, response=8, groups=2)


@pytest.mark.parametrize(("mode", "names"), [("train", NAMES), ("score", [*NAMES, "expand"])])
def test_all_backends_compute_the_same_rewards(mode, names):
    report = measure_speed(mode, "tiny", SMALL, names, repeats=1)
    assert [timing.backend for timing in report.results] == names
    assert all(timing.reward_difference <= 1e-5 for timing in report.results)
    assert all(
        timing.cpu_seconds.low <= timing.cpu_seconds.median <= timing.cpu_seconds.high for timing in report.results
    )
    assert report.results[0].cpu_ratio_to_plain == 1.0
    assert report.results[1].flop_ratio_to_plain_unpadded == 1.0


def test_the_tiny_preset_has_the_vision_share_of_the_3b():
    length = GroupLength(1200, (200, 200), 1024)

    def share(name):
        size = measure_backbone(PRESETS.get(name)())
        with_image = size.forward_flops(length, shared=False)
        return 1 - size.forward_flops(length._replace(image_tokens=0), shared=False) / with_image

    assert share("tiny") == pytest.approx(share("3b"), abs=0.005)


def test_padding_is_part_of_the_plain_layout():
    size = measure_backbone(PRESETS.get("tiny")())
    lengths = [GroupLength(100, (10, 30), 0), GroupLength(50, (20, 20), 0)]
    padded = [GroupLength(130, (), 0)] * 4
    assert layout_flops(size, lengths, "plain") == pytest.approx(
        sum(size.forward_flops(own) for own in padded), rel=1e-6
    )
    assert layout_flops(size, lengths, "split") < layout_flops(size, lengths, "plain_unpadded")


def test_separate_sequences_are_the_same_sequences():
    model = build_model("tiny", torch.float32, "cpu")
    groups = encode_lengths(SMALL.lengths(), model.config)
    with torch.inference_mode():
        shared = model(**_structure(pack(groups, [(0, 1)], "cpu")))
        alone = model(**_structure(pack(separate(groups), [(0, 1)], "cpu")))
    assert torch.allclose(shared, alone, atol=1e-6)


def _structure(batch):
    return {key: value for key, value in batch.items() if key not in ("pairs", "margins", "weights")}


def test_lengths_are_drawn_by_seed_within_the_jitter():
    lengths = Workload(response=200, jitter=0.3, groups=50).lengths(seed=1)
    sizes = [size for length in lengths for size in length.suffixes]
    assert min(sizes) >= 140
    assert max(sizes) <= 260
    assert lengths == Workload(response=200, jitter=0.3, groups=50).lengths(seed=1)
    assert lengths[0].image_tokens == 1024


def test_a_response_has_at_least_one_token():
    lengths = Workload(response=2, jitter=1.0, groups=50).lengths()
    assert {size for length in lengths for size in length.suffixes} == {1, 2, 3, 4}


def test_peak_memory_sees_an_allocation():
    found = peak_bytes(lambda: torch.ones(64 * 2**20 // 4).sum(), "cpu")
    assert found is None or 60 * 2**20 <= found <= 120 * 2**20


def test_unknown_names_are_refused():
    with pytest.raises(UnknownNameError, match="tiny"):
        measure_speed("train", "tinny", SMALL, NAMES)
    with pytest.raises(RecipeError, match="plain_unpadded"):
        measure_speed("train", "tiny", SMALL, ["flex"], repeats=1)
    with pytest.raises(RecipeError, match="expand"):
        measure_speed("train", "tiny", SMALL, ["expand"], repeats=1)


def test_matmul_rate_is_plausible():
    assert 1e8 < matmul_rate(torch.float32, "cpu") < 1e13


def test_the_loader_is_timed_beside_its_need():
    report = measure_loader([0], image_side=112, images=4)
    assert report.results[0].images_per_second > 0
    assert needed_images(896) == pytest.approx(5.5, abs=0.2)


def test_the_command_prints_one_json_object():
    from basereward.cli.main import app

    options = ["speed", "train", "--prompt", "60", "--response", "8", "--repeats", "1", "--json"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0
    content = json.loads(result.stdout)
    wanted = {"backend", "pairs_per_second", "cpu_ratio_to_plain", "cpu_ratio_to_plain_unpadded"}
    wanted |= {"flop_ratio_to_plain_unpadded", "peak_memory_bytes", "peak_fraction"}
    assert all(wanted <= set(result) for result in content["results"])
