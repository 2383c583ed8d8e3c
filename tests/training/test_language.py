"""Critics and judges: their losses and gradients are those of transformers on every conversation alone."""

import json

import pytest
import torch
from pydantic import TypeAdapter

from basereward.data.judging.examples import judge_examples
from basereward.data.parsing import parse_pair
from basereward.data.schema import ResponseGroup
from basereward.encoding.groups import EncodedPrompt
from basereward.errors import BaseRewardError, RowError
from basereward.models.checkpoint import live_weights, load_reward_model, new_reward_model, save_reward_model
from basereward.models.facts import read_judge_facts
from basereward.models.generation import Generator
from basereward.models.hub import open_folder
from basereward.models.inputs import load_template
from basereward.models.parts import read_tensors
from basereward.training.collator import PreferenceCollator
from basereward.training.language import Critic, Grm, LongCot
from basereward.training.objectives import PAIR_KEYS
from basereward.training.prepare import pair_trees
from basereward.training.recipe import AnyObjective, parse_recipe

FAMILIES = ["qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "qwen3"]
OBJECTIVES = [Critic(request="short", language_weight=0.5), Grm(), LongCot()]


@pytest.fixture
def pairs(picture, request):
    """Two pairs, one with an image, critiques, thoughts and a weight, the other with a thought for one order."""

    def make(sees):
        content = [{"type": "image"}] * sees + [{"type": "text", "text": "Which colour has it?"}]
        notes = {"critiques": {"chosen": "It is red. Right.", "rejected": "It is red. The answer is wrong."}}
        thoughts = {"chosen_first": "Response 1 is right.", "rejected_first": "Response 1 is wrong, Response 2 right."}
        first = {
            "prompt": [{"role": "user", "content": content}],
            "chosen": "red",
            "rejected": "a blue one",
            "images": [picture(84, 56)] * sees,
            "thoughts": thoughts,
            "weight": 0.5,
            **notes,
        }
        only = {"rejected_first": thoughts["rejected_first"]}
        second = {"prompt": "How many?", "chosen": "two", "rejected": "two three", "thoughts": only, **notes}
        return [parse_pair(first, "a"), parse_pair(second, "b")]

    return make


def objective_loss(model, objective, pairs):
    batch = PreferenceCollator(model.template, objective)(pairs)
    output = model(**{key: value for key, value in batch.items() if key not in PAIR_KEYS})
    return objective.loss(output, **{key: batch[key] for key in objective.keys})


def conversations(objective, pair, say):
    """What is learned of a pair, written down anew: for a critic the response, and the question, and the answer."""
    if isinstance(objective, Critic):
        for side in ("chosen", "rejected"):
            asked = (*pair.prompt, *getattr(pair, side), say("user", "Is this answer right?"))
            yield side, asked, say("assistant", pair.extra["critiques"][side])
    else:
        for example in judge_examples(pair, objective.judge_prompt, objective.thinks):
            yield None, example.asked, example.right[0]


def reference_loss(generator, head, objective, pairs, say):
    """The same from ``transformers`` alone: one conversation a call, labels on the answer and the end of its turn."""
    template, total = generator.template, 0.0
    for pair in pairs:
        weight, rewards, words = pair.extra.get("weight", 1.0), {}, []
        for side, asked, answer in conversations(objective, pair, say):
            opening = template.encode_prompt(ResponseGroup("q", asked, (), pair.images))
            expansions = opening.images.expansions if opening.images else ()
            ids = template.conversation_ids((*asked, answer), expansions)
            inputs = generator.inputs([EncodedPrompt(ids, opening.images)])
            output = generator.model(**inputs, output_hidden_states=True, use_cache=False)
            end = int((ids == template.tokenizer.eos_token_id).nonzero()[0][-1]) + 1
            logits = output.logits[0, len(opening.ids) - 1 : end - 1]
            wanted = torch.from_numpy(ids[len(opening.ids) : end])
            words.append(torch.nn.functional.cross_entropy(logits, wanted))
            if head is not None:
                rewards[side] = head(output.hidden_states[-1][:, -1])[0]
        mean = sum(words) / len(words)
        if head is None:
            total = total + weight * mean
        else:
            bt = -torch.nn.functional.logsigmoid(rewards["chosen"] - rewards["rejected"])
            total = total + weight * (objective.reward_weight * bt + objective.language_weight * mean)
    return total


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.kind)
@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_gradients_are_those_of_separate_conversations(family, objective, backbone_of, pairs, say):
    torch.manual_seed(0)
    model = new_reward_model(backbone_of(family), role=objective.role)
    own = pairs(int(family != "qwen3"))
    loss = objective_loss(model, objective, own)
    loss.total.backward()
    generator = Generator(backbone_of(family), 1, 1, torch.float32, "cpu")
    generator.model.set_attn_implementation("sdpa")
    head = None if model.head is None else new_reward_model(backbone_of(family), role=objective.role).head
    if head is not None:
        head.load_state_dict(model.head.state_dict())
    expected = reference_loss(generator, head, objective, own, say)
    expected.backward()
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-6)
    found = {name: weight.grad for name, weight in model.named_parameters()}
    reference = {f"backbone.{name}": one.grad for name, one in generator.model.model.named_parameters()}
    reference |= {f"lm_head.{name}": one.grad for name, one in generator.model.lm_head.named_parameters()}
    reference |= {f"head.{name}": one.grad for name, one in head.named_parameters()} if head is not None else {}
    assert found.keys() == reference.keys()
    for name, gradient in reference.items():
        if gradient is None:
            assert found[name] is None or not found[name].any(), name
        else:
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda one: one.kind)
def test_shared_prompts_change_no_loss(objective, vl_backbone, pairs):
    model = new_reward_model(vl_backbone, role=objective.role).eval()
    shared = objective_loss(model, objective, pairs(1))
    model.use_backend("plain")
    alone = objective_loss(model, objective, pairs(1))
    torch.testing.assert_close(shared, alone, rtol=1e-5, atol=1e-6)
    split = [objective_loss(model, objective, [pair]).total for pair in pairs(1)]
    torch.testing.assert_close(shared.total, sum(split), rtol=1e-5, atol=1e-6)


