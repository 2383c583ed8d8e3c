"""Heads on frozen features: what they learn, whose features are kept, and whether ranks agree."""

import json
from pathlib import Path

import numpy as np
import pytest

from basereward.data.storage import write_rows
from basereward.errors import ScoringError
from basereward.evaluation.frozen.features import FrozenPairs, frozen_pairs
from basereward.evaluation.frozen.fit import FitSettings, fit_head
from basereward.evaluation.frozen.ranks import kendall_tau, rank_agreement, spearman_rho
from basereward.evaluation.frozen.run import ProbePlan, read_probe, run_probe
from basereward.lab.frozen import CHOICES, FROZEN, FULL, plan_frozen, table_agreement
from basereward.lab.tables import Cell, LabTable
from basereward.lab.world import WorldConfig, draw_rows
from basereward.models.head import HeadSettings
from basereward.reporting.documents import to_markdown_page
from basereward.reporting.probe_page import build_probe_report
from basereward.scoring.folders import open_encoder

LINEAR, MLP = HeadSettings(layers=1, activation="none"), HeadSettings()


def drawn(count: int, seed: int, is_curved: bool = False) -> FrozenPairs:
    """Pairs whose truth is a linear function of the state, or the size of its first entry."""
    states = np.random.default_rng(seed).normal(3.0, 2.0, (2, count, 6)).astype(np.float32)
    truth = np.abs(states[..., 0] - 3) if is_curved else states[..., 0] - states[..., 1]
    chosen = np.where((truth[0] > truth[1])[:, None], states[0], states[1])
    rejected = np.where((truth[0] > truth[1])[:, None], states[1], states[0])
    return FrozenPairs(f"set {seed}", str(seed), chosen, rejected, 0, True)


def test_a_head_learns_what_its_shape_can_say() -> None:
    settings = FitSettings(epochs=60, learning_rate=1e-2)
    assert fit_head(drawn(400, 0), LINEAR, settings=settings).accuracy(drawn(300, 1)) > 0.95
    curved, held_out = drawn(600, 2, is_curved=True), drawn(300, 3, is_curved=True)
    assert fit_head(curved, LINEAR).accuracy(held_out) < 0.65
    assert fit_head(curved, HeadSettings(width=32), settings=FitSettings(epochs=60)).accuracy(held_out) > 0.85


def test_the_regulariser_centres_and_a_seed_decides_everything() -> None:
    pairs = drawn(300, 0)
    plain, centred, again = (fit_head(pairs, MLP, value, seed=4) for value in (0.0, 1.0, 0.0))
    sums = [(head.rewards(pairs.chosen) + head.rewards(pairs.rejected)).pow(2).mean() for head in (plain, centred)]
    assert sums[1] < sums[0]
    assert (plain.rewards(pairs.chosen) == again.rewards(pairs.chosen)).all()
    with pytest.raises(ScoringError, match="Found 2 heads in one shape"):
        fit_head(pairs, HeadSettings(heads=2))


def test_ranks_agree_by_hand() -> None:
    first, second = [1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]
    assert kendall_tau(first, second) == pytest.approx(4 / 6)
    assert spearman_rho(first, second) == pytest.approx(0.8)
    assert kendall_tau(first, first[::-1]) == spearman_rho(first, first[::-1]) == pytest.approx(-1)
    # One tie on the second side: 5 of its 6 pairs are told apart.
    assert kendall_tau(first, [1.0, 2.0, 2.0, 3.0]) == pytest.approx(5 / (6 * 5) ** 0.5)
    assert kendall_tau(first, [1.0] * 4) is None
    found = rank_agreement([first, first, first], [first, second, [1.0] * 4])
    assert found.kendall == [1.0, pytest.approx(4 / 6), None]
    assert found.kendall_interval is not None
    assert found.lines()[0].startswith("Kendall's tau-b by seed: +1.00, +0.67, all ties; 95 % interval")
    assert found.kendall_interval.low < 5 / 6 < found.kendall_interval.high


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    found = {name: folder / f"{name}.jsonl" for name in ("a", "b", "test")}
    for seed, path in enumerate(found.values()):
        write_rows(draw_rows(24, seed, WorldConfig(text_share=0.5)), path)
    return found


