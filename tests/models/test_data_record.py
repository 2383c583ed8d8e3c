"""The record of the training data travels with a checkpoint: whole, as adapter, merged."""

import json

import pytest

from basereward.data.manifest import Manifest, write_manifest
from basereward.data.overlap import OverlapSummary
from basereward.data.record import FILE_NAME, DataRecord, TrainedOn, read_record, record_data
from basereward.errors import DataError
from basereward.models.adapters import LoraSettings, attach_lora, merge_adapters
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.facts import CriticRole, JudgeRole

SUMMARY = OverlapSummary(pairs=4, dropped=("same_pair",), method={}, benchmarks={})
RECORD = DataRecord(
    fingerprint="abc",
    inputs=(TrainedOn(name="mix", manifest_sha256="0" * 64, sources=("rlaif_v",)),),
    contamination=SUMMARY.to_dict(),
)


def manifest(name, contamination):
    drops = {"total": 0, "reasons": {}}
    common = {"rows": 0, "multimodal": 0, "shards": (), "sources": (), "drops": drops, "created_by": "test"}
    return Manifest(kind="curated", name=name, contamination=contamination, **common)


def test_a_checkpoint_keeps_the_record(text_model, tmp_path):
    text_model.data_record = RECORD
    folder = save_reward_model(text_model, tmp_path / "model")
    assert json.loads((folder / "config.json").read_text())["reward"]["data_hash"] == "abc"
    loaded = load_reward_model(folder)
    assert loaded.data_record == RECORD
    assert read_record(save_reward_model(loaded, tmp_path / "again")) == RECORD


def test_what_a_judge_was_trained_on_stays_known_of_every_model_made_of_it(text_backbone, tmp_path):
    judge = new_reward_model(text_backbone, role=JudgeRole(prompt="digit", max_tokens=2))
    assert judge.data_record is None
    judge.data_record = RECORD
    folder = save_reward_model(judge, tmp_path / "judge")
    for role in (None, CriticRole(request="short", max_tokens=2), judge.role):
        assert new_reward_model(folder, role=role).data_record == RECORD


def test_an_adapter_and_its_merge_keep_the_record(text_model, tmp_path):
    pytest.importorskip("peft")
    attach_lora(text_model, LoraSettings(rank=2, alpha=4))
    text_model.data_record = RECORD
    folder = save_reward_model(text_model, tmp_path / "adapter")
    merged = save_reward_model(merge_adapters(load_reward_model(folder)), tmp_path / "whole")
    assert read_record(merged) == RECORD


def test_a_model_without_a_record_has_no_file(text_model, tmp_path):
    folder = save_reward_model(text_model, tmp_path)
    assert not (folder / FILE_NAME).exists()
    assert load_reward_model(folder).data_record is None


def test_a_changed_record_is_refused(text_model, tmp_path):
    text_model.data_record = RECORD
    folder = save_reward_model(text_model, tmp_path)
    text = (folder / FILE_NAME).read_text()
    (folder / FILE_NAME).write_text(text.replace('"pairs": 4', '"pairs": 5'))
    with pytest.raises(DataError, match="was changed"):
        load_reward_model(folder)
    (folder / FILE_NAME).write_text("{}")
    with pytest.raises(DataError, match=FILE_NAME):
        load_reward_model(folder)


def test_the_record_of_a_run_is_that_of_its_manifests(tmp_path):
    checked, unchecked = tmp_path / "checked", tmp_path / "unchecked"
    for folder, contamination in ((checked, SUMMARY.to_dict()), (unchecked, None)):
        folder.mkdir()
        write_manifest(manifest(folder.name, contamination), folder)
    record = record_data([str(checked)], "abc")
    assert record.summary == SUMMARY
    assert record.inputs[0].manifest_sha256 == json.loads((checked / "manifest.json").read_text())["sha256"]
    for paths in ([checked, unchecked], [checked, tmp_path / "pairs.jsonl"]):
        record = record_data([str(path) for path in paths], "abc")
        assert record.contamination is None
        assert [one.name for one in record.inputs] == [path.name for path in paths]
    assert record.inputs[1] == TrainedOn(name="pairs.jsonl", manifest_sha256=None, sources=None)
