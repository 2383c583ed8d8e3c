"""Objectives of models that write: a critic learns critiques and rewards, a judge its verdicts, possibly thoughts."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, field_validator
from torch import Tensor

from basereward.configuration import Section
from basereward.data.annotations import critiques_of, weight_of
from basereward.data.judging.critiques import CRITIQUE_TOKENS, DEFAULT_REQUEST, REQUESTS, with_critiques
from basereward.data.judging.examples import JudgeExample, judge_examples
from basereward.data.judging.formats import FORMATS
from basereward.data.judging.prompts import JudgePrompt, make_prompt
from basereward.data.schema import Comparison, Messages, PreferencePair, Response, ResponseGroup
from basereward.errors import RowError
from basereward.models.facts import CriticRole, JudgeRole
from basereward.models.language import LanguageOutput
from basereward.training.losses import bradley_terry
from basereward.training.objectives import PairLoss, PairRewards, PairWeights

WORD_KEYS = ("pairs", "word_weights", "target_owners", "target_weights")


class Critic(Section):
    """Critic-RM: cross entropy of the critiques, and Bradley-Terry on rewards behind them (paper section 3.1)."""

    keys: ClassVar[tuple[str, ...]] = (*WORD_KEYS, "weights")
    writes: ClassVar[bool] = True
    loss_only: ClassVar[tuple[str, ...]] = ("language_weight", "reward_weight")

    kind: Literal["critic"] = "critic"
    """Which objective this is."""
    request: str = DEFAULT_REQUEST
    """How the critique is asked for: a name in ``data.judging.critiques``, kept in the checkpoint."""
    max_tokens: int = Field(default=CRITIQUE_TOKENS, ge=1)
    """The longest critique that the trained critic writes."""
    language_weight: float = Field(default=1.0, ge=0.0)
    """Of the cross entropy, which is a mean over the tokens of a critique and over both critiques."""
    reward_weight: float = Field(default=1.0, ge=0.0)
    """Of Bradley-Terry."""

    @field_validator("request")
    @classmethod
    def _known_request(cls, name: str) -> str:
        return REQUESTS.get(name).name

    @property
    def role(self) -> CriticRole:
        """How the trained model is asked."""
        return CriticRole(request=self.request, max_tokens=self.max_tokens, words=REQUESTS.get(self.request).sha256)

    def compare(self, pair: PreferencePair) -> Comparison:
        """Return the groups of a pair with a critique behind every response.

        Raises:
            RowError: ``no_critique``, or as ``critiques_of``.
        """
        said = critiques_of(pair)
        if said is None:
            raise RowError("no_critique", "The pair has no critiques; write them with basereward data annotate.")
        comparison = pair.comparison()
        texts = {comparison.chosen: said.chosen, comparison.rejected: said.rejected}
        groups, place = [], 0
        for group in comparison.groups:
            own = [texts[place + member] for member in range(len(group.responses))]
            groups.append(with_critiques(group, REQUESTS.get(self.request), own))
            place += len(own)
        return comparison._replace(groups=tuple(groups))

    def others(self, pair: PreferencePair) -> list[Messages]:
        """Return nothing: no response of a critic ends with a verdict."""
        return []

    def weigh(self, pair: PreferencePair) -> PairWeights:
        """Return what a pair counts: its critiques say what a critic learns from them.

        Raises:
            RowError: as ``weight_of`` and ``critiques_of``.
        """
        weight, said = weight_of(pair), critiques_of(pair)
        teaches = said.teaches if said else "both"
        return PairWeights(weight * (teaches != "words"), weight * (teaches != "rewards"))

    def loss(
        self,
        output: LanguageOutput,
        pairs: Int[Tensor, "pair 2"],
        weights: Float[Tensor, " pair"],
        word_weights: Float[Tensor, " pair"],
        target_owners: Int[Tensor, " target"],
        target_weights: Float[Tensor, " target"],
    ) -> PairLoss:
        """Return the sum over pairs of reward_weight BT + language_weight cross entropy, each by the pair's weight."""
        assert output.rewards is not None
        sides = PairRewards(output.rewards[pairs[:, 0]], output.rewards[pairs[:, 1]])
        of_words = _cross_entropy(output.targets, pairs, word_weights, target_owners, target_weights)
        total = self.reward_weight * (weights * bradley_terry(*sides)).sum() + self.language_weight * of_words
        return PairLoss(total, sides)


