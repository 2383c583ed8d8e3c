"""A small byte-level tokenizer in the shape of Qwen's, trained on the spot, and its chat templates."""

from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# InternVL's own, by the names under which its processor asks the tokenizer for them.
INTERNVL_TOKENS = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
ADDED_TOKENS = ("<tool_call>", "</tool_call>", "<think>", "</think>")

# Letters run together with one leading space or sign, digits stand alone, as Qwen splits text before merging bytes.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_TURN_WORDS = "system\nYou are a helpful assistant.\nuser\nassistant\n"

_SYSTEM = """\
{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}
"""
_TURNS = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string %}{{ message.content }}
{%- else %}
{%- for part in message.content %}
{%- if part.type == 'image' %}{{ 'IMAGE' }}
{%- elif part.type == 'video' %}{{ 'VIDEO' }}
{%- else %}{{ part.text }}
{%- endif %}
{%- endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def _turns(image: str, video: str) -> str:
    return _TURNS.replace("IMAGE", image).replace("VIDEO", video)


# Without a default system message, as Qwen3-VL's.
QWEN3_VISION_TEMPLATE = _turns(
    "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>"
)
VISION_TEMPLATE = _SYSTEM + QWEN3_VISION_TEMPLATE
INTERNVL_TEMPLATE = _turns("<IMG_CONTEXT>\\n", "<video>\\n")

# Like Qwen3's: content must be a string (a list of parts renders as nothing), there is no default system message, and
# the last answer opens with an empty thought that the generation prompt does not have.
TEXT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.role == 'assistant' and loop.last and message.content is string and '</think>' not in message.content %}
{{- '<think>\\n\\n</think>\\n\\n' }}
{%- endif %}
{%- if message.content is string %}{{ message.content }}{% endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""


def train_tokenizer(
    texts: Iterable[str], chat_template: str, vocab_size: int = 900, named_tokens: Mapping[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """Train byte-level BPE on texts; every frequent word becomes one token, and any text is encoded without loss.

    Unlike Qwen's there is no Unicode normalisation: it would compose characters, and decoding could not undo that.

    Args:
        texts: what to learn merges from; the words of the chat turns are added.
        chat_template: ``TEXT_TEMPLATE`` or one of the templates with images.
        vocab_size: upper limit of bytes and merges; special tokens come on top.
        named_tokens: more special tokens, by the names of the tokenizer's attributes for them.
    """
    core = Tokenizer(BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator([*texts, _TURN_WORDS], trainer)
    named = dict(named_tokens or {})
    special = (*SPECIAL_TOKENS, *named.values())
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    core.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        additional_special_tokens=[token for token in SPECIAL_TOKENS if token not in ("<|endoftext|>", "<|im_end|>")],
        extra_special_tokens=named,
        chat_template=chat_template,
        clean_up_tokenization_spaces=False,
        model_max_length=32768,
    )
