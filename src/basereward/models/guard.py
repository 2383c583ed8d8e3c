"""Proves on a small twin that sharing prompts changes nothing, before any weight is trained.

In bf16 a leak between responses looks like rounding, so the proof runs in fp32 on a model of the same configuration
class with the same kinds of layers, but a few narrow ones. A CUDA kernel is proven on its device as well.
"""

import logging
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig

from basereward.encoding.layout import Span, TreeLayout
from basereward.errors import BackendError
from basereward.models.attention import SPLIT, VARLEN
from basereward.models.backends import Backend, Choice
from basereward.models.reward_model import RewardModel

logger = logging.getLogger(__name__)
TOLERANCE = 1e-5
# Half precision differs by rounding, about 1e-2; a wrong alignment of prompt and response by about 1.
HALF_TOLERANCE = 5e-2
# The parent and length of every node of the proof's row: prompts with two, one and three responses, one-token responses
# among them, and a tree of four levels in which responses end at every level but the first.
SHAPES = (
    *((-1, 7), (0, 3), (0, 4)),
    *((-1, 5), (3, 1)),
    *((-1, 6), (5, 2), (5, 1), (5, 5)),
    *((-1, 4), (9, 3), (10, 2), (11, 1), (11, 4), (10, 2), (9, 3), (15, 2), (15, 1)),
)
SMALL: dict[str, Any] = {
    "intermediate_size": 96,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": 128,
    "max_window_layers": 1,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


class Proof(NamedTuple):
    """Largest differences, relative to the largest hidden value.

    ``plain`` is against every sequence alone; ``leak`` is the change of other responses when one changes.
    """

    plain: float
    leak: float

    def holds(self, limit: float) -> bool:
        """Whether both differences are numbers of at most ``limit``; NaN is no proof."""
        return self.plain <= limit and self.leak <= limit


def twin_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a small configuration of the text model: one layer of each kind, at least two layers."""
    text = config.get_text_config()
    content = text.to_dict()
    kinds = list(dict.fromkeys(content.get("layer_types") or ["full_attention"]))
    # Two at least, so that what one layer hands to the next is part of the proof.
    layers = kinds * 2 if len(kinds) == 1 else kinds
    # The head size stays, because rotary sections and norms are cut to it.
    head_dim = content.get("head_dim") or text.hidden_size // text.num_attention_heads
    content |= {key: value for key, value in SMALL.items() if key in content}
    content["hidden_size"] = 2 * head_dim
    if content.get("sliding_window"):
        # Shorter than the proof's sequences, so that a window shows.
        content["sliding_window"] = 4
    content["num_hidden_layers"] = len(layers)
    if content.get("layer_types"):
        content["layer_types"] = layers
    return type(text).from_dict(content)


@torch.no_grad()
def prove(
    config: PreTrainedConfig, attention: str = SPLIT, device: str = "cpu", dtype: torch.dtype = torch.float32
) -> Proof:
    """Compare shared attention with every sequence alone on a twin, and look for leaks.

    Args:
        config: of the real backbone.
        attention: the attention implementation to prove.
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also seed CUDA, which is not restored here.
        torch.default_generator.manual_seed(0)
        twin = AutoModel.from_config(twin_config(config), dtype=dtype).eval().to(device)
    layout = _layout()
    length = layout.spans[-1].end
    # Any ids will do whose neighbours differ: equal tokens would hide that a response reads the wrong one.
    ids = torch.arange(length, device=device)[None] * 37 % 101 + 1
    twin.set_attn_implementation("sdpa")
    alone = torch.cat([_alone(twin, ids, layout, node) for node in range(len(SHAPES))])
    twin.set_attn_implementation(attention)
    shared = _shared(twin, ids, layout)
    scale = alone.abs().max()
    leak = max(_leak(twin, ids, layout, node, shared) for node in range(len(SHAPES)))
    return Proof(float((shared - alone).abs().max() / scale), leak / float(scale))


def check_sharing(config: PreTrainedConfig, backend: str = "split", device: str = "cpu") -> Proof:
    """Run the proof in fp32, and for ``varlen`` also its kernel in bf16 on the device.

    Raises:
        BackendError: sharing prompts is not exact for this model.
    """
    proof, limit = prove(config), TOLERANCE
    if backend == "varlen" and proof.holds(limit):
        proof, limit = prove(config, VARLEN, device, torch.bfloat16), HALF_TOLERANCE
    if not proof.holds(limit):
        raise BackendError(
            f"Sharing prompts by {backend!r} is not exact for {type(config).__name__}: it differs by {proof.plain:.1e} "
            f"from separate sequences and leaks {proof.leak:.1e} between responses (limit {limit:.0e}). "
            "Use model.backend: plain."
        )
    return proof


def settle_backend(model: RewardModel, wanted: Backend, dtype: torch.dtype | None = None) -> Choice:
    """Choose the backend of a training run and prove it; ``auto`` falls back to ``plain`` if the proof fails.

    Args:
        dtype: in which attention is computed, if not that of the weights.

    Raises:
        BackendError: a backend that was asked for by name is not exact.
    """
    choice = model.use_backend(wanted, dtype=dtype)
    if choice.backend != "plain":
        try:
            proof = check_sharing(model.config, choice.backend, model.device.type)
        except BackendError as error:
            if wanted != "auto":
                raise
            logger.warning("%s", error)
            model.use_backend("plain")
            return Choice("plain", "sharing prompts failed its proof")
        choice = Choice(choice.backend, f"{choice.reason}; a twin differs by {proof.plain:.0e} from separate sequences")
    logger.info("backend %s: %s", *choice)
    return choice


def _layout() -> TreeLayout:
    ends = [0, *accumulate(size for _, size in SHAPES)]
    return TreeLayout([parent for parent, _ in SHAPES], [Span(*span) for span in pairwise(ends)])


def _alone(twin: Any, ids: Int[Tensor, "1 row"], layout: TreeLayout, node: int) -> Float[Tensor, "token hidden"]:
    """Return the hidden states of a node's tokens, in a sequence of their own."""
    sequence = ids[:, layout.tokens(node)]
    return twin(input_ids=sequence, use_cache=False).last_hidden_state[0, -layout.sizes[node] :]


def _shared(twin: Any, ids: Int[Tensor, "1 row"], layout: TreeLayout) -> Float[Tensor, "token hidden"]:
    """Return the hidden states of all tokens, computed in one row of trees."""
    # Every token stands in the row where it stands in its own sequence.
    behind = [len(layout.tokens(node)) for node in range(len(SHAPES))]
    places = [torch.arange(end - size, end) for end, size in zip(behind, layout.sizes, strict=True)]
    positions = torch.cat(places)[None].to(ids.device)
    return twin(input_ids=ids, position_ids=positions, tree_layout=layout, use_cache=False).last_hidden_state[0]


def _leak(
    twin: Any, ids: Int[Tensor, "1 row"], layout: TreeLayout, node: int, shared: Float[Tensor, "token hidden"]
) -> float:
    """Return how far states move that do not continue a node when its tokens are others: they would have seen it."""
    changed = ids.clone()
    changed[:, slice(*layout.spans[node])] += 1
    moved = (_shared(twin, changed, layout) - shared).abs()
    others = [slice(*span) for span, chain in zip(layout.spans, layout.chains, strict=True) if node not in chain]
    return max(float(moved[own].max()) for own in others)