def test_a_probe_keeps_features_and_notices_what_changes(
    vl_backbone: Path, sets: dict[str, Path], tmp_path: Path
) -> None:
    encoder = open_encoder(str(vl_backbone), "float32", "cpu")
    plan = ProbePlan([str(sets["a"]), str(sets["b"])], [str(sets["test"])], (LINEAR, MLP), (0.0, 0.1), (0, 1))
    said: list[str] = []
    result = run_probe(encoder, plan, tmp_path / "probe", said.append)
    assert len(result.heads) == 8
    assert [line.split()[-1] for line in said if "features" in line] == ["computed"] * 3
    assert read_probe(tmp_path / "probe") == result
    page = to_markdown_page(build_probe_report(result))
    assert "nothing of what training" in page
    assert "2:silu, lambda 0.1" in page
    said.clear()
    assert run_probe(encoder, plan, tmp_path / "probe", said.append) == result
    assert [line.split()[-1] for line in said if "features" in line] == ["kept"] * 3
    rows = [json.loads(line) for line in sets["b"].read_text().splitlines()]
    rows[0]["chosen"][0]["content"][0]["text"] += " indeed"
    sets["b"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    said.clear()
    run_probe(encoder, plan, tmp_path / "probe", said.append)
    assert [line.split()[-1] for line in said if "features" in line] == ["kept", "computed", "kept"]
    with pytest.raises(ScoringError, match="would train heads and measure them"):
        run_probe(encoder, plan._replace(held_out=[str(sets["a"])]), tmp_path / "probe")


def test_held_out_pairs_that_train_are_counted(vl_backbone: Path, sets: dict[str, Path], tmp_path: Path) -> None:
    first, test = (sets[name].read_text().splitlines() for name in ("a", "test"))
    both = sets["a"].with_name("both.jsonl")
    # The other way round they were seen as well.
    rows = [json.loads(line) for line in first if json.loads(line)["images"]][:5]
    turned = [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    both.write_text("".join(f"{line}\n" for line in [*test, *map(json.dumps, turned)]))
    plan = ProbePlan([str(sets["a"])], [str(sets["test"]), str(both)], (LINEAR,), (0.0,), (0,))
    said: list[str] = []
    result = run_probe(open_encoder(str(vl_backbone), "float32", "cpu"), plan, tmp_path / "probe", said.append)
    alone, more = (own.seen for own in result.held_out)
    assert more - alone == 5
    assert any(line.startswith(f"{both}: {more} pairs train heads too") for line in said)
    assert f"{more} of 29 pairs train heads too" in to_markdown_page(build_probe_report(result))


def test_an_image_that_changes_behind_its_name_makes_other_features(
    vl_backbone: Path, sets: dict[str, Path], tmp_path: Path
) -> None:
    rows = [row for row in draw_rows(12, 5, WorldConfig()) if row["images"]]
    for number, row in enumerate(rows):
        image = tmp_path / f"{number}.png"
        image.write_bytes(row["images"][0]["bytes"])
        row["images"] = [image.name]
    path = tmp_path / "named.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    encoder = open_encoder(str(vl_backbone), "float32", "cpu")
    before = frozen_pairs(encoder, str(path), tmp_path / "features")
    (tmp_path / "0.png").write_bytes((tmp_path / "1.png").read_bytes())
    after = frozen_pairs(encoder, str(path), tmp_path / "features")
    assert (before.was_kept, after.was_kept) == (False, False)
    assert before.identity != after.identity
    assert (before.chosen[0] != after.chosen[0]).any()
    assert (before.chosen[1:] == after.chosen[1:]).all()


def test_the_labs_agreement_is_over_rows_seed_by_seed() -> None:
    cells = [
        Cell(row=row, seed=seed, values={FULL: place, FROZEN: place if seed else -place})
        for seed in (0, 1)
        for place, row in enumerate(CHOICES)
    ]
    plan = plan_frozen.__module__
    table = LabTable(
        name=plan, source="", rows=list(CHOICES), columns=[], seeds=[0, 1], cells=cells, findings=[], notes=[]
    )
    assert table_agreement(table).kendall == [-1.0, 1.0]
