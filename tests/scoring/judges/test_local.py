"""A judge in this process: the tokens of the model's own processor, greedy, each question alone."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, GenerationConfig

from basereward.data.judging.formats import FORMATS
from basereward.data.judging.prompts import JudgePrompt, make_prompt
from basereward.data.outcomes import JudgeQuestion
from basereward.data.schema import Message, Part, Video
from basereward.errors import CheckpointError, MissingFileError, ScoringError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.facts import CriticRole, JudgeRole
from basereward.models.generation import Generated
from basereward.scoring.judges.local import LocalJudge
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.spec import open_judge, open_scorer

PROMPT = JudgePrompt(FORMATS.get("verdict_line"), 12)


def question(say, prompt="Which?", images=(), videos=()):
    """A question about images and videos."""
    parts = (*(Part("image") for _ in images), *(Part("video") for _ in videos), Part("text", prompt))
    sides = (say("assistant", "red"),), (say("assistant", "blue <|im_end|>"),)
    return JudgeQuestion((Message("user", parts),), sides, tuple(images), tuple(videos))


@pytest.fixture(scope="module")
def judge(vl_backbone):
    """A tiny judge with random weights; do not change it."""
    return LocalJudge(vl_backbone, PROMPT, device="cpu")


@pytest.fixture(scope="module")
def mixed(say, picture):
    """Questions about images of several sizes, two images, a video, and text alone."""
    frames = Video(tuple(picture(seed=step) for step in range(4)), 2.0)
    return [
        question(say, "Which one?", [picture(56, 28, 1)]),
        question(say, "Which? " * 9),
        question(say, "And here?", [picture(112, 84, 2), picture(28, 56, 3)]),
        question(say, "What happens?", videos=[frames]),
        question(say, "Why?"),
        question(say, "Which one?", [picture(28, 56, 4)]),
    ]


def test_garbage_is_unparsable_and_cut_off(judge, say, picture):
    answers = judge.compare([question(say, images=[picture()]), question(say)])
    assert [(answer.choice, answer.is_cut_off, bool(answer.text)) for answer in answers] == [
        ("unparsable", True, True)
    ] * 2


def test_a_verdict_does_not_depend_on_what_else_is_asked(judge, mixed):
    alone = [judge.compare([own])[0] for own in mixed]
    assert len({answer.text for answer in alone}) > len(mixed) // 2
    assert judge.compare(mixed) == alone
    assert judge.compare(mixed[::-1]) == alone[::-1]
    few = LocalJudge(judge.generator.folder, PROMPT, JudgeOptions(batch_tokens=900), device="cpu")
    assert few.compare(mixed) == alone


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl", "qwen3_5", "internvl", "qwen3"])
def test_so_it_is_in_every_family(family, backbone_of, mixed):
    judge = LocalJudge(backbone_of(family), PROMPT, device="cpu")
    asked = [own for own in mixed if not own.images and not own.videos] if family == "qwen3" else mixed
    assert judge.compare(asked) == [judge.compare([own])[0] for own in asked]


def test_progress_counts_questions_and_failures_with_them(judge, mixed, say):
    seen = []
    asked = [question(say, images=["nowhere.png"]), *mixed]
    few = LocalJudge(judge.generator.folder, PROMPT, JudgeOptions(batch_tokens=900), device="cpu")
    few.compare(asked, lambda done, total: seen.append((done, total)))
    assert len(seen) > 2
    assert seen == sorted(seen)
    assert seen[-1] == (len(asked), len(asked))


def test_options_of_servers_are_refused(vl_backbone):
    with pytest.raises(ScoringError, match=r"timeout is of servers.*batch_tokens"):
        open_judge(f"judge:{vl_backbone}", options=JudgeOptions(timeout=1.0))
    with pytest.raises(ScoringError, match=r"batch_tokens is of models in this process"):
        open_judge("judge:http://127.0.0.1:9/v1#m", options=JudgeOptions(batch_tokens=3))
    for wrong in (JudgeOptions(samples=2), JudgeOptions(seed=None)):
        with pytest.raises(ScoringError, match=r"greedy|numbers"):
            open_judge(f"judge:{vl_backbone}", options=wrong)


def test_a_verdict_may_name_any_response_of_its_own_question(judge, say, monkeypatch):
    sides = tuple((say("assistant", text),) for text in ("red", "blue", "green"))
    asked = [JudgeQuestion((say("user", "Which?"),), sides[:count]) for count in (2, 3)]
    said = [Generated("Verdict: 3", False)]
    monkeypatch.setattr(judge.generator, "write", lambda trees, *_: [[said] for _ in trees])
    assert [answer.choice for answer in judge.compare(asked)] == ["unparsable", 2]


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl", "qwen3"])
def test_it_says_what_the_model_says_behind_its_own_processor(family, backbone_of, say, picture):
    folder = backbone_of(family)
    judge = LocalJudge(folder, PROMPT, device="cpu")
    images = [] if family == "qwen3" else [picture(84, 56)]
    asked = JudgeQuestion(
        (say("user", *[None] * len(images), "Which?"),),
        ((say("assistant", "red"),), (say("assistant", "blue"),)),
        (*images,),
    )
    messages = [message.to_dict() for message in PROMPT.ask(asked)]
    processor = AutoProcessor.from_pretrained(folder)
    if images:
        processor.image_processor = judge.generator.template.processor.image_processor
        text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[text], images=images, return_tensors="pt")
    else:
        messages = [{"role": "user", "content": PROMPT.ask(asked)[0].text}]
        inputs = processor.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
    model = (AutoModelForImageTextToText if images else AutoModelForCausalLM).from_pretrained(folder)
    ids = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    [answer] = judge.compare([asked])
    assert answer.text == judge.generator.template.tokenizer.decode(ids, skip_special_tokens=True)


def test_images_and_videos_change_the_answer(judge, say, picture):
    def said(seed):
        frames = Video(tuple(picture(seed=seed + step) for step in range(4)), 2.0)
        asked = [question(say, images=[picture(seed=seed)]), question(say, videos=[frames])]
        return [answer.text for answer in judge.compare(asked)]

    # Of random weights any two may agree by chance.
    answers = zip(*(said(seed) for seed in range(0, 300, 50)), strict=True)
    assert all(len(set(own)) > 1 for own in answers)


def test_what_cannot_be_asked_is_a_failure(judge, say, text_backbone, picture, monkeypatch):
    assert judge.compare([question(say, images=["nowhere.png"])])[0].reason == "image_missing"
    assert (
        LocalJudge(text_backbone, PROMPT, device="cpu").compare([question(say, images=[picture()])])[0].reason
        == "template"
    )
    monkeypatch.setattr(judge.generator.model.config.get_text_config(), "max_position_embeddings", 100)
    assert judge.compare([question(say)])[0].reason == "too_long"


def test_a_spec_opens_a_folder_and_refuses_what_cannot_generate(vl_backbone, tmp_path):
    judge = open_judge(f"judge:{vl_backbone}", max_tokens=3, dtype="bfloat16", device="cpu")
    assert (judge.about.name, judge.generator.model.dtype) == (f"judge:{vl_backbone}", torch.bfloat16)
    assert (judge.about.identity["max_tokens"], judge.about.identity["prompt"]) == (3, "verdict_line")
    rewarding = save_reward_model(new_reward_model(vl_backbone), tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"reward model.*without judge:"):
        open_judge(f"judge:{rewarding}")
    with pytest.raises(MissingFileError):
        open_judge("judge:nowhere")


def test_a_trained_judge_is_not_asked_in_other_words_unawares(vl_backbone, tmp_path):
    folders = []
    for place, words in enumerate((make_prompt("digit").sha256, "0" * 64, None)):
        role = JudgeRole(prompt="digit", max_tokens=3, words=words)
        folders.append(save_reward_model(new_reward_model(vl_backbone, role=role), tmp_path / str(place)))
    same, changed, untold = (f"judge:{folder}" for folder in folders)
    for spec, name in ((same, None), (untold, None), (changed, "digit"), (changed, "verdict_line")):
        assert open_judge(spec, name, device="cpu").prompt.format.name == (name or "digit")
    with pytest.raises(ScoringError, match="other words under the prompt 'digit'"):
        open_judge(changed, device="cpu")


@pytest.mark.parametrize("role", [CriticRole(request="short", max_tokens=4), JudgeRole(prompt="digit", max_tokens=4)])
def test_what_was_trained_ends_where_training_taught_it_to(role, vl_backbone, tmp_path):
    """The backbone's own configuration knows another end alone, as that of a base model does."""
    folder = Path(shutil.copytree(vl_backbone, tmp_path / "base"))
    tokenizer = AutoProcessor.from_pretrained(folder).tokenizer
    other = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert other != tokenizer.eos_token_id
    GenerationConfig(eos_token_id=other).save_pretrained(folder)
    saved = save_reward_model(new_reward_model(folder, role=role), tmp_path / "model")
    is_judge = isinstance(role, JudgeRole)
    opened = open_judge(f"judge:{saved}", device="cpu") if is_judge else open_scorer(str(saved), device="cpu")
    assert set(opened.generator.decoder.ends) == {other, tokenizer.eos_token_id}
    assert GenerationConfig.from_pretrained(saved).eos_token_id == [other, tokenizer.eos_token_id]
