"""A tokenizer taken apart at its added tokens gives the ids of the whole, whatever kind it is."""

import pickle
import random
import re

import pytest
from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import PreTrainedTokenizerFast

from basereward.encoding.text import Hidden, TextEncoder

TEXTS = (
    "hello world this is a text",
    "What color is it? It is red.",
    "a  b   c\n\nd",
    "<s> hi </s>",
    "user system",
) * 9
NOTHING = Hidden(re.compile("(?!)"), ())
ADDED = (
    AddedToken("<s>", special=True, normalized=False),
    AddedToken("<|user|>", special=True, rstrip=True, normalized=False),
    AddedToken("<mask>", special=True, lstrip=True, normalized=False),
    AddedToken("<both>", special=True, lstrip=True, rstrip=True, normalized=False),
    AddedToken("word", single_word=True, normalized=False),
    AddedToken("\n", normalized=False),
    AddedToken("    ", normalized=False),
    AddedToken("<|u", normalized=False),
)
PIECES = (
    "<s>",
    "<|user|>",
    "<mask>",
    "<both>",
    "word",
    " word ",
    "words",
    "\n",
    "    ",
    " ",
    "hello",
    "It",
    "<|us",
    "ü",
)


def bpe(pre_tokenizer=None, normalizer=None, **options):
    core = Tokenizer(BPE(unk_token="<unk>", **options))
    if pre_tokenizer:
        core.pre_tokenizer = pre_tokenizer
    if normalizer:
        core.normalizer = normalizer
    core.train_from_iterator(TEXTS, BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False))
    return core


def unigram():
    core = Tokenizer(Unigram())
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    trainer = UnigramTrainer(vocab_size=90, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    core.train_from_iterator(TEXTS, trainer)
    return core


KINDS = {
    "a space before the first word": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="first")),
    "a space before every stretch": lambda: bpe(pre_tokenizers.Metaspace(prepend_scheme="always")),
    "a normalizer that prepends": lambda: bpe(
        None, normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), fuse_unk=True
    ),
    "bytes": lambda: bpe(pre_tokenizers.ByteLevel(add_prefix_space=True)),
    "unigram": unigram,
}


@pytest.fixture(params=KINDS)
def tokenizer(request):
    core = KINDS[request.param]()
    core.add_special_tokens([token for token in ADDED if token.special])
    core.add_tokens([token for token in ADDED if not token.special])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


def test_ids_are_those_of_the_whole_text(tokenizer):
    encoder, rng, memo = TextEncoder(tokenizer), random.Random(0), {}
    for _ in range(1500):
        text = "".join(rng.choices(PIECES, k=rng.randint(0, 8)))
        expected = tokenizer.encode(text, add_special_tokens=False)
        assert encoder.encode(text, NOTHING, {}) == expected, text
        assert encoder.encode(text, NOTHING, memo) == expected


def test_hidden_text_is_encoded_in_its_place_and_is_no_control_token(tokenizer):
    encoder = TextEncoder(tokenizer)
    hidden = Hidden(re.compile("\ue000([0-9]+)\ue001"), ("<s>", "<|user|>"))
    ids = encoder.encode("<s>hello \ue0001\ue001 It\ue0000\ue001<s>", hidden, {})
    plain = encoder.encode("<s>hello ? It?<s>", NOTHING, {})
    added = set(tokenizer.get_added_vocab().values()) - {tokenizer.unk_token_id}
    assert [own for own in ids if own in added] == [own for own in plain if own in added]
    # Neither does a space slip in where the hidden text begins.
    first = encoder.encode("<s>It", NOTHING, {})
    assert encoder.encode("<s>It\ue0000\ue001", hidden, {})[: len(first)] == first


def test_white_space_is_no_control_string(tokenizer):
    assert TextEncoder(tokenizer, ["<video>"]).control == {
        "<s>",
        "<|user|>",
        "<mask>",
        "<both>",
        "word",
        "<|u",
        "<unk>",
        "<video>",
    }


def test_another_process_gets_one_vocabulary(tokenizer):
    encoder = TextEncoder(tokenizer)
    written = pickle.dumps((tokenizer, encoder))
    assert len(written) < 1.2 * len(pickle.dumps(tokenizer))
    text = "<s>hello<|user|>  It word"
    assert pickle.loads(written)[1].encode(text, NOTHING, {}) == encoder.encode(text, NOTHING, {})
