"""The average of weights is their average, streamed; models that do not belong together are refused by what differs."""

import json
import math

import pytest
import torch

from basereward.data.record import DataRecord, TrainedBy, TrainedOn, read_record, united_record
from basereward.errors import CheckpointError
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.head import HeadSettings
from basereward.models.merging.distance import LIMIT, UNRELATED, ModuleTable, module_of
from basereward.models.merging.report import MergeReport, check_connected
from basereward.models.merging.soup import open_members, write_average
from basereward.models.parts import read_tensors


def record(name):
    inputs = (TrainedOn(name=name, manifest_sha256=None, sources=None),)
    return DataRecord(fingerprint=name, inputs=inputs, contamination=None)


@pytest.fixture(scope="module")
def siblings(text_backbone, tmp_path_factory):
    """Three models of one start: the same weights, moved a little, trained on a, b and a."""
    folder = tmp_path_factory.mktemp("siblings")
    for number, trained in enumerate("aba"):
        model = new_reward_model(text_backbone, HeadSettings(), head_seed=0)
        torch.manual_seed(number)
        with torch.no_grad():
            for weight in model.parameters():
                weight += 0.01 * torch.randn_like(weight)
        model.data_record = record(trained)
        save_reward_model(model, folder / str(number))
    return [folder / str(number) for number in range(3)]


@pytest.mark.parametrize("shard_bytes", [2**31, 20_000])
def test_every_weight_is_the_mean(siblings, tmp_path, shard_bytes):
    modules = write_average(open_members(siblings), tmp_path, shard_bytes)
    own = [read_tensors(folder) for folder in siblings]
    found = read_tensors(tmp_path)
    assert found.keys() == own[0].keys()
    for name, weight in found.items():
        torch.testing.assert_close(weight, torch.stack([one[name] for one in own]).mean(0))
    assert sum(module.parameters for module in modules) == sum(weight.numel() for weight in found.values())
    assert len(list(tmp_path.glob("*.safetensors"))) > (0 if shard_bytes > 10**6 else 3)
    assert load_reward_model(tmp_path).score("?", responses=["a", "b"])


def test_it_is_loaded_by_transformers_and_scores_like_the_mean_of_weights(siblings, tmp_path):
    write_average(open_members(siblings[:2]), tmp_path, 20_000)
    models = [load_reward_model(folder) for folder in (tmp_path, *siblings[:2])]
    states = [model.state_dict() for model in models]
    with torch.no_grad():
        for name, weight in models[1].named_parameters():
            weight.copy_((states[1][name] + states[2][name]) / 2)
    scores = [model.eval().score("What?", responses=["this", "that"]) for model in models[:2]]
    assert scores[0] == pytest.approx(scores[1], abs=1e-6)


def test_equal_models_give_themselves_bit_for_bit(siblings, tmp_path):
    again = save_reward_model(load_reward_model(siblings[0]), tmp_path / "again")
    (tmp_path / "out").mkdir()
    modules = write_average(open_members([siblings[0], again]), tmp_path / "out")
    before, after = read_tensors(siblings[0]), read_tensors(tmp_path / "out")
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert {module.distance for module in modules} == {0.0}


def test_the_record_is_the_union_of_what_any_was_trained_on(siblings, tmp_path):
    write_average(open_members(siblings), tmp_path)
    assert [one.name for one in read_record(tmp_path).inputs] == ["a", "b"]
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["reward"]["data_hash"] == read_record(tmp_path).fingerprint


def test_a_soup_of_seeds_on_the_same_data_is_no_run_of_their_recipe():
    told = [
        record("a").model_copy(update={"trained_by": TrainedBy(recipe_sha256=64 * "0", seed=seed, name="recipe")})
        for seed in (0, 1)
    ]
    assert united_record([("first", told[0]), ("second", told[1])]).trained_by is None
    assert united_record([("first", told[0])]).trained_by == told[0].trained_by


