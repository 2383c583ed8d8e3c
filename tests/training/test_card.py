"""What a training run takes from the card of the model that it started from."""

import pytest

from basereward.training.card import stated_licence


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("---\nlicense: mit\n---\nA model.\n", "mit"),
        ("---\nlicense: other\nlicense_name: qwen\n---\n", "qwen"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "mit, apache-2.0"),
        ("A model.\n", None),
        ("---\nlicense: 'mit\n---\n", None),
        ("---\n- mit\n---\n", None),
    ],
)
def test_a_card_that_cannot_be_read_costs_no_model(text, licence, tmp_path):
    (tmp_path / "README.md").write_text(text)
    assert stated_licence(str(tmp_path)) == licence
