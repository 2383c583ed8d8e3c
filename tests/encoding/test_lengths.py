"""Lengths of pairs before training: those of encoding, known without opening an image, and kept."""

import dataclasses
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from basereward.data import parts
from basereward.data.pairs import load_pairs
from basereward.data.schema import PreferencePair
from basereward.encoding import measuring
from basereward.encoding.groups import GroupLength, SharingKeys
from basereward.encoding.lengths import Lengths, PairLength
from basereward.encoding.measuring import measure_lengths, measure_pair
from basereward.encoding.packing import CostModel
from basereward.models.inputs import load_template


@pytest.fixture
def pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("BASEREWARD_CACHE", str(tmp_path / "cache"))
    names = [f"{place}.png" for place in range(5)]
    for name in names:
        Image.new("RGB", (64, 96)).save(tmp_path / name)
    Image.new("RGB", (150, 70)).save(tmp_path / "wide.png")
    media = [
        {},
        {"images": ["wide.png", "0.png"]},
        {"videos": [{"frames": names, "fps": 2.0}, {"frames": names[:2], "fps": None}]},
        {"videos": [{"frames": names[:1], "fps": 1.0}]},
        {"images": ["wide.png"], "videos": [{"frames": names[:3], "fps": 0.1}]},
    ]
    rows = []
    for own in media:
        kinds = ["image"] * len(own.get("images", [])) + ["video"] * len(own.get("videos", []))
        parts = [*({"type": kind} for kind in kinds), {"type": "text", "text": "What happens?"}]
        prompt = [{"role": "user", "content": parts}]
        rows.append({"prompt": prompt, "chosen": "This.", "rejected": "Not that.", **own})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_pairs([tmp_path / "rows.jsonl"])


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl"])
def test_lengths_equal_encoding(family, pairs, backbone_of, image_tokens):
    template = load_template(backbone_of(family))
    lengths = measure_lengths(pairs, template)
    assert list(measure_lengths(pairs, template)) == list(lengths)
    # Qwen3-VL's processor reads no video of a single frame.
    assert lengths.usable.tolist() == ([0, 1, 2, 4] if family == "qwen3_vl" else [0, 1, 2, 3, 4])
    assert all(row.problem[0] == "video" for row in lengths if row.problem)
    for place in lengths.usable.tolist():
        (group,) = pairs.pairs[place].comparison().groups
        (length,) = lengths[place].groups
        encoded = template.encode(group)
        assert (length.prefix, length.suffixes) == (len(encoded.prefix), tuple(map(len, encoded.suffixes)))
        assert length.image_tokens == image_tokens(encoded.images)


def random_rows(count: int) -> list[PairLength]:
    """Pairs of every shape: one or two groups, of one to four responses, with and without problems and keys."""
    random = np.random.default_rng(count)

    def group() -> GroupLength:
        sizes = tuple(random.integers(1, 90, random.integers(1, 5)).tolist())
        prefix, images, removed, more = random.integers(0, 500, 4).tolist()
        keys = SharingKeys(*random.integers(0, 3, 2).tolist(), tuple(random.integers(0, 9, len(sizes)).tolist()))
        return GroupLength(prefix, sizes, images, removed * (more < 50), prefix, min(images, prefix), keys)

    problem = PairLength((), ("too_long", "It is."))
    return [
        problem if random.random() < 0.1 else PairLength(tuple(group() for _ in range(random.integers(1, 3))))
        for _ in range(count)
    ]


def without_keys(row: PairLength) -> PairLength:
    return row._replace(groups=tuple(group._replace(keys=None) for group in row.groups))


def check(lengths: Lengths, rows: list[PairLength]) -> None:
    cost = CostModel(attention=1e-3, image=0.3)
    assert list(lengths) == list(map(without_keys, rows))
    assert lengths.tokens().tolist() == [sum(group.total for group in row.groups) for row in rows]
    assert lengths.removed.tolist() == [sum(group.removed for group in row.groups) for row in rows]
    assert lengths.longest().tolist() == [max((group.longest for group in row.groups), default=0) for row in rows]
    expected = [
        sum(group.prefix / 1 + sum(group.suffixes) + 0.3 * group.image_tokens for group in row.groups) for row in rows
    ]
    attended = [
        sum(g.prefix**2 / 2 + sum(size * (g.prefix + size / 2) for size in g.suffixes) for g in row.groups)
        for row in rows
    ]
    np.testing.assert_allclose(lengths.costs(cost), np.array(expected) + 1e-3 * np.array(attended))
    assert [cost.of(group) for row in lengths for group in row.groups] == pytest.approx(
        [cost.of(group) for row in rows for group in row.groups]
    )
    groups = [group for row in rows for group in row.groups or (GroupLength(0, (), 0, keys=SharingKeys(0, 0, (0,))),)]
    shared = lengths.sharing()
    for found, own in (
        (shared.openings, [group.keys.opening for group in groups]),
        (shared.prompts, [group.keys.prompt for group in groups]),
        (shared.responses[:, 0], [group.keys.responses[0] for group in groups]),
    ):
        assert (found[:, None] == found).tolist() == (np.array(own)[:, None] == np.array(own)).tolist()
    assert (shared.responses[:, 1] < 0).tolist() == [len(group.suffixes) < 2 for group in groups]
    assert shared.pairs.tolist() == [place for place, row in enumerate(rows) for _ in row.groups or "-"]