def test_distances_have_their_closed_form():
    table = ModuleTable()
    table.add("model.layers.10.a.weight", "average", 2, [torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])])
    table.add("model.layers.9.a.weight", "average", 2, [torch.tensor([3.0, 4.0])] * 3)
    # Two tensors of one module are one vector: |a - b|^2 = 4 + 0, (|a|^2 + |b|^2) / 2 = (1 + 9) / 2 + 1.
    table.add("model.norm.weight", "average", 1, [torch.tensor([1.0]), torch.tensor([3.0])])
    table.add("model.norm.bias", "average", 1, [torch.tensor([1.0]), torch.tensor([1.0])])
    found = {module.name: module.distance for module in table.modules()}
    assert list(found) == ["model.layers.9", "model.layers.10", "model.norm"]
    assert found["model.layers.10"] == pytest.approx(UNRELATED) == pytest.approx(math.sqrt(2))
    assert found["model.layers.9"] == 0
    assert found["model.norm"] == pytest.approx(math.sqrt(4 / 6))


def test_unrelated_weights_are_not_connected_and_siblings_are(siblings, backbone_of, tmp_path):
    from basereward.lab.backbone import write_backbone

    other = write_backbone(tmp_path / "other", "qwen3", "test", seed=1)
    stranger = save_reward_model(new_reward_model(other, head_seed=0), tmp_path / "stranger")
    for name, members in {"near": siblings, "far": [siblings[0], stranger]}.items():
        (tmp_path / name).mkdir()
        modules = write_average(open_members(members), tmp_path / name)
        report = MergeReport(kind="soup", members=("a", "b"), formula="mean", modules=modules)
        if name == "near":
            check_connected(report, "")
            continue
        assert {"model.layers.0", "model.layers.1", "model.embed_tokens"} <= {module.name for module in report.far}
        with pytest.raises(CheckpointError, match=r"not connected: those of model\.\S+ are 1\.\d\d apart .* Advice\."):
            check_connected(report, "Advice.")


def test_a_head_of_another_seed_is_not_connected(siblings, text_backbone, tmp_path):
    stranger = save_reward_model(new_reward_model(text_backbone, head_seed=1), tmp_path / "stranger")
    (tmp_path / "out").mkdir()
    modules = write_average(open_members([siblings[0], stranger]), tmp_path / "out")
    far = [module.name for module in modules if module.distance > LIMIT]
    assert far == ["reward_head"]


def test_models_that_differ_are_refused_by_what_differs(siblings, text_backbone, vl_backbone, tmp_path):
    first = siblings[0]
    heads = save_reward_model(new_reward_model(text_backbone, HeadSettings(layers=1)), tmp_path / "head")
    images = save_reward_model(new_reward_model(vl_backbone), tmp_path / "vl")
    words = save_reward_model(load_reward_model(first), tmp_path / "words")
    config = json.loads((words / "config.json").read_text())
    config["reward"]["inputs"]["tokenizer"]["merges"] = "x"
    (words / "config.json").write_text(json.dumps(config))
    adapter = save_reward_model(load_reward_model(first), tmp_path / "adapter")
    (adapter / "adapter_config.json").write_text("{}")
    for other, said in (
        (heads, "differ in their heads"),
        (images, r"differ in config\.json: architectures"),
        (words, r"differ in their inputs: tokenizer\.merges"),
        (adapter, "basereward merge"),
        (text_backbone, "no section 'reward'"),
        (first, "two or more different models"),
    ):
        with pytest.raises(CheckpointError, match=said):
            open_members([first, other])


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("critic", (None, {"max_tokens": 9}), "differ in how they write critiques"),
        ("pixels", ({"max": 9}, {"max": 8}), "differ in the sizes of images"),
    ],
)
def test_models_that_were_trained_to_read_or_write_otherwise_are_refused(siblings, tmp_path, key, values, said):
    """A vocabulary head that is tied to the embeddings is no tensor by which a critic could be told."""
    members = [save_reward_model(load_reward_model(siblings[0]), tmp_path / name) for name in "ab"]
    for member, value in zip(members, values, strict=True):
        config = json.loads((member / "config.json").read_text())
        config["reward"][key] = value
        (member / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=said):
        open_members(members)


@pytest.mark.parametrize(
    ("tensor", "module"),
    [
        ("model.layers.3.mlp.up_proj.weight", "model.layers.3"),
        ("visual.blocks.0.norm1.weight", "visual.blocks.0"),
        ("model.embed_tokens.weight", "model.embed_tokens"),
        ("reward_head.heads.2.layers.0.weight", "reward_head"),
    ],
)
def test_modules_are_blocks_and_what_stands_beside_them(tensor, module):
    assert module_of(tensor) == module
