"""Reward models of this library inside vLLM: checkpoints with any head, under ``vllm serve --runner pooling``.

vLLM finds ``register`` through the entry point group ``vllm.general_plugins`` and calls it in each of its processes.
Its environment has older versions of what the rest of this library needs, so nothing of that is imported here, and
vLLM itself only where it asks for a class.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

# ``architectures`` of a checkpoint's config.json, and the class of vLLM that has the backbone.
BACKBONES = {
    "Qwen2ForReward": "vllm.model_executor.models.qwen2:Qwen2ForCausalLM",
    "Qwen3ForReward": "vllm.model_executor.models.qwen3:Qwen3ForCausalLM",
    "Qwen2VLForReward": "vllm.model_executor.models.qwen2_vl:Qwen2VLForConditionalGeneration",
    "Qwen2_5_VLForReward": "vllm.model_executor.models.qwen2_5_vl:Qwen2_5_VLForConditionalGeneration",
    "Qwen3VLForReward": "vllm.model_executor.models.qwen3_vl:Qwen3VLForConditionalGeneration",
}
# Known as well, so that vLLM's log says what is wrong instead of asking whether the architecture is misspelt. vLLM goes
# by names of classes to keep the states of linear attention, and splits experts; neither has been compared there.
REFUSED = (
    *("Qwen3VLMoeForReward", "Qwen3_5ForReward", "Qwen3_5MoeForReward", "Qwen3_5TextForReward"),
    "InternVLForReward",
)
# Those of ``models.head``, which cannot be imported here.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "none": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def register() -> None:
    """Tell vLLM the architectures of this library; it may be called any number of times."""
    from vllm import ModelRegistry

    known = ModelRegistry.get_supported_archs()
    for architecture in (*BACKBONES, *REFUSED):
        if architecture not in known:
            # By name: a process that serves another model imports none of them.
            ModelRegistry.register_model(architecture, f"{__name__}:{architecture}")


def __getattr__(name: str) -> Any:
    """Make the class of an architecture when vLLM asks for it, or say why there is none."""
    if name in REFUSED:
        raise ValueError(
            f"{name} is not served inside vLLM: the plug-in knows {', '.join(BACKBONES)}. Serve the checkpoint with "
            "basereward serve."
        )
    if name not in BACKBONES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, backbone = BACKBONES[name].partition(":")
    made = _with_reward_head(getattr(import_module(module), backbone), name)
    globals()[name] = made
    return made


class ServedHead(nn.Module):
    """The forward pass of ``models.head.RewardHead`` with its parameter names: fp32, one reward for every state.

    Args:
        hidden_size: size of the backbone's hidden state.
        settings: ``reward.head`` of config.json.

    Raises:
        ValueError: an activation that this version does not know.
    """

    def __init__(self, hidden_size: int, settings: Mapping[str, Any]) -> None:
        super().__init__()
        count, activation = settings.get("layers", 2), settings.get("activation", "silu")
        if activation not in ACTIVATIONS:
            raise ValueError(f"Found activation {activation!r}, expected one of {', '.join(ACTIVATIONS)}.")
        sizes = [hidden_size] + [settings.get("width") or hidden_size] * (count - 1)
        # vLLM builds models with the dtype of the backbone as default.
        inner = [nn.Linear(before, after, dtype=torch.float32) for before, after in pairwise(sizes)]
        last = nn.Linear(sizes[-1], 1, bias=bool(settings.get("final_bias")), dtype=torch.float32)
        self.layers = nn.ModuleList([*inner, last])
        self.between = ACTIVATIONS[activation]()

    def forward(self, hidden: Tensor) -> Tensor:
        """Return rewards of shape (..., 1)."""
        hidden = hidden.float()
        for layer in self.layers[:-1]:
            hidden = self.between(layer(hidden))
        return self.layers[-1](hidden)


def head_settings(config: Any) -> Mapping[str, Any]:
    """Return the shape of the head of a checkpoint.

    Raises:
        ValueError: no checkpoint of this library, a critic, one that reads another token than the last, one with
            several heads, one whose head compares responses, or one whose scores vLLM would put through a sigmoid.
    """
    section = getattr(config, "reward", None)
    if not isinstance(section, Mapping) or "head" not in section:
        raise ValueError("config.json has no section 'reward' with a 'head'; expected a checkpoint of basereward.")
    if "critic" in section:
        raise ValueError(
            "This checkpoint is a critic, whose reward stands behind a critique that it writes first; pooling writes "
            "none. Serve it with basereward serve."
        )
    if section.get("pooling", "last_token") != "last_token":
        raise ValueError(f"Found pooling {section['pooling']!r}, expected 'last_token'.")
    if getattr(config, "problem_type", None) != "regression":
        raise ValueError(
            f"Found problem_type {getattr(config, 'problem_type', None)!r}: vLLM would return the sigmoid of the "
            'reward. Write "problem_type": "regression" into config.json.'
        )
    if (heads := section["head"].get("heads", 1)) != 1:
        raise ValueError(f"The checkpoint has {heads} reward heads, the plug-in computes one; use basereward serve.")
    if section["head"].get("cross_response"):
        raise ValueError(
            "The head compares the responses to a prompt (cross_response), and pooling sees one at a time; use "
            "basereward serve."
        )
    return section["head"]


def _with_reward_head(backbone: Any, name: str) -> Any:
    """Return a class of vLLM without vocabulary head and with a reward head."""
    from vllm.model_executor.layers.logits_processor import LogitsProcessor
    from vllm.model_executor.layers.pooler import DispatchPooler
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead
    from vllm.model_executor.models.interfaces_base import default_pooling_type
    from vllm.model_executor.models.utils import AutoWeightsLoader, StageMissingLayer, no_init_weights

    def initialise(self: Any, *, vllm_config: Any, prefix: str = "") -> None:
        model = vllm_config.model_config
        settings = head_settings(model.hf_config)
        with no_init_weights(
            self, lambda module: StageMissingLayer("output", module), targets=(LogitsProcessor, ParallelLMHead)
        ):
            backbone.__init__(self, vllm_config=vllm_config, prefix=prefix)
        self.reward_head = ServedHead(model.get_hidden_size(), settings)
        self.pooler = DispatchPooler.for_seq_cls(model.pooler_config, classifier=self.reward_head)

    def load_weights(self: Any, weights: Iterable[tuple[str, Tensor]]) -> set[str]:
        loader = AutoWeightsLoader(self, ignore_unexpected_prefixes=["lm_head."])
        loaded = loader.load_weights(weights, mapper=getattr(self, "hf_to_vllm_mapper", None))
        if missing := sorted({key for key, _ in self.named_parameters()} - loaded):
            raise ValueError(f"The checkpoint lacks {len(missing)} weights ({', '.join(missing[:4])}, ...).")
        return loaded

    body = {"is_pooling_model": True, "__init__": initialise, "load_weights": load_weights, "__module__": __name__}
    return default_pooling_type(seq_pooling_type="LAST")(type(name, (backbone,), body))