class JudgeObjective(Section):
    """A judge that answers which of two responses is better; both orders of a pair are learned together."""

    keys: ClassVar[tuple[str, ...]] = (*WORD_KEYS, "answer_lengths", "verdict_targets")
    writes: ClassVar[bool] = True
    loss_only: ClassVar[tuple[str, ...]] = ()
    thinks: ClassVar[bool] = False

    prompt: str = "digit"
    """How it is asked and answers: a name in ``data.judging.formats``, kept in the checkpoint."""
    max_tokens: int | None = Field(default=None, ge=1)
    """The longest answer of the trained judge; that of the prompt if not given."""

    @field_validator("prompt")
    @classmethod
    def _known_prompt(cls, name: str) -> str:
        return FORMATS.get(name).name

    @property
    def judge_prompt(self) -> JudgePrompt:
        """How it is asked."""
        return make_prompt(self.prompt, self.max_tokens)

    @property
    def role(self) -> JudgeRole:
        """How the trained model is asked."""
        asked = self.judge_prompt
        return JudgeRole(prompt=self.prompt, max_tokens=asked.max_tokens, words=asked.sha256)

    def compare(self, pair: PreferencePair) -> Comparison:
        """Return the conversations of a pair, one for each order; a tree unless responses show images of their own.

        Raises:
            RowError: as ``judge_examples``.
        """
        examples = judge_examples(pair, self.judge_prompt, self.thinks)
        groups: list[ResponseGroup] = []
        if any(pair.dealt_images[1:]) or any(pair.dealt_videos[1:]):
            groups = [_tree(pair.id, [example]) for example in examples]
        else:
            groups = [_tree(pair.id, examples)]
        return Comparison(tuple(groups), 0, len(examples) - 1)

    def others(self, pair: PreferencePair) -> list[Messages]:
        """Return the same conversations with the other verdict, in the order of the responses of ``compare``."""
        return [example.asked + example.wrong for example in judge_examples(pair, self.judge_prompt, self.thinks)]

    def weigh(self, pair: PreferencePair) -> PairWeights:
        """Return what a pair counts.

        Raises:
            RowError: as ``weight_of``.
        """
        return PairWeights(0.0, weight_of(pair))

    def loss(
        self,
        output: LanguageOutput,
        pairs: Int[Tensor, "pair 2"],
        word_weights: Float[Tensor, " pair"],
        answer_lengths: Int[Tensor, " response"],
        target_owners: Int[Tensor, " target"],
        target_weights: Float[Tensor, " target"],
        verdict_targets: Int[Tensor, " verdict"],
    ) -> PairLoss:
        """Return the sum over pairs of weight times the cross entropy of the answers, a mean over orders and tokens.

        The rewards that are logged are log-probabilities of the right verdict and the other one, behind the thought
        that the data give; they say how well verdicts follow from such thoughts, not how good the judge's own are.
        """
        total = _cross_entropy(output.targets, pairs, word_weights, target_owners, target_weights)
        owners = _pair_of(pairs, len(answer_lengths))[target_owners[verdict_targets]]
        means = output.verdicts.new_zeros(len(pairs), 2).index_add(0, owners, output.verdicts)
        counts = torch.bincount(owners, minlength=len(pairs))[:, None]
        return PairLoss(total, PairRewards(*(means / counts).unbind(1)))


class Grm(JudgeObjective):
    """GRM in the form of Seed-1.5-VL: the answer is 1 or 2 (paper section 3.1)."""

    kind: Literal["grm"] = "grm"
    """Which objective this is."""


class LongCot(JudgeObjective):
    """LongCoT-GRM in the form of R1-Reward, on given thoughts: <think>...</think><answer>1|2</answer>."""

    thinks: ClassVar[bool] = True

    kind: Literal["longcot"] = "longcot"
    """Which objective this is."""
    prompt: str = "think"
    """How it is asked and answers: a name in ``data.judging.formats``, kept in the checkpoint; not digit."""

    @field_validator("prompt")
    @classmethod
    def _has_room_for_thoughts(cls, name: str) -> str:
        if name == "digit":
            raise ValueError("the prompt digit has no place for thoughts; give think, or objective grm")
        return name


def _tree(name: str, examples: list[JudgeExample]) -> ResponseGroup:
    """Return whole conversations as responses to nothing: what they share is found token by token."""
    responses = tuple(
        Response(f"{name}/{place}", example.asked + example.right) for place, example in enumerate(examples)
    )
    question = examples[0].question
    return ResponseGroup(name, (), responses, question.images, question.videos)


def _pair_of(pairs: Int[Tensor, "pair 2"], responses: int) -> Int[Tensor, " response"]:
    """Return to which pair each response belongs."""
    owners = pairs.new_zeros(responses)
    for side in pairs.unbind(1):
        owners[side] = torch.arange(len(pairs), device=pairs.device)
    return owners


def _cross_entropy(
    targets: Float[Tensor, " target"],
    pairs: Int[Tensor, "pair 2"],
    weights: Float[Tensor, " pair"],
    owners: Int[Tensor, " target"],
    shares: Float[Tensor, " target"],
) -> Float[Tensor, ""]:
    """Return the sum over pairs of weight times the mean negative log-probability of what is learned."""
    return -(weights[_pair_of(pairs, int(owners.max()) + 1 if len(owners) else 0)[owners]] * shares * targets).sum()
