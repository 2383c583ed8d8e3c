"""`basereward orders`: what it prints, and how it ends."""

import json

from basereward.evaluation.orders import OrderCertificate


def rankings(folder):
    rows = [{"prompt": f"Question {n}?", "responses": ["a", "bb " * n, "ccc"][: 2 + n % 2]} for n in range(1, 6)]
    (folder / "rankings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rankings.jsonl"


def test_a_trained_model_is_certified(command, tiny, tmp_path):
    ended = command("orders", tiny.model, rankings(tmp_path), "--orders", 2, "--limit", 4, "--must-pass", "--json")
    assert ended.code == 0
    found = OrderCertificate.model_validate({k: v for k, v in ended.json.items() if k not in ("relative", "passes")})
    assert (ended.json["passes"], found.groups, [one.responses for one in found.sizes]) == (True, 4, [2, 3])
    assert ended.json["relative"] < 1e-3


def test_a_place_that_counts_is_told(command, tmp_path):
    source = rankings(tmp_path)
    assert command("orders", "baseline:longer", source, "--must-pass").code == 0
    ended = command("orders", "baseline:first", source)
    assert ended.code == 0
    assert "another best response in 5" in ended.out
    assert "the order has an effect" in ended.out
    assert command("orders", "baseline:first", source, "--must-pass").code == 1
