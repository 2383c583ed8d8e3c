"""Features of responses: the hidden states of every sequence alone, in the file that curation reads."""

import json

import datasets
import numpy as np
import pytest
import torch

from basereward.configuration import parse_configuration
from basereward.curation.recipe import CurationRecipe
from basereward.curation.run import curate
from basereward.data.outcomes import Failure
from basereward.data.storage import read_rows, write_rows
from basereward.data.work import RECORDS
from basereward.encoding.collate import collate
from basereward.errors import DataError, ScoringError
from basereward.lab.world import WorldConfig, draw_pairs, draw_rows
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.reward_model import RewardModel
from basereward.scoring.features import write_features
from basereward.scoring.folders import open_encoder
from basereward.scoring.local import LocalScorer
from basereward.scoring.projection import draw_projection
from basereward.training.recipe import parse_recipe
from basereward.training.run import train

TOLERANCE = 1e-5
PAIRS = 90


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def scorer(vl_backbone):
    torch.manual_seed(0)
    return LocalScorer(new_reward_model(vl_backbone).eval(), "m")


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """More than one batch of pairs, half of them with an image."""
    file = tmp_path_factory.mktemp("features") / "pairs.jsonl"
    write_rows(draw_rows(PAIRS, 0, WorldConfig(text_share=0.5)), file)
    return read_rows(file)


def read(path):
    with np.load(path) as arrays:
        return dict(arrays)


def alone(model, group, response):
    """The hidden state at the last token of one sequence, computed by itself."""
    plain = RewardModel(model.backbone, model.head, model.template, "plain").eval()
    single = type(group)(group.id, group.prompt, (response,), group.images)
    with torch.inference_mode():
        [state] = plain.hidden_states(**collate([plain.template.encode(single)])).numpy()
    model.use_backend("auto")
    return state


def test_features_are_the_states_of_every_sequence_alone(scorer, rows, tmp_path):
    done = write_features(scorer, rows, tmp_path / "f.npz")
    assert (done.rows, done.written, done.failed) == (PAIRS, PAIRS, {})
    found = read(tmp_path / "f.npz")
    assert found["id"].tolist() == rows["id"][:]
    assert found["chosen"].dtype == np.float32
    for place, pair in enumerate(draw_pairs(8, 0, WorldConfig(text_share=0.5))):
        [group], chosen, rejected = pair.comparison()
        for name, response in (("chosen", chosen), ("rejected", rejected)):
            expected = alone(scorer.model, group, group.responses[response])
            assert abs(found[name][place] - expected).max() <= TOLERANCE * abs(expected).max()
    assert abs(found["chosen"] - found["rejected"]).max() > 100 * TOLERANCE * abs(found["chosen"]).max()


def test_the_head_at_a_feature_is_the_reward(scorer, make_group):
    groups = [make_group("Which colour?", ["red", "blue"]), make_group("Why?", ["Because.", "So."])]
    with torch.inference_mode():
        rewards = [scorer.model.head(torch.from_numpy(np.array(own))).tolist() for own in scorer.hidden_states(groups)]
    scores = [[score.value for score in own] for own in scorer.score(groups)]
    assert np.allclose(rewards, scores, rtol=TOLERANCE)


def test_neither_order_nor_rows_change_a_feature(scorer, rows, tmp_path):
    write_features(scorer, rows, tmp_path / "a.npz")
    write_features(LocalScorer(scorer.model, "m", 60), rows.select(range(PAIRS - 1, -1, -1)), tmp_path / "b.npz")
    one, other = read(tmp_path / "a.npz"), read(tmp_path / "b.npz")
    assert one["id"].tolist() == other["id"].tolist()[::-1]
    for name in ("chosen", "rejected"):
        assert abs(one[name] - other[name][::-1]).max() <= TOLERANCE * abs(one[name]).max()


def test_wide_states_are_projected_by_the_seed(scorer, rows, tmp_path):
    write_features(scorer, rows, tmp_path / "whole.npz", 0)
    assert write_features(scorer, rows, tmp_path / "few.npz", 8, seed=3).dimensions == 8
    whole, few = read(tmp_path / "whole.npz"), read(tmp_path / "few.npz")
    expected = whole["chosen"] @ draw_projection(whole["chosen"].shape[1], 8, 3)
    assert np.allclose(few["chosen"], expected, rtol=1e-4, atol=1e-4)


def test_a_projection_keeps_lengths_of_differences():
    vectors = np.random.default_rng(0).normal(size=(200, 3000)).astype(np.float32)
    differences = vectors[:100] - vectors[100:]
    ratio = np.linalg.norm(differences @ draw_projection(3000, 256, 0), axis=1) / np.linalg.norm(differences, axis=1)
    assert ratio.mean() == pytest.approx(1, abs=0.02)
    assert ratio.std() == pytest.approx((1 / 512) ** 0.5, rel=0.3)
    assert np.array_equal(draw_projection(5, 3, 1), draw_projection(5, 3, 1))
    assert not np.array_equal(draw_projection(5, 3, 1), draw_projection(5, 3, 2))


def stop_after(number):
    """A progress callback that interrupts the work."""

    def stop(done, total):
        if done >= number:
            raise KeyboardInterrupt

    return stop


