"""A critic scores each response with its own critiques, as if each were asked about and scored alone."""

from statistics import fmean, stdev

import pytest
import torch

from basereward.data.judging.critiques import REQUESTS, ask_for_critiques, with_critiques
from basereward.data.outcomes import SPREAD, Failure
from basereward.errors import ScoringError
from basereward.models.checkpoint import new_reward_model, save_reward_model
from basereward.models.facts import CriticRole
from basereward.models.generation import Generator
from basereward.scoring.critics import CUT_OFF, EMPTY, CriticScorer
from basereward.scoring.judges.votes import SEPARATOR
from basereward.scoring.local import LocalScorer
from basereward.scoring.model_spec import CriticOptions
from basereward.scoring.spec import open_scorer
from basereward.serving.engines import ScorerEngine
from basereward.serving.service import engine_of
from basereward.serving.settings import ServeSettings

TOKENS = 9


@pytest.fixture(scope="module")
def folder_of(backbone_of, tmp_path_factory):
    """``folder_of(family)``: an untrained critic."""

    def make(family):
        torch.manual_seed(0)
        role = CriticRole(request="short", max_tokens=TOKENS)
        return save_reward_model(new_reward_model(backbone_of(family), role=role), tmp_path_factory.mktemp(family))

    return make


@pytest.fixture(scope="module")
def folder(folder_of):
    return folder_of("qwen2_5_vl")


@pytest.fixture(scope="module")
def critic(folder):
    """Opened as any model is; do not change it."""
    return open_scorer(str(folder), device="cpu")


@pytest.fixture(scope="module")
def groups(make_group, picture):
    """Three responses to an image, two of them equal, and two to text alone."""
    return [
        make_group("What color?", ["red", "It is blue.", "red"], [picture(84, 56)]),
        make_group("Which shape is it?", ["a circle", "square"]),
    ]


def alone(group, place):
    return type(group)(group.id, group.prompt, group.responses[place : place + 1], group.images)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5", "qwen3"])
def test_scores_are_those_of_critiques_written_and_scored_alone(family, folder_of, groups):
    place = folder_of(family)
    critic = open_scorer(str(place), device="cpu")
    assert isinstance(critic, CriticScorer)
    writer = Generator(place, TOKENS, 10_000, torch.float32, "cpu")
    request, scorer = REQUESTS.get("short"), LocalScorer(critic._scorer.model, "alone")
    for group, found in zip(groups, critic.score(groups), strict=True):
        if family == "qwen3" and group.images:
            assert {score.reason for score in found} == {"template"}
            continue
        for number, score in enumerate(found):
            own = alone(group, number)
            [asked] = ask_for_critiques(own, request).responses
            opening = type(own)("q", own.prompt + asked.messages, (), own.images)
            [said] = writer.generate([writer.template.encode_prompt(opening)])
            [[expected]] = scorer.score([with_critiques(own, request, [said.text])])
            assert score.text == said.text
            assert score.value == pytest.approx(expected.value, rel=1e-4)
            assert score.parts == {CUT_OFF: float(said.is_cut_off)}


def test_the_mean_over_samples_depends_on_nothing_else(groups, critic):
    sampled = CriticScorer(critic._scorer, CriticOptions(critiques=3, seed=4))
    found = sampled.score(groups)
    assert found[0][0].text == found[0][2].text
    for group, scores in zip(groups, found, strict=True):
        for number, score in enumerate(scores):
            own = alone(group, number)
            [[same]] = sampled.score([own])
            texts = score.text.split(SEPARATOR)
            assert same.text == score.text
            assert len(set(texts)) == 3
            each = critic._scorer.score([with_critiques(own, sampled.request, [text]) for text in texts])
            values = [one.value for [one] in each]
            assert (same.value, score.value) == pytest.approx((fmean(values),) * 2, rel=1e-4)
            assert score.parts[SPREAD] == pytest.approx(stdev(values), rel=1e-3)


