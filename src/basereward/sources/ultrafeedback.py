"""UltraFeedback: up to four answers to each instruction, rated by GPT-4; all pairs, or the clearest one.

Hub: ``openbmb/UltraFeedback`` (MIT) at the revision that corrected 2,628 wrong scores of 10: six JSONL files, 63,967
instructions. A record has ``source``, ``instruction`` and ``completions``, each with ``model``, ``response``,
``overall_score``, ``fine-grained_score`` and ``annotations``; three instructions lack an answer. Two sources:

- ``ultra_all``: every two answers with different scores (the paper: Ultra-All, 300k, left out);
- ``ultra_hard``: the pair with the largest difference, the first such answers if several have it (the paper:
  Ultra-Hard, 63k, kept).

Choice: the score is ``overall_score``; the paper does not say which it took. Scores come as numbers or strings, and
"N/A" leaves an answer out. ``custom_system_prompt``, which tells how an answer was elicited, is no part of the prompt.

Source: UltraFeedback (arXiv 2310.01377) and its README; paper, Table 4.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from basereward.data.files import DataFiles, HubRepository, Raw, expect_columns
from basereward.data.formats.conversations import text_pair
from basereward.data.formats.pairing import Pairing, parse_score, rank_pairs
from basereward.data.formats.records import PLACE, records_in
from basereward.data.source import Source
from basereward.errors import DataError

FILES = ("evol_instruct", "false_qa", "flan", "sharegpt", "truthful_qa", "ultrachat")
COLUMNS = ("source", "instruction", "completions")
COMPLETION = ("model", "response", "overall_score")
REPOSITORY = HubRepository(
    "openbmb/UltraFeedback", "MIT", revision="40b436560ca83a8dba36114c22ab3c66e43f6d5e", patterns=("*.jsonl",)
)


def parse(name: str, pairing: Pairing, record: Raw, files: DataFiles) -> Iterable[dict[str, Any]]:
    """Return the pairs of a record.

    Raises:
        RowError: as ``rank_pairs``.
    """
    place = record[PLACE]
    expect_columns(record, COLUMNS, place)
    completions = record["completions"]
    if not isinstance(completions, list):
        raise DataError(f"{place} has {type(completions).__name__} as 'completions'; expected a list of completions.")
    for number, completion in enumerate(completions):
        expect_columns(completion, COMPLETION, f"Completion {number} of {place}")
    ratings = [parse_score(completion["overall_score"]) for completion in completions]
    for better, worse, scores in rank_pairs(ratings, pairing):
        chosen, rejected = completions[better], completions[worse]
        yield text_pair(
            name,
            f"{place}-{better}-{worse}",
            record["instruction"],
            chosen["response"],
            rejected["response"],
            scores=scores,
            extra={
                "subset": record["source"],
                "chosen_model": chosen["model"],
                "rejected_model": rejected["model"],
            },
        )


RECORDS = records_in(*(f"{name}.jsonl" for name in FILES))

ULTRA_ALL = Source(
    name="ultra_all",
    title="UltraFeedback: every pair of answers with different scores",
    repository=REPOSITORY,
    modality="text",
    verdict="dropped",
    remark="Up to six pairs of a prompt; the clearest one of each is ultra_hard.",
    records=RECORDS,
    parse=partial(parse, "ultra_all", "all"),
    paper_name="Ultra-All",
    paper_size=300_000,
)

ULTRA_HARD = Source(
    name="ultra_hard",
    title="UltraFeedback: the pair with the largest difference of scores",
    repository=REPOSITORY,
    modality="text",
    verdict="kept",
    remark="One pair a prompt; prompts of TruthfulQA are the subset truthful_qa.",
    records=RECORDS,
    parse=partial(parse, "ultra_hard", "best_worst"),
    paper_name="Ultra-Hard",
    paper_size=63_000,
)
