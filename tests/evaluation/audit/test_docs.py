"""docs/audit.md: its commands and its Python run as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from basereward.evaluation.audit.result import ProbeResult
from tests.cli.conftest import call

GUIDE = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
BLOCKS = dict(re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
ADDRESS = "http://127.0.0.1:8000/v1"


@pytest.fixture
def model(vl_backbone, tmp_path, monkeypatch):
    """A folder with pairs and an untrained model where the guide has them."""
    from basereward.models.checkpoint import save_reward_model
    from basereward.models.reward_model import RewardModel

    monkeypatch.chdir(tmp_path)
    assert call("lab", "world", "--out", "pairs.jsonl", "--pairs", 5) == 0
    model = RewardModel.from_pretrained(vl_backbone, new_head=True, device="cpu")
    save_reward_model(model, tmp_path / "runs" / "demo" / "model")


def test_the_blocks_run(model, chat_server):
    address = chat_server(lambda request: (200, {"data": [{"id": "m"}]}, {}) if request.body is None else "1").url
    for line in BLOCKS["bash"].splitlines():
        assert call(*shlex.split(line.replace(ADDRESS, address))[1:]) == 0
    exec(BLOCKS["python"], {})


def test_what_the_guide_names_is_there():
    for name in ("status", "value", "low", "high", "mark", "n", "left_out", "failures", "details", "examples"):
        assert name in ProbeResult.model_fields
        assert f"`{name}`" in GUIDE
