"""A reward model behind ``basereward serve``: the scores of the server, checked, in threads or in an event loop."""

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from pydantic import ValidationError

from basereward.data.images import image_bytes, pack_image
from basereward.data.outcomes import About, Failure, Score, Scored
from basereward.data.record import DataRecord
from basereward.data.schema import Messages, ResponseGroup
from basereward.errors import RowError, ScoringError
from basereward.scoring.interface import failure_of, finite
from basereward.scoring.judges.client import JsonClient, Reply, open_client
from basereward.scoring.model_spec import ModelSpec, OpenSpec

KEY_VARIABLE = "BASEREWARD_API_KEY"
# A server that starts again needs minutes to load a large model; what it refuses until then is asked again.
PATIENCE_SECONDS, ATTEMPTS, TIMEOUT_SECONDS = 600.0, 100, 300.0
CONCURRENCY = 32
_PATH = "/v1/score"


class ServedModel(NamedTuple):
    """What a server says of its model: everything that decides a score, and one hash of it."""

    about: About
    fingerprint: str | None


class RemoteScorer:
    """Scores with a server, several groups at a time; a group is a request, which the server packs with others.

    Args:
        client: the server.
        card: its model. An answer of another one is an error: its scores could not be compared.
        concurrency: groups that are sent at once.
    """

    def __init__(self, client: JsonClient, card: ServedModel, concurrency: int = CONCURRENCY) -> None:
        self.client = client
        self.about = card.about
        self._fingerprint = card.fingerprint
        self._concurrency = concurrency

    def score(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return a score or a failure for each response of each group, in order.

        Raises:
            ScoringError: nobody answers, the key is refused, or the server has another model.
        """
        with ThreadPoolExecutor(self._concurrency) as pool:
            return list(pool.map(self._score, groups))

    async def score_async(self, groups: Sequence[ResponseGroup]) -> list[list[Scored]]:
        """Return what ``score`` does, in an event loop; cancelled, it takes back what the server has not computed.

        Raises:
            ScoringError: as ``score``.
        """
        free = asyncio.Semaphore(self._concurrency)

        async def ask(group: ResponseGroup) -> list[Scored]:
            async with free:
                body = _body(group)
                if isinstance(body, Failure):
                    return [body] * len(group.responses)
                return self._read(group, await self.client.send_async(http, _PATH, body))

        async with self.client.open_async() as http, asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(ask(group)) for group in groups]
        return [task.result() for task in asked]

    def _score(self, group: ResponseGroup) -> list[Scored]:
        body = _body(group)
        if isinstance(body, Failure):
            return [body] * len(group.responses)
        return self._read(group, self.client.send(_PATH, body))

    def _read(self, group: ResponseGroup, reply: Reply) -> list[Scored]:
        if reply.status != 200:
            return [self._failure(reply)] * len(group.responses)
        try:
            answer = json.loads(reply.text)
            found = answer["fingerprint"]
            scores = _scores(answer, len(group.responses))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            found = f"{type(error).__name__}: {error}"
            return [Failure("bad_reply", f"{self.client.url} gave no scores ({found:.200}).")] * len(group.responses)
        if found != self._fingerprint:
            raise ScoringError(f"{self.client.url} has another model than before; its scores cannot be compared.")
        return scores

    def _failure(self, reply: Reply) -> Failure:
        if reply.status is None and reply.text.startswith("unreachable"):
            raise ScoringError(f"{self.client.url} cannot be asked: {reply.text}. Start basereward serve there.")
        if reply.status is None:
            return Failure(reply.text.partition(":")[0], f"{self.client.url}: {reply.text}, also when tried again.")
        if reply.status in (401, 403, 404) or reply.status < 400:
            refuse(self.client, reply)
        reason, message = _said(reply)
        if reply.is_temporary:
            return Failure(
                f"http_{reply.status}", f"{self.client.url} answered {reply.status} again and again: {message}"
            )
        return Failure(reason, f"{self.client.url}: {message}")


def open_remote(member: ModelSpec, open_spec: OpenSpec) -> RemoteScorer:
    """Return the scorer of ``http://host:port``, once it is known to answer.

    The key is read from the environment variable ``BASEREWARD_API_KEY``.

    Raises:
        ScoringError: the server does not answer, takes no such key, or serves no scorer; or dtype, device or backend
            is given, which are the server's.
    """
    if member.dtype or member.device or member.backend != "auto":
        raise ScoringError(f"{member.model} has its own dtype, device and backend; give them to basereward serve.")
    options = {"timeout": TIMEOUT_SECONDS, "attempts": ATTEMPTS, "patience": PATIENCE_SECONDS}
    client = open_client("http://HOST:PORT", member.model, member.model, KEY_VARIABLE, **options)
    # In one attempt, before anything is read.
    return RemoteScorer(client, read_card(replace(client, attempts=1), member.label))


def read_card(client: JsonClient, name: str) -> ServedModel:
    """Return what a server says of its model.

    Args:
        name: what result files call it.

    Raises:
        ScoringError: it does not answer, refuses the key, or serves no scorer.
    """
    reply = client.send("/v1/models")
    if reply.status != 200:
        refuse(client, reply)
    try:
        [card] = json.loads(reply.text)["data"]
        if card["kind"] != "scorer":
            raise ScoringError(f"{client.url} serves a {card['kind']}, which has no scores.")
        record = card["data_record"]
        about = About(
            name,
            bool(card["sees_images"]),
            card["identity"],
            None if record is None else DataRecord.model_validate(record),
            compares=bool(card["compares"]),
            writes=bool(card["writes"]),
            partial=card.get("partial"),
        )
        return ServedModel(about, card["fingerprint"])
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise ScoringError(
            f"{client.url} is no basereward serve, or of another version: {reply.text[:200]!r}."
        ) from error


def refuse(client: JsonClient, reply: Reply) -> NoReturn:
    """Say why a server cannot be used at all.

    Raises:
        ScoringError: always.
    """
    if reply.status is None:
        raise ScoringError(f"{client.url} cannot be asked: {reply.text}. Start basereward serve there.")
    if reply.status in (401, 403):
        given = "the key in" if client.key else "no key, because there is none in"
        raise ScoringError(f"{client.url} refuses access; it was sent {given} the environment variable {KEY_VARIABLE}.")
    raise ScoringError(
        f"{client.url} answered {reply.status}; expected the address of basereward serve: {_said(reply)[1]}"
    )


def _said(reply: Reply) -> tuple[str, str]:
    """Return the reason and the message of an answer that is no success."""
    try:
        error = json.loads(reply.text)["error"]
        return str(error["type"]), str(error["message"])
    except (ValueError, KeyError, TypeError):
        return f"http_{reply.status}", " ".join(reply.text.split())[:200]


def _scores(answer: Mapping[str, Any], count: int) -> list[Scored]:
    """Return the scores of the one group of an answer, every number finite and every gap explained."""
    [rewards] = answer["rewards"]
    [details] = answer["details"] or [[None] * count]
    if not len(rewards) == len(details) == count:
        raise ValueError(f"{len(rewards)} rewards for {count} responses")
    failures = {error["response"]: Failure(error["reason"], error["message"]) for error in answer["errors"]}
    return [
        failures[place] if reward is None else finite(Score(float(reward), **(detail or {})))
        for place, (reward, detail) in enumerate(zip(rewards, details, strict=True))
    ]


def _body(group: ResponseGroup) -> dict[str, Any] | Failure:
    """Return a group as a request, images as they lie, so that the server decodes the same pixels; or why not."""
    try:
        return {
            "groups": [
                {
                    "messages": _plain(group.prompt),
                    "responses": [_plain(response.messages) for response in group.responses],
                    "images": [_encode(image) for image in group.images],
                    "videos": [
                        {"frames": [_encode(frame) for frame in video.frames], "fps": video.fps}
                        for video in group.videos
                    ],
                    # Unsaid where there is none: an older server refuses a key that it does not know.
                    **({} if group.task is None else {"task": group.task}),
                }
            ]
        }
    except RowError as error:
        return failure_of(error)


def _plain(messages: Messages) -> list[dict[str, Any]]:
    return [message.to_dict() for message in messages]


def _encode(image: Any) -> str:
    return base64.b64encode(image_bytes(pack_image(image, Path()))).decode()
