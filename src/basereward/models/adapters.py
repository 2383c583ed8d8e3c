"""Which weights train: frozen towers, LoRA adapters, and merging these into the backbone."""

from typing import Any

from pydantic import Field
from torch import Tensor

from basereward.configuration import Section
from basereward.errors import CheckpointError
from basereward.models.adapter_files import import_peft, weights_fingerprint
from basereward.models.empty import stand_ins
from basereward.models.hub import resolve_folder
from basereward.models.quantization import dequantise, four_bit_layers, whole_linear
from basereward.models.reward_model import RewardModel


class LoraSettings(Section):
    """LoRA on the text model's linear layers: ``W + alpha / rank * B A``."""

    rank: int = Field(default=64, ge=1)
    """Rank of the update."""
    alpha: int = Field(default=128, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout on the adapter's input; with more than 0 the shared prompt sees one mask for all its responses."""
    targets: list[str] = Field(default_factory=list)
    """Linear layers by the last part of their names, such as q_proj; all of the text model if not given."""
    rslora: bool = False
    """Scale by alpha / sqrt(rank), arXiv 2312.03732."""
    dora: bool = False
    """Train a magnitude of each output apart from its direction, arXiv 2402.09353."""

    def options(self) -> dict[str, Any]:
        """Return what PEFT's configuration takes, but for the layers."""
        return {
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "use_dora": self.dora,
        }


def freeze_vision(model: RewardModel) -> None:
    """Stop training the vision tower and the map from its features to tokens."""
    for path in model.family.vision_modules:
        model.backbone.get_submodule(path).requires_grad_(False)


def attach_lora(model: RewardModel, settings: LoraSettings) -> None:
    """Freeze the backbone and train LoRA adapters on its text model instead.

    Raises:
        MissingExtraError: peft is not installed.
        CheckpointError: the backbone lies in no folder, so that no adapter could name it as its base; or it has no
            layers of these names.
    """
    peft = import_peft()
    base = model.backbone.name_or_path
    if not base:
        raise CheckpointError("This backbone lies in no folder that its adapters could name; save the model, load it.")
    config = peft.LoraConfig(**settings.options(), target_modules=model.family.lora_pattern(settings.targets))
    # Of the files, not of the weights in memory, which may be of another dtype by now.
    model.base_weights = weights_fingerprint(resolve_folder(base))
    with stand_ins(model.backbone):
        model.backbone = peft.get_peft_model(model.backbone, config)


def merge_adapters(model: RewardModel) -> RewardModel:
    """Add the adapters into the backbone's weights; the result needs no PEFT.

    4-bit layers become whole ones, of the values that they compute with and not of those of the base: adapters trained
    on the former. They are added in fp32 and stored in the dtype of the rest.

    Raises:
        CheckpointError: the model has no adapters.
    """
    if not model.is_adapted:
        raise CheckpointError("This model has no adapters to merge; it is whole already.")
    model.backbone = _merge_quantised(model.backbone) if model.quantization else model.backbone.merge_and_unload()
    # These weights lie in no folder yet.
    model.backbone.name_or_path, model.base_weights, model.quantization = "", None, None
    return model


def _merge_quantised(backbone: Any) -> Any:
    """Return the base with whole layers, layer by layer; PEFT would quantise each sum again."""
    wrapped = backbone.base_model.model
    merged = {path: _merged_weight(module) for path, module in wrapped.named_modules() if hasattr(module, "lora_A")}
    base = backbone.unload()
    dtype = base.get_input_embeddings().weight.dtype
    for path, layer in list(four_bit_layers(base)):
        weight = merged.pop(path) if path in merged else dequantise(layer)
        base.set_submodule(path, whole_linear(layer, weight, dtype))
    base.is_quantized = base.is_loaded_in_4bit = False
    return base


def _merged_weight(adapter: Any) -> Tensor:
    """Return ``W + scale B A`` in fp32; of DoRA each row of it at the length that was trained."""
    [name] = adapter.active_adapters
    weight = dequantise(adapter.get_base_layer()) + adapter.get_delta_weight(name).detach().float()
    if name in adapter.lora_magnitude_vector:
        length = adapter.lora_magnitude_vector[name].weight.detach().float()
        weight *= (length / weight.norm(dim=1))[:, None]
    return weight
