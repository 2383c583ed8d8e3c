"""Raw files of real layouts, converted: archives, embedded images and videos end in shards that training reads."""

import shutil
from dataclasses import replace

import pytest

from basereward.data import shards
from basereward.data.pairs import load_pairs
from basereward.sources.convert import convert
from basereward.sources.registry import SOURCES

SETS = ("mm_rlhf", "mmif", "mmpr", "omnialign_v_dpo", "r1_reward_rl", "rlaif_v", "rlhf_v", "vlfeedback", "vstar")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", SETS)
def test_what_parsing_gives_is_what_is_read(name, multimodal, tmp_path):
    files = multimodal.lay_out(name)
    kept, dropped = multimodal.parse_all(name, files)
    manifest = convert(SOURCES.get(name), files, tmp_path / name)
    step = manifest.steps[0]
    assert (step["candidates"], step["refused"]) == (len(kept), len(dropped))
    assert manifest.drops["total"] == step["refused"] + step["candidates"] - manifest.rows
    if manifest.holds == "prompts":
        return
    shutil.rmtree(files.folder)
    loaded = load_pairs([tmp_path / name])
    assert (len(loaded.pairs), loaded.ledger.total) == (manifest.rows, 0), "images are inside the shards"
    assert sum(pair.is_multimodal for pair in loaded.pairs) == manifest.multimodal


@pytest.mark.parametrize("name", ["mmpr", "vlfeedback"])
def test_an_interrupted_conversion_of_archives_goes_on_to_the_same_bytes(name, multimodal, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 1)
    source, files = SOURCES.get(name), multimodal.lay_out(name)

    def interrupted(files):
        for number, record in enumerate(source.records(files)):
            if number == 2:
                raise KeyboardInterrupt
            yield record

    with pytest.raises(KeyboardInterrupt):
        convert(replace(source, records=interrupted), files, tmp_path / "out")
    assert len(list((tmp_path / "out.partial").glob("*.parquet"))) > 0
    resumed, whole = (convert(source, files, tmp_path / out) for out in ("out", "whole"))
    assert resumed == whole
    assert resumed.sha256 == whole.sha256
