"""A group becomes a shared prefix and one suffix for every response, and a packed row can be taken apart again."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from basereward.encoding.collate import PairIndex, collate, pair_tensors
from basereward.encoding.layout import TreeLayout, unpack
from basereward.encoding.template import Template
from basereward.encoding.tree import common_length, shared_prefix
from basereward.errors import RowError, TemplateError
from basereward.lab.tokenizer import TEXT_TEMPLATE, train_tokenizer


def arrays(*sequences):
    return [np.array(sequence, dtype=np.int64) for sequence in sequences]


@pytest.mark.parametrize(
    ("sequences", "common", "shared"),
    [
        (([1, 2, 3], [1, 2, 4]), 2, 2),
        (([1, 2, 3], [1, 2, 3]), 3, 2),
        (([1, 2], [1, 2, 3]), 2, 1),
        (([1, 2, 3], [4, 2, 3]), 0, 0),
        (([1, 2, 3, 4], [1, 2, 3, 5], [1, 9, 3, 4]), 1, 1),
        (([7],), 1, 0),
        (([7, 8, 9],), 3, 2),
    ],
)
def test_shared_prefix_leaves_a_token_to_every_response(sequences, common, shared):
    assert common_length(arrays(*sequences)) == common
    assert shared_prefix(arrays(*sequences)) == shared


@pytest.mark.parametrize(
    "responses", [["red", "blue"], ["red", "red"], ["red", "red and blue"], ["red"], list("abcde")]
)
def test_prefix_and_suffix_are_the_whole_conversation(vl_template, make_group, responses):
    group = make_group("What color?", responses)
    encoded = vl_template.encode(group)
    assert len(encoded.suffixes) == len(responses)
    assert all(len(suffix) >= 1 for suffix in encoded.suffixes)
    for response, suffix in zip(group.responses, encoded.suffixes, strict=True):
        whole = vl_template.conversation_ids(group.prompt + response.messages)
        assert [*encoded.prefix, *suffix] == whole.tolist()
    assert encoded.tokens == len(encoded.prefix) + sum(map(len, encoded.suffixes))
    assert vl_template.measure(group, []).total == encoded.tokens


@pytest.mark.parametrize("kind", ["vl", "text"])
def test_answer_lengths_count_what_follows_the_generation_prompt(kind, request, make_group):
    template = request.getfixturevalue(f"{kind}_template")
    responses = ["red", "It is red, <think>I think</think>.", "\nred", "red\n\nand blue", "red"]
    group = make_group("\nWhat <tool_call> color?\n", responses)
    together = template.encode(group).answer_lengths
    alone = [template.encode(make_group("\nWhat <tool_call> color?\n", [text])).answer_lengths[0] for text in responses]
    assert list(together) == alone
    prompt = template.conversation_ids(group.prompt, prompt=True)
    for length, response in zip(together, group.responses, strict=True):
        whole = template.conversation_ids(group.prompt + response.messages)
        assert length == len(whole) - len(prompt)
    assert together[0] == together[4] < together[1]


def test_answer_lengths_do_not_depend_on_the_other_responses(make_group):
    """Nor do the ids of the prompt: text is encoded in one way, whatever control strings stand elsewhere."""
    template = Template(train_tokenizer(["a\n\nb", "a\n\n\nb"], TEXT_TEMPLATE))
    prompt, answers = "\n\nWhat color?", ["red", "<think>hm</think> red", "\n\nred"]
    together = template.encode(make_group(prompt, answers))
    assert len(together.prefix) >= len(template.conversation_ids(make_group(prompt, answers).prompt, prompt=True))
    alone = [template.encode(make_group(prompt, [text])).answer_lengths[0] for text in answers]
    assert list(together.answer_lengths) == alone


def test_too_long_is_a_row_error_and_nothing_is_cut(text_backbone, make_group):
    group = make_group("What color?", ["red", "It is red and blue and green."])
    template = Template(AutoTokenizer.from_pretrained(text_backbone))
    longest = template.measure(group, []).longest
    encoded = template.encode(group)
    assert longest == len(encoded.prefix) + max(map(len, encoded.suffixes))
    exact = Template(template.tokenizer, max_length=longest)
    assert exact.encode(group).tokens == exact.measure(group, []).total == encoded.tokens
    tight = Template(template.tokenizer, max_length=longest - 1)
    for call in (lambda: tight.encode(group), lambda: tight.measure(group, [])):
        with pytest.raises(RowError, match=f"{longest} tokens") as caught:
            call()
        assert caught.value.reason == "too_long"


def test_a_group_without_responses_is_an_error(vl_template, make_group):
    with pytest.raises(TemplateError, match="no responses"):
        vl_template.encode(make_group("What?", []))
    with pytest.raises(TemplateError, match="no responses"):
        vl_template.measure(make_group("What?", []), [])


@pytest.fixture
def encoded_groups(vl_template, make_group, picture):
    groups = [
        make_group("What color?", ["red", "blue, I think"]),
        make_group("Shape?", ["circle"], [picture(56, 84, 1)]),
        make_group("Same?", ["yes", "yes", "no, it is not"], [picture(56, 56, 2), picture(112, 56, 3)]),
    ]
    return [vl_template.encode(group) for group in groups]


def test_a_row_holds_every_token_once_and_gives_every_sequence(encoded_groups):
    batch = collate(encoded_groups)
    layout = TreeLayout.of(batch)
    row = batch["input_ids"][0].numpy()
    assert [span.start for span in layout.spans] == [0, *(span.end for span in layout.spans[:-1])]
    assert all(parent < node for node, parent in enumerate(layout.parents))
    whole = [[*group.prefix, *suffix] for group in encoded_groups for suffix in group.suffixes]
    leaves = batch["leaves"].tolist()
    assert [row[layout.tokens(leaf)].tolist() for leaf in leaves] == whole
    # Two of the answers are the same.
    assert leaves[3] == leaves[4]
    assert sum(layout.sizes) == len(row) < sum(group.tokens for group in encoded_groups)
    # All begin with the same system prompt, which is in a node of its own.
    assert {layout.chains[leaf][0] for leaf in leaves} == {0}
    assert batch["answer_lengths"].tolist() == [n for group in encoded_groups for n in group.answer_lengths]
    assert [layout.shown(layout.chains[leaf]) for leaf in leaves] == [[], [], [0], [1, 2], [1, 2], [1, 2]]


def test_unpack_gives_every_sequence_alone(encoded_groups):
    batch = collate(encoded_groups)
    alone = unpack(batch, TreeLayout.of(batch))
    expected = [(group, ids) for group in encoded_groups for ids in group.suffixes]
    # Equal answers are one sequence.
    assert alone.rows.tolist() == [0, 1, 2, 3, 3, 4]
    assert alone.images.tolist() == [0, 1, 2, 1, 2]
    for response, (group, suffix) in enumerate(expected):
        row, size = alone.rows[response], len(group.prefix) + len(suffix)
        assert alone.attention_mask[row].tolist() == [1] * size + [0] * (alone.attention_mask.shape[1] - size)
        assert alone.input_ids[row, :size].tolist() == [*group.prefix, *suffix]
        assert alone.last[response] == size - 1
        continued = group.positions.following + np.arange(len(suffix))
        positions = np.concatenate([group.positions.prefix, np.tile(continued, (3, 1))], axis=1)
        assert alone.position_ids[:, row, :size].tolist() == positions.tolist()


def test_unpack_keeps_groups_without_responses_last(encoded_groups, vl_template):
    batch = collate(encoded_groups[:1], vl_template.vision)
    alone = unpack(batch, TreeLayout.of(batch))
    assert len(alone.input_ids) == 3
    assert len(alone.last) == 2
    assert alone.input_ids[2, :3].tolist() == vl_template.vision.dummy_ids().tolist()
    assert alone.images.tolist() == [0]


def test_pair_tensors():
    tensors = pair_tensors([PairIndex(0, 1), PairIndex(4, 2, margin=0.5, weight=2.0)])
    assert tensors["pairs"].tolist() == [[0, 1], [4, 2]]
    assert tensors["margins"].tolist() == [0.0, 0.5]
    assert tensors["weights"].tolist() == [1.0, 2.0]
    assert pair_tensors([])["pairs"].shape == (0, 2)
