"""Scores and verdicts that were computed before: one for each identity of the model and content of the question.

The cache belongs to the user, not to a result folder, so that another protocol, another file with the same pairs or a
second call computes nothing again. Failures are never kept.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from basereward.data.digests import image_digest
from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Score, Scored, Verdict
from basereward.data.schema import Messages, ResponseGroup
from basereward.scoring.interface import Judge, Scorer, checked_scores, checked_verdicts
from basereward.scoring.judges.answers import trust
from basereward.scoring.store import KeyValueStore


class CachedScorer:
    """Answers what the store knows; a group with any unknown response is scored whole.

    Scored whole, the responses of a group come from one computation and can be compared to the last bit.

    Args:
        scorer: what computes; its identity is everything that decides a score beside the group itself.
        store: where scores are kept.
    """

    def __init__(self, scorer: Scorer, store: KeyValueStore) -> None:
        self._scorer = scorer
        self._store = store

    @property
    def about(self) -> About:
        """What the scorer behind the cache is."""
        return self._scorer.about

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order."""
        keys = [response_keys(self.about, group) for group in groups]
        known = self._store.get(key for own in keys for key in own)
        new = [place for place, own in enumerate(keys) if not own or not known.keys() >= set(own)]
        scored = checked_scores(self._scorer, [groups[place] for place in new]) if new else []
        fresh = dict(zip(new, scored, strict=True))
        # Without keys, because an image cannot be read, the zip is empty.
        _keep(
            self._store, {key: one for place, own in fresh.items() for key, one in zip(keys[place], own, strict=False)}
        )
        return [
            fresh[place] if place in fresh else [Score(**known[key]) for key in own] for place, own in enumerate(keys)
        ]


class CachedJudge:
    """Answers what the store knows; the two orders of two responses are two questions.

    Args:
        judge: what is asked; its identity is everything that decides a verdict beside the question itself.
        store: where verdicts are kept.
    """

    def __init__(self, judge: Judge, store: KeyValueStore) -> None:
        self._judge = judge
        self._store = store

    @property
    def about(self) -> About:
        """What the judge behind the cache is."""
        return self._judge.about

    def trust(self) -> None:
        """Tell the judge behind the cache that it has answered before."""
        trust(self._judge)

    def compare(self, questions: Sequence[JudgeQuestion]) -> list[Judged]:
        """Return a verdict or a failure for each question, in order."""
        keys = [question_key(self.about, question) for question in questions]
        known = self._store.get(key for key in keys if key is not None)
        new = [place for place, key in enumerate(keys) if key not in known]
        judged = checked_verdicts(self._judge, [questions[place] for place in new]) if new else []
        fresh = dict(zip(new, judged, strict=True))
        _keep(self._store, {key: fresh[place] for place, key in enumerate(keys) if place in fresh and key is not None})
        return [
            fresh[place] if place in fresh else _stored_verdict(known[key])  # type: ignore[index]
            for place, key in enumerate(keys)
        ]


def cached(scorer: Scorer, store: KeyValueStore | None = None) -> Scorer:
    """Return the scorer behind the cache, or as it is if it does not say what alone decides a score."""
    if scorer.about.identity is None or scorer.about.compares:
        return scorer
    return CachedScorer(scorer, store or KeyValueStore())


def cached_judge(judge: Judge, store: KeyValueStore | None = None) -> Judge:
    """Return the judge behind the cache, or as it is if it does not say what decides its verdicts."""
    return judge if judge.about.identity is None else CachedJudge(judge, store or KeyValueStore())


def response_keys(about: About, group: ResponseGroup) -> list[str]:
    """Return the key of each response; none at all if an image cannot be read, as then nothing may be remembered."""
    shared = _prompt_hash("score", about, group.prompt, group)
    if shared is None:
        return []
    keys = []
    for response in group.responses:
        digest = shared.copy()
        digest.update(_encode(_plain(response.messages)))
        keys.append(digest.hexdigest())
    return keys


def question_key(about: About, question: JudgeQuestion) -> str | None:
    """Return the key of a question, None if an image cannot be read."""
    digest = _prompt_hash("verdict", about, question.prompt, question)
    if digest is None:
        return None
    digest.update(_encode([_plain(response) for response in question.responses]))
    return digest.hexdigest()


def _prompt_hash(form: str, about: About, prompt: Messages, shown: ResponseGroup | JudgeQuestion) -> Any:
    """Return the hash of a model and a prompt with its images; ``form`` keeps values of two forms apart."""
    images = [image_digest(image) for image in shown.images]
    videos = [[video.fps, *map(image_digest, video.frames)] for video in shown.videos]
    if None in images or any(None in frames for _, *frames in videos):
        return None
    model = json.dumps(about.identity, sort_keys=True)
    return hashlib.sha256(_encode([form, model, _plain(prompt), images, videos]))


def _keep(store: KeyValueStore, outcomes: Mapping[str, Scored | Judged]) -> None:
    """Keep what is no failure: a failure may be of the moment, and is cheap to meet again."""
    values = {key: asdict(one) for key, one in outcomes.items() if not isinstance(one, Failure)}
    if values:
        store.put(values)


def _stored_verdict(value: dict[str, Any]) -> Verdict:
    probabilities = value["probabilities"]
    return Verdict(**{**value, "probabilities": None if probabilities is None else tuple(probabilities)})


def _plain(messages: Messages) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
