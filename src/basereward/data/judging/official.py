"""Prompts of other projects: where each text stands and what it has places for; the texts themselves are not here."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from basereward.registry import Registry

_BRACKETED = re.compile(r"\[[^\[\]]*\]")


class OfficialPrompt(NamedTuple):
    """A prompt of another project.

    Args:
        name: what it is called here.
        title: the project and the model that is asked so.
        file: where the text stands in it.
        command: brings that file.
        variable: to which the file assigns the text.
        places: its own names of the places -> ours. Empty where the text is an example: what its brackets hold, in
            order, is then the places.
        form: how its answer ends: a verdict of ``formats.FORMATS``, or for a critic a rating of ``ratings.RATINGS``.
        sha256: of the text with our names of the places.
        max_tokens: the longest answer of the project's own evaluation.
        is_media_first: images and videos stand before the text.
    """

    name: str
    title: str
    file: str
    command: str
    variable: str
    places: Mapping[str, str]
    form: str
    sha256: str
    max_tokens: int = 4096
    is_media_first: bool = True

    @property
    def where(self) -> str:
        """Where the text is and how it is brought, for messages."""
        return (
            f"The prompt {self.name!r} is a text of {self.title} and not part of this package; it stands in "
            f"{self.file}. Bring the file and name it: {self.command}, then {self.name}={self.file.rpartition('/')[2]}."
        )


_RAW = "https://raw.githubusercontent.com"
_R1_REWARD = "yfzhang114/r1_reward/3693413abedd4a1efaa9484143acfaa5d78a8d2b/inference/VL-Reward-Bench/r1_reward.py"
_MM_RLHF = "Kwai-YuanQi/MM-RLHF/7c8af1d2cacc252e4310881d2af4f90eacf2a5f0/llava/eval/eval_mm_reward_bench.py"
OFFICIAL: Registry[OfficialPrompt] = Registry(
    "official prompt",
    {
        entry.name: entry
        for entry in (
            OfficialPrompt(
                "r1_reward",
                "R1-Reward (github.com/yfzhang114/r1_reward), asked of its judge",
                "inference/VL-Reward-Bench/r1_reward.py",
                f"curl -O {_RAW}/{_R1_REWARD}",
                "prompt_template",
                {"question": "request", "answer1": "response_1", "answer2": "response_2"},
                "think",
                "c149df6bd7a45200de280e2f9415909f9a618c7b76d4770309930049cdd75fb4",
            ),
            OfficialPrompt(
                "llava_critic",
                "LLaVA-Critic (the card of lmms-lab/llava-critic-7b), asked of its judge for a pair",
                "README.md",
                "hf download lmms-lab/llava-critic-7b README.md --local-dir .",
                "critic_prompt",
                {},
                "sentence",
                "5d8288b5fff3f722e3d096676763e637c3b89059a07fbd6813ec29ea272fba98",
            ),
            OfficialPrompt(
                "mm_rlhf",
                "MM-RLHF (github.com/Kwai-YuanQi/MM-RLHF), asked of the critic in MM-RLHF-Reward",
                "llava/eval/eval_mm_reward_bench.py",
                f"curl -O {_RAW}/{_MM_RLHF}",
                "critic_prompt",
                {"question": "request", "answer": "response"},
                "none",
                "3dd5d9b03b70a8ba9a57552ba9f0e23be2f4b03fde27a3bc22248f60a457e776",
            ),
        )
    },
)


def official_text(prompt: OfficialPrompt, source: str) -> str:
    """Return the text of a prompt with our names of its places.

    Args:
        source: the project's file, or the text alone.
    """
    text = next(_assigned(source, prompt.variable), source)
    for theirs, ours in prompt.places.items():
        text = text.replace(f"{{{theirs}}}", f"{{{ours}}}")
    if prompt.places or "{request}" in text:
        return text
    places = iter(("request", "response_1", "response_2"))
    return _BRACKETED.sub(lambda example: f"[{{{place}}}]" if (place := next(places, "")) else example[0], text)


def _assigned(source: str, variable: str) -> Iterator[str]:
    """Yield the texts that a file of Python, or Markdown with Python in it, assigns to a variable; nothing is run."""
    lines = source.splitlines()
    for number, line in enumerate(lines):
        if not (match := re.match(rf"\s*{variable}\s*=\s*(?=[\"'(])", line)):
            continue
        # The literal ends where it first can be read: adding lines is enough, whatever else the file holds.
        for end in range(number + 1, len(lines) + 1):
            try:
                value = ast.literal_eval("\n".join([line[match.end() :], *lines[number + 1 : end]]))
            except (SyntaxError, ValueError):
                continue
            if isinstance(value, str):
                yield value
            break