def test_images_pass_the_tower_once_to_write_and_once_to_score(critic, groups):
    patches = []
    hook = critic._scorer.model.backbone.visual.register_forward_hook(lambda _, args, __: patches.append(len(args[0])))
    CriticScorer(critic._scorer, CriticOptions(critiques=4, batch_tokens=200)).score(groups)
    hook.remove()
    assert patches == [6 * 4, 6 * 4]


def test_a_failure_is_typed_and_alone(critic, make_group, monkeypatch):
    bad, good = make_group("What?", ["a", "b"], ["nowhere.png"]), make_group("Who?", ["y"])
    long = make_group("Who?", ["x " * 900, "y"])
    text = critic._scorer.model.config.get_text_config()
    monkeypatch.setattr(text, "max_position_embeddings", 600)
    found = critic.score([bad, long, good])
    assert [score.reason for score in found[0]] == ["image_missing"] * 2
    assert isinstance(found[1][0], Failure)
    assert found[1][0].reason == "too_long"
    assert found[1][1].value == pytest.approx(found[2][0].value, rel=1e-4)
    assert critic.score([]) == []


def test_a_critique_of_no_numbers_has_no_score_and_one_without_words_is_counted(critic, groups, monkeypatch):
    head = critic.generator.decoder.lm_head
    with monkeypatch.context() as patch:
        patch.setattr(critic.generator.decoder, "lm_head", lambda hidden: torch.full_like(head(hidden), torch.nan))
        assert {score.reason for own in critic.score(groups) for score in own} == {"not_finite"}
    end = critic.template.tokenizer.eos_token_id
    silent = torch.nn.functional.one_hot(torch.tensor(end), len(head.weight)).float()
    monkeypatch.setattr(critic.generator.decoder, "lm_head", lambda hidden: silent.expand(len(hidden), -1))
    assert {(score.text, score.parts[EMPTY]) for own in critic.score(groups) for score in own} == {("", 1.0)}


def test_what_decides_a_score_is_in_its_identity(critic, folder, tmp_path):
    file = tmp_path / "critic.yaml"
    file.write_text(f"model: {folder}\ndevice: cpu\ncritic: {{critiques: 2, temperature: 0.5, max_tokens: 3}}\n")
    opened = open_scorer(str(file))
    identity = opened.about.identity
    assert identity["critic"] | {"request_sha256": ""} == {
        "request": "short",
        "request_sha256": "",
        "max_tokens": 3,
        "critiques": 2,
        "temperature": 0.5,
        "seed": 0,
    }
    known = critic.about.identity
    assert known["critic"] != identity["critic"]
    assert {key: value for key, value in known.items() if key != "critic"} == critic._scorer.about.identity
    assert opened.about.sees_images
    assert opened.about.writes


def test_options_that_make_no_sense_are_refused(critic, vl_backbone, tmp_path, monkeypatch):
    with pytest.raises(ScoringError, match="greedy"):
        CriticScorer(critic._scorer, CriticOptions(critiques=2, temperature=0))
    role = critic._scorer.model.role
    monkeypatch.setattr(critic._scorer.model, "role", role.model_copy(update={"words": "0" * 64}))
    with pytest.raises(ScoringError, match="other words under the request 'short'"):
        CriticScorer(critic._scorer)
    assert CriticScorer(critic._scorer, CriticOptions(request="short")).request.name == "short"
    naive = save_reward_model(new_reward_model(vl_backbone), tmp_path / "naive")
    file = tmp_path / "naive.yaml"
    file.write_text(f"model: {naive}\ndevice: cpu\ncritic: {{critiques: 2}}\n")
    with pytest.raises(ScoringError, match="is no critic"):
        open_scorer(str(file))
    with pytest.raises(ScoringError, match="is no critic"):
        CriticScorer(LocalScorer(new_reward_model(vl_backbone), "naive"))


def test_a_server_scores_with_it_group_by_group(critic, groups):
    engine = engine_of(critic, ServeSettings())
    assert isinstance(engine, ScorerEngine)
    assert engine.template is critic.template
    [unit] = engine.prepare(groups[1]).units
    assert [score.text for score in engine.compute([unit]).outcomes[0]] == [one.text for one in critic.score(groups)[1]]