def test_flat_sizes_are_those_of_their_groups_however_they_are_taken() -> None:
    rows = random_rows(60)
    lengths = Lengths.of(rows)
    check(lengths, rows)
    check(Lengths.join([Lengths.of(rows[:7]), Lengths.of(rows[7:9]), Lengths.of(rows[9:])]), rows)
    order = np.random.default_rng(0).integers(0, 60, 80)
    check(lengths.select(order), [rows[place] for place in order])
    check(lengths.select(lengths.usable), [row for row in rows if row.groups])
    usable = [row for row in rows if row.groups]
    added = [row.groups[0] if place % 3 else None for place, row in enumerate(usable)]
    more = [row._replace(groups=(*row.groups, own)) if own else row for row, own in zip(usable, added, strict=True)]
    check(lengths.select(lengths.usable).with_groups(added), more)


def test_kept_sizes_are_those_that_were_measured(tmp_path) -> None:
    rows = random_rows(60)
    path = tmp_path / "lengths.npz"
    check(measuring.restore_lengths(measuring.keep_lengths(Lengths.of(rows), path), path), rows)


def test_what_tells_unshared_pairs_apart_takes_next_to_nothing(tmp_path) -> None:
    random = np.random.default_rng(0)
    keys = random.integers(1, 2**62, (20_000, 4)).tolist()
    rows = [PairLength((GroupLength(9, (3, 4), 0, keys=SharingKeys(0, own[1], tuple(own[2:]))),)) for own in keys]
    measuring.keep_lengths(Lengths.of(rows), tmp_path / "lengths.npz")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 0.2 * len(rows)


def test_an_ordinary_pair_takes_24_bytes(pairs, backbone_of, tmp_path) -> None:
    lengths = Lengths.of([PairLength((GroupLength(9, (3, 4), 0, keys=SharingKeys(1, 2, (3, 4))),))] * 1000)
    assert lengths.table.nbytes == 24 * len(lengths)
    assert lengths.firsts is None
    assert lengths.more.nbytes == lengths.left_out.nbytes == 0


def test_measuring_goes_on_where_it_was_killed(pairs, backbone_of, monkeypatch) -> None:
    template = load_template(backbone_of("qwen2_5_vl"))
    whole = measure_lengths(pairs, template)
    measured = []
    monkeypatch.setattr(measuring, "BATCH", 1)
    monkeypatch.setattr(parts, "_SAVE_SECONDS", 0.0)

    def measure(pair, *arguments):
        if pair.id.endswith("-3") and not measured.count("killed"):
            measured.append("killed")
            raise KeyboardInterrupt
        measured.append(pair.id[-1])
        return measure_pair(pair, *arguments)

    monkeypatch.setattr(measuring, "measure_pair", measure)
    trees = measuring.Trees(PreferencePair.comparison, "other")
    with pytest.raises(KeyboardInterrupt):
        measure_lengths(pairs, template, trees=trees)
    again = measure_lengths(pairs, template, trees=trees)
    assert measured == ["0", "1", "2", "killed", "3", "4"]
    assert list(again) == list(whole)
    assert again.keys().tolist() == whole.keys().tolist()


def test_other_images_of_the_same_rows_are_measured_anew(pairs, backbone_of, tmp_path) -> None:
    template = load_template(backbone_of("qwen2_5_vl"))
    before = measure_lengths(pairs, template)
    sidecar = dataclasses.replace(pairs.sidecar, image_sizes=pairs.sidecar.image_sizes * 4)
    after = measure_lengths(dataclasses.replace(pairs, sidecar=sidecar), template)
    assert (after.tokens() >= before.tokens()).all()
    assert after.tokens()[1] > before.tokens()[1]


def test_lengths_can_leave_the_process_that_measured_them():
    """A loader hands them over pickled; what cannot be pickled never arrives, and the run would wait for ever."""
    group = GroupLength(9, (2, 3), 4, prompt=8, opening=5, keys=SharingKeys(1, 2, (3, 4)))
    whole = Lengths.of([PairLength((group,)), PairLength((group, group))])
    for lengths in (whole, whole.select([1]), Lengths.join([whole, whole]), whole.with_groups([group, None])):
        again = pickle.loads(pickle.dumps(lengths))
        assert list(again) == list(lengths)
        assert again.keys().tolist() == lengths.keys().tolist()
