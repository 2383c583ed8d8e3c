"""Soups are kept for what they do on held-out pairs: a member that spoils them is left out or refused."""

import json

import numpy as np
import pytest
import torch

from basereward.curation.seen import item_fingerprints
from basereward.data.record import DataRecord
from basereward.data.storage import write_rows
from basereward.errors import CheckpointError
from basereward.evaluation.pairs import read_pairs
from basereward.evaluation.soups import cook_soup
from basereward.models.checkpoint import load_reward_model, new_reward_model, save_reward_model
from basereward.models.head import HeadSettings
from basereward.models.parts import read_tensors

PAIRS = 24


def pair(number):
    """Longer answers win; a head that reads the last state of a random backbone knows nothing of that."""
    ask = [{"role": "user", "content": [{"type": "text", "text": f"Count to {number}."}]}]
    sides = {"chosen": "one two three " * (1 + number % 3), "rejected": "no"}
    said = {side: [{"role": "assistant", "content": [{"type": "text", "text": text}]}] for side, text in sides.items()}
    return {"id": str(number), "source": "own", "prompt": ask, **said, "images": []}


@pytest.fixture(scope="module")
def held_out(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    write_rows([pair(number) for number in range(PAIRS)], path)
    return read_pairs(path)


@pytest.fixture(scope="module")
def models(text_backbone, held_out, tmp_path_factory):
    """Four linear heads on one backbone: right, right at another length, ignorant, and wrong by three lengths."""
    folder = tmp_path_factory.mktemp("models")
    model = new_reward_model(text_backbone, HeadSettings(layers=1), head_seed=0).eval()
    groups = [group for number in range(PAIRS) for group in held_out.items[number].groups]
    with torch.no_grad():
        states = [model.hidden_states(**_batch(model, group)) for group in groups]
        places = [max((0, 1), key=lambda place: len(group.responses[place].text)) for group in groups]
        direction = torch.stack([own[place] - own[1 - place] for own, place in zip(states, places, strict=True)]).mean(
            0
        )
        assert all(
            float((own[place] - own[1 - place]) @ direction) > 0 for own, place in zip(states, places, strict=True)
        )
    scales = {"good": 1.0, "better": 2.0, "none": 0.0, "bad": -9.0}
    for name, scale in scales.items():
        with torch.no_grad():
            model.head.layers[0].weight.copy_(scale * direction[None])
        save_reward_model(model, folder / name)
    return {name: folder / name for name in scales}


def _batch(model, group):
    from basereward.encoding.collate import collate

    return collate([model.template.encode(group)])


def test_a_uniform_soup_that_is_as_good_is_kept(models, held_out, tmp_path):
    report = cook_soup([models["good"], models["better"]], tmp_path / "out", held_out)
    assert [own.accuracy for own in report.measured] == [1.0, 1.0, 1.0]
    assert report.pairs == PAIRS
    weights = [read_tensors(place)["reward_head.layers.0.weight"] for place in (models["good"], tmp_path / "out")]
    torch.testing.assert_close(weights[1], 1.5 * weights[0])
    assert json.loads((tmp_path / "out" / "merge.json").read_text()) == report.model_dump(mode="json")


def test_far_heads_are_refused_where_no_pairs_decide(models, held_out, tmp_path):
    """With pairs, an average that ranks nothing right is still not below members that rank nothing right."""
    members = [models["good"], models["better"], models["none"], models["bad"]]
    with pytest.raises(CheckpointError, match=r"not connected: those of reward_head"):
        cook_soup(members, tmp_path / "unmeasured")
    report = cook_soup(members, tmp_path / "low", held_out)
    assert [own.accuracy for own in report.measured] == [1.0, 1.0, 0.0, 0.0, 0.0]
    assert not (tmp_path / "unmeasured").exists()


def test_an_average_below_its_worst_member_is_refused(models, held_out, tmp_path, text_backbone):
    """Heads of two layers whose inner units are permuted: the same function, and an average that is another one."""
    first = new_reward_model(text_backbone, HeadSettings(width=2), head_seed=0)
    inner, last = first.head.layers
    good = read_tensors(models["good"])["reward_head.layers.0.weight"][0]
    with torch.no_grad():
        # reward = silu(w x) - silu(-w x) = w x
        inner.weight.copy_(torch.stack([good, -good]))
        inner.bias.zero_()
        last.weight.copy_(torch.tensor([[1.0, -1.0]]))
        save_reward_model(first, tmp_path / "first")
        inner.weight.copy_(inner.weight.flip(0))
        last.weight.copy_(last.weight.flip(1))
        save_reward_model(first, tmp_path / "permuted")
    with pytest.raises(CheckpointError, match=r"average ranks 0\.0% of the pairs right, and .* 100\.0%"):
        cook_soup([tmp_path / "first", tmp_path / "permuted"], tmp_path / "out", held_out)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob("out*"))


def test_a_greedy_soup_takes_what_does_not_make_it_worse(models, held_out, tmp_path):
    order = [models[name] for name in ("bad", "none", "good", "better")]
    report = cook_soup(order, tmp_path / "out", held_out, greedy=True)
    # With "none" it is (1 + 2 + 0) / 3, still right; with "bad" it would be wrong.
    assert [own.kept for own in report.measured] == [False, True, True, True, True]
    assert report.members == (str(models["good"]), str(models["better"]), str(models["none"]))
    assert report.measured[-1].accuracy == 1.0
    weights = [read_tensors(place)["reward_head.layers.0.weight"] for place in (models["good"], tmp_path / "out")]
    torch.testing.assert_close(weights[1], weights[0])


def test_a_greedy_soup_of_one_is_that_model(models, held_out, tmp_path):
    report = cook_soup([models["bad"], models["good"]], tmp_path / "out", held_out, greedy=True)
    assert report.members == (str(models["good"]),)
    before, after = read_tensors(models["good"]), read_tensors(tmp_path / "out")
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


def test_a_model_that_was_trained_on_the_pairs_is_named(models, held_out, tmp_path):
    """Its accuracy would choose the soup."""
    model = load_reward_model(models["good"])
    seen = np.concatenate([own for item in held_out.items[:5] for own in item_fingerprints(item).values()])
    model.data_record = DataRecord(fingerprint="f", inputs=(), contamination=None, pairs=np.sort(seen).tobytes())
    save_reward_model(model, tmp_path / "seen")
    for greedy in (False, True):
        report = cook_soup([models["better"], tmp_path / "seen"], tmp_path / f"out-{greedy}", held_out, greedy)
        [note] = report.notes
        assert note.startswith(f"{tmp_path / 'seen'} was trained on 5 of {PAIRS} held-out pairs")
        assert note in (tmp_path / f"out-{greedy}" / "README.md").read_text()
    assert not cook_soup([models["better"], models["good"]], tmp_path / "clean", held_out).notes


def test_a_greedy_soup_needs_pairs(models, tmp_path):
    with pytest.raises(CheckpointError, match="--data"):
        cook_soup([models["good"], models["better"]], tmp_path / "out", greedy=True)
