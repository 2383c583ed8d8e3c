"""Reinforcement learning of a judge that thinks before its verdict, as a task of the loop of GRPO."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from basereward import __version__
from basereward.curation.seen import pack, pair_fingerprints
from basereward.data.io import read_json, write_json
from basereward.data.judging.prompts import JudgePrompt, make_prompt
from basereward.data.progress import Progress
from basereward.data.record import DataRecord, continued_record, read_record, record_data, write_record
from basereward.encoding.template import Template
from basereward.models.facts import JUDGE_SECTION, JudgeFacts, JudgeRole
from basereward.models.hub import CONFIG, open_folder
from basereward.models.inputs import load_template
from basereward.rl.held_out import Answer
from basereward.rl.judge_function import JudgeReward
from basereward.rl.judge_held_out import answer_pairs, summarize_verdicts
from basereward.rl.judge_prompts import JudgePrompts, load_judge_prompts
from basereward.rl.recipe import JudgeRlRecipe
from basereward.rl.run_facts import HeldOut
from basereward.rl.tasks import image_limits, own_device
from basereward.rl.watching import WatchOptions


class JudgeTask:
    """A judge, rewarded for right verdicts, their form, and thoughts that support them; see ``RlTask``."""

    scheme = "judge"
    # What its rewards are made of has no sigmoid.
    watching = WatchOptions(has_model=False)

    def __init__(self, recipe: JudgeRlRecipe, function: JudgeReward | None = None) -> None:
        self.recipe = recipe
        self.function = function or JudgeReward(recipe.reward)
        self.places = recipe.data.pairs
        self._asked: JudgePrompts | None = None

    def settings(self) -> dict[str, Any]:
        """Return the settings that decide the weights."""
        settings: dict[str, Any] = self.recipe.model_dump(mode="json")
        del settings["data"]["pairs"], settings["policy"]["model"], settings["reward"]["reader"]
        # The name of a prompt says nothing of its words.
        return {**settings, "prompt": self._prompt.identity}

    def load(self) -> JudgePrompts:
        """Return the questions about the pairs of training."""
        self._asked = load_judge_prompts(self.recipe.data, self._max_tokens, template=self._template)
        return self._asked

    def load_held_out(self) -> JudgePrompts | None:
        """Return the questions about the held-out pairs, in both orders."""
        held_out = self.recipe.data.held_out
        return load_judge_prompts(self.recipe.data, self._max_tokens, held_out, self._template) if held_out else None

    def answer(self, policy: str, held_out: JudgePrompts, on_progress: Progress) -> list[Answer]:
        """Return greedy answers."""
        return answer_pairs(policy, held_out, own_device(self.recipe), image_limits(self.recipe), on_progress)

    def summarize(self, answers: Sequence[Answer]) -> HeldOut:
        """Return how many verdicts are right."""
        return summarize_verdicts(answers)

    def finish(self, folder: Path, template: Template) -> None:
        """Say how the judge is asked, so that ``judge:FOLDER`` asks it as in training, and what it was trained on."""
        record = self._record()
        facts = JudgeFacts(
            role=JudgeRole(prompt=self.recipe.data.prompt, max_tokens=self._max_tokens, words=self._prompt.sha256),
            inputs=template.facts,
            max_length=template.max_length,
            image_backend=template.vision.backend if template.vision else None,
            pixels=template.vision.pixels if template.vision else None,
            data_hash=record.fingerprint,
            basereward_version=__version__,
        )
        write_json(folder / CONFIG, {**read_json(folder / CONFIG), JUDGE_SECTION: facts.to_dict()})
        write_record(record, folder)

    def _record(self) -> DataRecord:
        """Return what the judge was trained on: these pairs, after those of the judge that it began as."""
        pairs = pack(pair_fingerprints(self._asked.pairs)) if self._asked else b""
        record = record_data(self.places, hashlib.sha256(pairs).hexdigest()[:16], pairs)
        start = open_folder(self.recipe.policy.model)
        before = read_record(start.path)
        is_trained = before is not None or JUDGE_SECTION in start.content
        return continued_record(self.recipe.policy.model, before, record) if is_trained else record

    @cached_property
    def _template(self) -> Template:
        return load_template(self.recipe.policy.model, image_limits(self.recipe))

    @cached_property
    def _prompt(self) -> JudgePrompt:
        return make_prompt(self.recipe.data.prompt, self._max_tokens)

    @property
    def _max_tokens(self) -> int:
        return self.recipe.grpo.max_completion_length
