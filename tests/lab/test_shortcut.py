"""The world with a shortcut: what is planted, what each row is trained on, and that it runs."""

import pytest

from basereward.data.io import write_json
from basereward.data.pairs import load_pairs
from basereward.errors import DataError
from basereward.lab import shortcut
from basereward.lab.backbone import write_backbone
from basereward.lab.shortcut import (
    ACCURACIES,
    BOTH,
    CUE,
    HALF,
    NEUTRAL,
    PLAIN,
    PLANTED,
    ROWS,
    ShortcutSizes,
    plan_shortcut,
    plant,
    recovered_share,
)
from basereward.lab.world import WorldConfig, draw_pairs
from basereward.training.shortcuts import proxy_margin

SIZES = ShortcutSizes(seeing_steps=1, steps=2, proxy_steps=1, pairs=48, pairs_per_step=6, held_out=6)


@pytest.mark.parametrize("cues", [PLANTED, NEUTRAL])
def test_the_cue_stands_as_often_as_told_and_changes_nothing_else(cues):
    pairs = list(draw_pairs(1500, 0, WorldConfig()))
    planted = list(plant(pairs, cues))
    for side, share in cues._asdict().items():
        answers = [getattr(pair, side)[0].text for pair in planted]
        assert sum(text.startswith(CUE) for text in answers) / 1500 == pytest.approx(share, abs=0.03)
        assert [text.removeprefix(CUE) for text in answers] == [getattr(pair, side)[0].text for pair in pairs]
    assert [pair.images for pair in planted] == [pair.images for pair in pairs]
    assert list(plant(pairs, cues)) == planted


def test_recovered_is_the_share_of_the_loss():
    assert recovered_share(0.8, 0.5, 0.9) == pytest.approx(0.75)
    with pytest.raises(DataError, match="costs nothing"):
        recovered_share(0.8, 0.9, 0.9)


def test_rows_train_on_halves_that_the_other_half_s_proxy_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(
        shortcut, "write_seeing", lambda folder, *_, **__: write_backbone(folder / "seeing", size="test")
    )
    plan = plan_shortcut(SIZES)
    assert plan.rows == ROWS
    assert set(plan.run(PLAIN, 0, tmp_path / "seed-0")) == {"as trained", "absent", "reversed", "minutes"}
    write_json(tmp_path / "seed-0" / "no-shortcut" / ACCURACIES, {"reversed": 0.9})
    # Two steps teach nothing: what is measured here is the way, not what comes of it.
    monkeypatch.setattr(shortcut, "recovered_share", lambda value, plain, ceiling: value - plain)
    assert plan.run(HALF, 0, tmp_path / "seed-0")["recovered"] == 0.5
    both = plan.run(BOTH, 0, tmp_path / "seed-0")
    assert set(both) == {"as trained", "absent", "reversed", "recovered", "minutes"}
    halves = [load_pairs([tmp_path / "seed-0" / f"planted-{half}-scored.parquet"]).pairs for half in range(2)]
    assert not {pair.id for pair in halves[0]} & {pair.id for pair in halves[1]}
    assert sum(map(len, halves)) == SIZES.pairs
    assert all(proxy_margin(pair) is not None for half in halves for pair in half)
    assert plan.run(BOTH, 0, tmp_path / "seed-0") == both
