"""``basereward data list`` says of every source where it is and what became of it in the paper."""

from basereward.sources.registry import SOURCES

KEYS = {
    *("name", "title", "hub_id", "revision", "licence", "modality"),
    *("kind", "paper_name", "paper_size", "verdict", "remark"),
}


def test_json_is_one_object_with_every_source(command):
    ended = command("data", "list", "--json")
    assert ended.code == 0
    assert ended.json.keys() == {"sources"}
    assert [source["name"] for source in ended.json["sources"]] == SOURCES.names()
    assert all(source.keys() == KEYS for source in ended.json["sources"])
    [mmpr] = [source for source in ended.json["sources"] if source["name"] == "mmpr"]
    assert (mmpr["hub_id"], mmpr["paper_name"], mmpr["paper_size"]) == ("OpenGVLab/MMPR-v1.2", "MMPR v1.2", 2_000_000)
    assert (mmpr["verdict"], mmpr["licence"], mmpr["revision"], mmpr["kind"]) == ("kept", "MIT", None, "pairs")


def test_the_table_has_a_line_for_every_source(command):
    ended = command("data", "list")
    first = [line.split()[0] for line in ended.out.splitlines() if line.strip()]
    assert set(SOURCES.names()) <= set(first)
    [line] = [line for line in ended.out.splitlines() if line.startswith("rlhf_v ")]
    assert all(word in line for word in ("openbmb/RLHF-V-Dataset", "1d8e9804", "cc-by-nc-4.0", "R1-Reward", "part"))
