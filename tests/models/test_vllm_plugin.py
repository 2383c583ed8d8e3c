"""What vLLM imports: without anything else of this library, with the head that checkpoints have. Run inside vLLM:
``peers/vllm_parity.py``."""

import subprocess
import sys
import tomllib
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from basereward.models import head, vllm_plugin
from basereward.models.facts import RewardFacts
from basereward.models.families import FAMILIES
from basereward.models.head import HeadSettings, RewardHead, draw_head
from basereward.models.vllm_plugin import ServedHead, head_settings, register

ROOT = Path(__file__).parents[2]
# Neither in vLLM's environment, or older there than this library asks for.
ABSENT = ("transformers", "datasets", "pyarrow", "jaxtyping", "accelerate", "pydantic", "yaml", "filelock", "typer")


def test_it_is_imported_without_the_dependencies_of_the_library():
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); import basereward.models.vllm_plugin as plugin; "
    )
    code += "print(sorted(name for name in sys.modules if name.startswith('basereward')), 'vllm' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "['basereward', 'basereward.models', 'basereward.models.vllm_plugin'] False"


def test_the_entry_point_is_there():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    [place] = project["entry-points"]["vllm.general_plugins"].values()
    module, _, name = place.partition(":")
    assert getattr(import_module(module), name) is register


def test_every_architecture_is_one_that_checkpoints_name():
    written = {f"{family.architecture}ForReward" for family in FAMILIES.values()}
    # vLLM keeps a state of linear attention, and splits experts, by rules that go by the name of the class.
    assert written - set(vllm_plugin.BACKBONES) == set(vllm_plugin.REFUSED)
    assert set(vllm_plugin.BACKBONES) < written
    with pytest.raises(AttributeError, match="no attribute 'LlamaForReward'"):
        vllm_plugin.LlamaForReward  # noqa: B018
    for name in vllm_plugin.REFUSED:
        with pytest.raises(ValueError, match=f"{name} is not served inside vLLM.*basereward serve"):
            getattr(vllm_plugin, name)


def test_registering_twice_registers_once_and_by_name(monkeypatch):
    known = {}
    registry = SimpleNamespace(get_supported_archs=lambda: list(known), register_model=known.__setitem__)
    vllm = ModuleType("vllm")
    vllm.ModelRegistry = registry
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    register()
    known["Qwen3ForReward"] = "mine"
    register()
    assert known["Qwen2_5_VLForReward"] == "basereward.models.vllm_plugin:Qwen2_5_VLForReward"
    assert known["Qwen3ForReward"] == "mine"
    assert set(known) == {*vllm_plugin.BACKBONES, *vllm_plugin.REFUSED}


class Backbone(torch.nn.Module):
    """As much of a model of vLLM as the plug-in touches."""

    def __init__(self, *, vllm_config, prefix=""):
        super().__init__()
        self.body = torch.nn.Linear(8, 8)
        self.made = (vllm_config, prefix)


class Loader:
    def __init__(self, model, ignore_unexpected_prefixes=None):
        self.model = model

    def load_weights(self, weights, mapper=None):
        weights = dict(weights)
        self.model.load_state_dict(weights, strict=False)
        return set(weights)


@pytest.fixture
def vllm(monkeypatch):
    """Modules of vLLM by the names that the plug-in imports."""
    models, layers = "vllm.model_executor.models", "vllm.model_executor.layers"
    names = {
        f"{layers}.logits_processor": {"LogitsProcessor": object},
        f"{layers}.pooler": {"DispatchPooler": SimpleNamespace(for_seq_cls=lambda config, classifier: classifier)},
        f"{layers}.vocab_parallel_embedding": {"ParallelLMHead": object},
        f"{models}.interfaces_base": {
            "default_pooling_type": lambda **kinds: lambda made: setattr(made, "kinds", kinds) or made
        },
        f"{models}.utils": {
            "AutoWeightsLoader": Loader,
            "StageMissingLayer": object,
            "no_init_weights": lambda *_, **__: nullcontext(),
        },
        f"{models}.qwen3": {"Qwen3ForCausalLM": Backbone},
    }
    for name, values in names.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    yield
    vars(vllm_plugin).pop("Qwen3ForReward", None)


def test_the_class_has_backbone_and_head_and_wants_every_weight(vllm):
    made = vllm_plugin.Qwen3ForReward
    assert made is vllm_plugin.Qwen3ForReward
    assert (made.is_pooling_model, made.kinds) == (True, {"seq_pooling_type": "LAST"})
    own = RewardHead(8)
    written = SimpleNamespace(reward=RewardFacts(head=HeadSettings()).to_dict(), problem_type="regression")
    model_config = SimpleNamespace(hf_config=written, pooler_config=None, get_hidden_size=lambda: 8)
    model = made(vllm_config=SimpleNamespace(model_config=model_config), prefix="x")
    weights = {f"reward_head.{name}": weight for name, weight in own.state_dict().items()}
    with pytest.raises(ValueError, match=r"lacks 2 weights \(body\.bias, body\.weight"):
        model.load_weights(weights.items())
    weights |= {f"body.{name}": weight for name, weight in torch.nn.Linear(8, 8).state_dict().items()}
    assert model.load_weights(weights.items()) == set(weights)
    hidden = torch.randn(3, 8)
    torch.testing.assert_close(model.pooler(hidden).squeeze(-1), own(hidden), rtol=0, atol=0)


@pytest.mark.parametrize("activation", head.ACTIVATIONS)
@pytest.mark.parametrize(("layers", "width", "final_bias"), [(1, None, False), (2, None, False), (3, 5, True)])
def test_the_head_is_that_of_the_library(activation, layers, width, final_bias):
    settings = HeadSettings(layers=layers, activation=activation, width=width, final_bias=final_bias)
    own = draw_head(8, settings)
    for parameter in own.parameters():
        torch.nn.init.normal_(parameter)
    # As it is written: what is off is left out.
    written = RewardFacts(head=settings).to_dict()
    torch.set_default_dtype(torch.bfloat16)
    try:
        served = ServedHead(8, head_settings(SimpleNamespace(reward=written, problem_type="regression")))
    finally:
        torch.set_default_dtype(torch.float32)
    served.load_state_dict(own.state_dict())
    assert {parameter.dtype for parameter in served.parameters()} == {torch.float32}
    hidden = torch.randn(7, 8).bfloat16()
    torch.testing.assert_close(served(hidden).squeeze(-1), own(hidden), rtol=0, atol=0)
    assert served(hidden).dtype == torch.float32


def test_activations_are_those_of_the_library():
    assert vllm_plugin.ACTIVATIONS == head.ACTIVATIONS
    with pytest.raises(ValueError, match="Found activation 'swish'"):
        ServedHead(8, {"layers": 2, "activation": "swish"})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "no section 'reward'"),
        ({"reward": {"head": {}}}, "sigmoid"),
        ({"reward": {"head": {}, "critic": {"request": "short"}}, "problem_type": "regression"}, "is a critic"),
        ({"reward": {"head": {}}, "problem_type": "single_label_classification"}, "sigmoid"),
        ({"reward": {"head": {}, "pooling": "mean"}, "problem_type": "regression"}, "pooling 'mean'"),
        ({"reward": {"head": {"heads": 3}}, "problem_type": "regression"}, "3 reward heads"),
    ],
)
def test_what_would_give_other_numbers_is_refused(config, words):
    with pytest.raises(ValueError, match=words):
        head_settings(SimpleNamespace(**config))
