"""A damaged shard is named by every command that reads pairs, with what to do."""

import pytest

from basereward.data.storage import write_rows


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A folder of two shards without a manifest, of which the second has a damaged page."""
    folder = tmp_path_factory.mktemp("damaged") / "set"
    folder.mkdir()
    for number in range(2):
        rows = [{"prompt": f"Q {n}?", "chosen": f"A {n * 7919}", "rejected": "B"} for n in range(500)]
        write_rows(rows, folder / f"pairs-{number:05d}.parquet")
    path = folder / "pairs-00001.parquet"
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 4, len(content) // 4 + 300):
        content[place] ^= 0x5A
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "command_line",
    [
        ("data", "show", "{folder}"),
        ("data", "split", "{folder}", "--test", 5, "--out", "out"),
        ("data", "contamination", "{folder}", "--bench", "{folder}"),
        ("data", "curate", "curate.yaml", "--out", "out"),
        ("data", "mix", "mix.yaml", "--out", "out"),
        ("data", "convert", "{file}", "--out", "out"),
        ("eval", "baseline:longer", "--data", "{folder}", "--out", "out"),
        ("score", "baseline:longer", "{file}", "--out", "out.jsonl"),
    ],
)
def test_it_is_named(damaged, command, tmp_path, command_line):
    (tmp_path / "curate.yaml").write_text(f"name: c\ninputs: [{damaged.parent}]\nsteps: [{{step: conflicts}}]\n")
    (tmp_path / "mix.yaml").write_text(f"name: m\ninputs: [{{path: {damaged.parent}}}]\n")
    given = [str(part).format(folder=damaged.parent, file=damaged) for part in command_line]
    ended = command(*given)
    assert ended.code == 1
    assert f"{damaged} is no readable Parquet file" in ended.err
    assert "restore it, or make it again" in ended.err