def test_the_margin_of_a_judge_is_that_of_its_two_digits(vl_backbone, pairs):
    model = new_reward_model(vl_backbone, role=Grm().role).eval()
    (pair, _) = pairs(1)
    loss = objective_loss(model, Grm(), [pair])
    expected = []
    for example in judge_examples(pair, Grm().judge_prompt, False):
        encoded = model.template.encode_prompt(ResponseGroup("q", example.asked, (), pair.images))
        sure = []
        for answer in (example.right, example.wrong):
            ids = model.template.conversation_ids(example.asked + answer, encoded.images.expansions)
            digit = int(ids[len(encoded.ids)])
            generator = Generator(vl_backbone, 1, 1, torch.float32, "cpu")
            inputs = generator.inputs([EncodedPrompt(encoded.ids, encoded.images)])
            with torch.no_grad():
                sure.append(generator.model(**inputs).logits[0, -1].log_softmax(-1)[digit])
        expected.append(torch.stack(sure))
    means = torch.stack(expected).mean(0)
    torch.testing.assert_close(torch.stack(loss.rewards)[:, 0], means, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", OBJECTIVES[:2], ids=lambda one: one.kind)
def test_what_writes_is_saved_with_its_words_and_loads_again(family, objective, backbone_of, pairs, tmp_path):
    torch.manual_seed(0)
    model = new_reward_model(backbone_of(family), role=objective.role).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(1.5)
    save_reward_model(model, tmp_path / "model")
    own = pairs(int(family != "qwen3"))
    expected = objective_loss(model, objective, own).total
    if isinstance(objective, Critic):
        again = load_reward_model(tmp_path / "model").eval()
        assert again.role == objective.role
    else:
        facts = read_judge_facts(open_folder(tmp_path / "model"))
        assert facts.role == objective.role
        architectures = json.loads((tmp_path / "model" / "config.json").read_text())["architectures"]
        assert architectures == [type(Generator(tmp_path / "model", 1, 1).model).__name__]
        again = new_reward_model(tmp_path / "model", role=objective.role).eval()
    torch.testing.assert_close(objective_loss(again, objective, own).total, expected)


def test_a_tied_vocabulary_is_stored_once(vl_backbone, pairs, tmp_path):
    generator = Generator(vl_backbone, 1, 1, torch.float32, "cpu")
    generator.model.config.tie_word_embeddings = True
    generator.model.lm_head.weight = generator.model.model.get_input_embeddings().weight
    generator.model.save_pretrained(tmp_path / "tied")
    generator.template.processor.save_pretrained(tmp_path / "tied")
    model = new_reward_model(tmp_path / "tied", role=Grm().role).eval()
    assert model.lm_head.weight is model.backbone.get_input_embeddings().weight
    save_reward_model(model, tmp_path / "judge")
    assert not any("lm_head" in name for name in read_tensors(tmp_path / "judge"))
    assert live_weights(model).keys() == read_tensors(tmp_path / "judge").keys()
    again = new_reward_model(tmp_path / "judge", role=Grm().role).eval()
    torch.testing.assert_close(objective_loss(again, Grm(), pairs(1)), objective_loss(model, Grm(), pairs(1)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"objective": {"kind": "critic"}, "model": {"backbone": "b", "lora": {}}}, "whole models"),
        ({"objective": {"kind": "grm"}, "model": {"init_from": "b"}}, "no reward head"),
        ({"objective": {"kind": "grm"}, "model": {"backbone": "b", "head": {"layers": 1}}}, "leave out model.head"),
        ({"objective": {"kind": "grm", "prompt": "digits"}, "model": {"backbone": "b"}}, "digit"),
        ({"objective": {"kind": "critc"}, "model": {"backbone": "b"}}, "critic"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(content, says):
    with pytest.raises(BaseRewardError, match=says):
        parse_recipe({"name": "x", "data": {"train": ["p"]}, **content})


def test_a_pair_without_what_is_learned_is_no_example(pairs):
    bare = parse_pair({"prompt": "?", "chosen": "a", "rejected": "b"}, "a")
    for objective, reason in ((Critic(), "no_critique"), (LongCot(), "no_thoughts")):
        with pytest.raises(RowError) as error:
            objective.compare(bare)
        assert error.value.reason == reason


def test_thoughts_need_a_prompt_with_room_for_them():
    with pytest.raises(ValueError, match="no place for thoughts"):
        LongCot(prompt="digit")


@pytest.mark.parametrize("objective", [Grm(), LongCot()], ids=lambda one: one.kind)
def test_verdicts_of_both_orders_are_known_where_responses_show_images(objective, vl_backbone, picture):
    """Orders whose responses show images are trees of their own; accuracy is that of both."""
    said = [[{"role": "assistant", "content": [{"type": "image"}, {"type": "text", "text": text}]}] for text in "ab"]
    record = {
        "prompt": "Which?",
        "chosen": said[0],
        "rejected": said[1],
        "images": [picture(56, 56, 1), picture(56, 56, 2)],
        "thoughts": {"chosen_first": "Response 1 is right.", "rejected_first": "Response 2 is right."},
    }
    batch = PreferenceCollator(load_template(vl_backbone), objective)([parse_pair(record, "a")])
    learned = batch["input_ids"][0, batch["target_places"]][batch["verdict_targets"]].tolist()
    assert len(learned) == 2
    assert learned == batch["verdict_others"].tolist()[::-1]


SETTINGS = {
    "zero_coefficient": 0.1,
    "length_normalization": True,
    "use_margin": True,
    "flipped": {"rate": 0.2},
    "form": "best",
    "normalize": "prompt",
    "language_weight": 0.5,
    "reward_weight": 0.5,
}


@pytest.mark.parametrize("kind", ["bradley_terry", "critic", "grm", "longcot", "listwise"])
def test_what_concerns_the_loss_alone_needs_no_new_lengths(kind, pairs):
    plain, pair = TypeAdapter(AnyObjective).validate_python({"kind": kind}), pairs(True)[0]
    for name in plain.loss_only:
        other = type(plain).model_validate({"kind": kind, name: SETTINGS[name]})
        assert other != plain
        assert pair_trees(other, True).name == pair_trees(plain, True).name
        assert other.compare(pair) == plain.compare(pair)


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("bradley_terry", {"blind": True}),
        ("bradley_terry", {"ratings": {"use": "weight"}}),
        ("critic", {"request": "short"}),
        ("grm", {"prompt": "verdict_line"}),
    ],
)
def test_what_decides_what_is_read_needs_new_lengths(kind, change):
    plain, other = (TypeAdapter(AnyObjective).validate_python({"kind": kind, **own}) for own in ({}, change))
    assert pair_trees(other, True).name != pair_trees(plain, True).name