def test_interrupted_work_goes_on(scorer, rows, tmp_path, monkeypatch):
    write_features(scorer, rows, tmp_path / "once.npz")
    target = tmp_path / "f.npz"
    with pytest.raises(KeyboardInterrupt):
        write_features(scorer, rows, target, on_progress=stop_after(64))
    assert not target.exists()
    # A batch that was half written when the work stopped.
    with (tmp_path / "f.npz.partial" / "states").open("ab") as states:
        states.write(b"torn")
    with (tmp_path / "f.npz.partial" / RECORDS).open("a") as lines:
        lines.write('{"id": "to')
    seen = []
    compute = scorer.hidden_states
    monkeypatch.setattr(scorer, "hidden_states", lambda groups: seen.extend(groups) or compute(groups))
    assert write_features(scorer, rows, target).written == PAIRS
    assert len(seen) == PAIRS - 64
    assert np.array_equal(read(target)["rejected"], read(tmp_path / "once.npz")["rejected"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npz", "once.npz"]


def test_unfinished_work_of_other_settings_is_refused(scorer, rows, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_features(scorer, rows, tmp_path / "f.npz", on_progress=stop_after(64))
    for other in ((rows, 8), (rows.select(range(80)), 256)):
        with pytest.raises(DataError, match=r"holds work with .*(dimensions|rows).* delete it"):
            write_features(scorer, other[0], tmp_path / "f.npz", other[1])
    (tmp_path / "f.npz.partial" / "states").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds 0 bytes, expected \d+"):
        write_features(scorer, rows, tmp_path / "f.npz")


def test_rows_without_features_are_left_out_and_counted(scorer, tmp_path):
    good = {"prompt": "Which?", "chosen": "This one.", "rejected": "None."}
    lines = [
        {"id": "good", **good},
        {"id": "empty", **good, "chosen": ""},
        {"id": "image", **good, "images": [str(tmp_path / "absent.png")]},
        {"id": "again", **good},
    ]
    lines[2]["prompt"] = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = write_features(scorer, read_rows(tmp_path / "pairs.jsonl"), tmp_path / "f.npz")
    assert (done.rows, done.written, done.failed) == (4, 2, {"empty_response": 1, "image_missing": 1})
    assert "absent.png" in done.examples["image_missing"]
    found = read(tmp_path / "f.npz")
    assert found["id"].tolist() == ["good", "again"]
    assert np.allclose(found["chosen"][0], found["chosen"][1], rtol=1e-4)


def test_a_file_without_any_features_is_not_written(scorer, tmp_path):
    (tmp_path / "pairs.jsonl").write_text(json.dumps({"prompt": "a", "chosen": "", "rejected": "b"}) + "\n")
    with pytest.raises(DataError, match=r"None of 1 rows has features .*empty_response 1"):
        write_features(scorer, read_rows(tmp_path / "pairs.jsonl"), tmp_path / "f.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]
    with pytest.raises(DataError, match=r"ends in \.npz"):
        write_features(scorer, None, tmp_path / "f.npy")


def test_broken_weights_give_failures(vl_backbone, make_group):
    broken = new_reward_model(vl_backbone)
    with torch.no_grad():
        next(broken.backbone.get_submodule(broken.family.text_module).parameters()).fill_(float("nan"))
    [[state]] = LocalScorer(broken, "m").hidden_states([make_group("Which?", ["a"])])
    assert isinstance(state, Failure)
    assert state.reason == "not_finite"


def test_bare_backbones_and_reward_models_are_encoders(vl_backbone, scorer, make_group, tmp_path):
    checkpoint = save_reward_model(scorer.model, tmp_path / "model")
    group = make_group("Which colour?", ["red", "blue"])
    states = [open_encoder(str(folder), device="cpu").hidden_states([group])[0] for folder in (vl_backbone, checkpoint)]
    assert np.allclose(states[0], states[1], rtol=TOLERANCE)
    with pytest.raises(ScoringError, match="baseline:longer has no hidden states"):
        open_encoder("baseline:longer")


def test_a_model_trained_on_swapped_labels_finds_them(text_backbone, tmp_path):
    config = WorldConfig(text_share=1.0, text_kinds=("refusal",), label_noise=0.1)
    pairs = tmp_path / "pairs.jsonl"
    write_rows(draw_rows(300, 0, config), pairs)
    recipe = {
        "name": "tiny",
        "model": {"backbone": str(text_backbone)},
        "data": {"train": [str(pairs)]},
        "optimizer": {"pairs_per_step": 32, "learning_rate": 3e-3, "epochs": 5, "max_steps": 40},
        "hardware": {"precision": "fp32", "workers": 0, "use_cpu": True},
    }
    model = train(parse_recipe(recipe), tmp_path / "run").model_folder
    write_features(open_encoder(str(model), device="cpu"), read_rows(pairs), tmp_path / "f.npz")
    step = {"step": "label_noise", "features": str(tmp_path / "f.npz")}
    recipe = parse_configuration(CurationRecipe, {"name": "noise", "inputs": [str(pairs)], "steps": [step]})
    curate(recipe, tmp_path, tmp_path / "out")
    [file] = (tmp_path / "out").rglob("dropped.jsonl")
    dropped = {json.loads(line)["id"] for line in file.read_text().splitlines()}
    swapped = {pair.id for pair in draw_pairs(300, 0, config) if pair.extra["flipped"]}
    assert len(dropped & swapped) >= 0.7 * len(swapped)
    assert len(dropped & swapped) >= 0.9 * len(dropped)
