"""A judge behind an OpenAI-compatible endpoint: ``/v1/chat/completions`` of vLLM, SGLang or a hosted model."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from basereward.data.judging.prompts import JudgePrompt
from basereward.data.outcomes import About, Failure, Judged, JudgeQuestion, Verdict
from basereward.errors import RowError, ScoringError
from basereward.scoring.interface import failure_of
from basereward.scoring.judges.answers import Answered, Usage
from basereward.scoring.judges.chat import chat_message
from basereward.scoring.judges.client import JsonClient, Reply, open_client
from basereward.scoring.judges.options import JudgeOptions
from basereward.scoring.judges.votes import vote

KEY_VARIABLE = "BASEREWARD_JUDGE_KEY"
# If so many answers come first and none is a verdict, none of the others will be one.
FIRST_ANSWERS = 8
_TOO_LONG = ("context length", "context_length", "maximum context", "too long", "too many tokens")


class EndpointJudge:
    """Asks a server, several questions at a time; greedily and with a fixed seed, unless the options say otherwise.

    Several samples are as many requests, because not every server knows ``n``; each has a seed of its own, counted from
    that of the options. A question whose samples are not all answered is a failure: a vote of fewer is another judge.

    Args:
        client: the server; its address ends in ``/v1`` as a rule.
        model: the name under which the server knows the model.
        prompt: how it is asked.
        options: sampling, and how many questions at once.

    Raises:
        ScoringError: several samples without a temperature.
    """

    def __init__(
        self, client: JsonClient, model: str, prompt: JudgePrompt, options: JudgeOptions | None = None
    ) -> None:
        self.client = client
        self.model = model
        self.prompt = prompt
        self.options = options or JudgeOptions()
        if self.options.samples > 1 and self.options.temperature == 0:
            raise ScoringError(
                f"Judge options: {self.options.samples} greedy samples are all the same; give a temperature, or one "
                "sample."
            )
        self._root: str | None = None
        self._unanswered: list[str] = []
        self._has_answered = False

    @property
    def about(self) -> About:
        """The judge, with what is known of what decides a verdict; servers tell no weights, some where they lie."""
        place = {"endpoint": self.client.url, "model": self.model, **({"root": self._root} if self._root else {})}
        votes = {"samples": self.options.samples} if self.options.samples > 1 else {}
        facts = {**place, **self._sampling(), **votes, **self.prompt.identity}
        return About(f"judge:{self.client.url}#{self.model}", sees_images=True, identity=facts)

    def _sampling(self, sample: int = 0) -> dict[str, float]:
        """Return what is sent for a sample."""
        seed = None if self.options.seed is None else self.options.seed + sample
        chosen = {"temperature": self.options.temperature, "seed": seed}
        return {name: value for name, value in chosen.items() if value is not None}

    def check(self) -> None:
        """Find out, in one attempt, that the server is there and takes the key, before anything is read.

        Raises:
            ScoringError: it is not, or does not.
        """
        reply = replace(self.client, attempts=1).send("/models")
        # A server need not list its models.
        if reply.status in (401, 403) or reply.status is None:
            self._refuse(reply)
        # Under one name a server may serve another checkpoint tomorrow, whose verdicts are not those of today.
        self._root = {str(own["id"]): own.get("root") for own in _listed(reply)}.get(self.model)

    def compare(self, questions: Sequence[JudgeQuestion]) -> list[Judged]:
        """Return a verdict or a failure for each question, in order.

        Raises:
            ScoringError: no question could be answered: the key or the model is refused, nobody answers at all, or the
                first answers are all failures.
        """
        judged = {own.number: own.judged for own in self.answers(enumerate(questions))}
        return [judged[place] for place in range(len(questions))]

    def trust(self) -> None:
        """Take it that the server has answered in an earlier call, so that the first answers may all be failures."""
        self._has_answered = True

    def answers(self, questions: Iterable[tuple[int, JudgeQuestion]]) -> Iterator[Answered]:
        """Yield the answers in the order in which they come, with the tokens that the server counted.

        Raises:
            ScoringError: as ``compare``; what was in flight is waited for and yielded before.
        """
        remaining = iter(questions)
        waiting: dict[Future[_Told], int] = {}
        stopped: BaseException | None = None
        with ThreadPoolExecutor(self.options.concurrency) as pool:
            while True:
                # No more than can be asked at once: questions hold images, and nothing queued is lost with an error.
                room = self.options.concurrency - len(waiting) if stopped is None else 0
                waiting |= {pool.submit(self._ask, own): number for number, own in islice(remaining, room)}
                if not waiting:
                    break
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    number, error = waiting.pop(future), future.exception()
                    if error is None:
                        yield Answered(number, *future.result())
                    stopped = stopped or error
        if stopped is not None:
            raise stopped

    def _ask(self, question: JudgeQuestion) -> "_Told":
        """Return the verdict on a question, a vote of all samples; all tokens count, also those before a failure."""
        told: list[_Told] = []
        while len(told) < self.options.samples:
            told.append(self._ask_once(question, len(told)))
            if isinstance(told[-1].judged, Failure):
                return _Told(told[-1].judged, _total(told[:-1] if told[-1].usage is None else told))
        verdicts = [own.judged for own in told if isinstance(own.judged, Verdict)]
        return _Told(vote(verdicts, len(question.responses)), _total(told))

    def _ask_once(self, question: JudgeQuestion, sample: int) -> "_Told":
        try:
            messages = [chat_message(message, question) for message in self.prompt.ask(question)]
        except RowError as error:
            return _Told(failure_of(error), None)
        limit = "max_completion_tokens" if self.options.max_completion_tokens else "max_tokens"
        body = {"model": self.model, "messages": messages, limit: self.prompt.max_tokens, **self._sampling(sample)}
        reply = self.client.send("/chat/completions", body)
        judged = self._read(question, reply.text) if reply.status == 200 else self._failure(reply)
        self._count(judged)
        return _Told(judged, _read_usage(reply) if reply.status == 200 else None)

    def _count(self, judged: Judged) -> None:
        """Stop if the first answers are all failures that the next question would meet too; a long one is its own."""
        if isinstance(judged, Verdict):
            self._has_answered = True
        elif not self._has_answered and judged.reason != "too_long":
            self._unanswered.append(judged.message)
            if len(self._unanswered) >= FIRST_ANSWERS:
                raise ScoringError(
                    f"None of the first {FIRST_ANSWERS} questions got an answer. {self._unanswered[-1]} What is sent "
                    "can be changed by --judge-option max_completion_tokens=...,temperature=...,timeout=..."
                )

    def _read(self, question: JudgeQuestion, text: str) -> Judged:
        try:
            [choice] = json.loads(text)["choices"]
            answer, is_cut_off = _said(choice["message"]), choice.get("finish_reason") == "length"
            return self.prompt.read(question, answer, is_cut_off)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Failure("bad_reply", f"Expected a chat completion with one choice, found {text[:200]!r}.")

    def _failure(self, reply: Reply) -> Failure:
        found = " ".join(reply.text.split())[:300]
        if reply.status is None and not reply.text.startswith("unreachable"):
            return Failure(reply.text.partition(":")[0], f"{self.client.url}: {found}, also when tried again.")
        if reply.status is None or reply.status in (401, 403, 404) or reply.status < 400:
            self._refuse(reply)
        if reply.is_temporary:
            return Failure(
                f"http_{reply.status}", f"{self.client.url} answered {reply.status} again and again: {found}"
            )
        is_long = reply.status == 413 or any(words in reply.text.lower() for words in _TOO_LONG)
        return Failure("too_long" if is_long else "refused", f"{self.client.url} answered {reply.status}: {found}")

    def _refuse(self, reply: Reply) -> NoReturn:
        found = " ".join(reply.text.split())[:300]
        if reply.status in (401, 403):
            given = "the key in" if self.client.key else "no key, because there is none in"
            raise ScoringError(
                f"{self.client.url} refuses access ({reply.status}: {found}); it was sent {given} the environment "
                f"variable {KEY_VARIABLE}."
            )
        if reply.status == 404:
            known = ", ".join(str(own["id"]) for own in _listed(self.client.send("/models"))) or "not told"
            raise ScoringError(
                f"{self.client.url} knows no model {self.model!r}, or no /chat/completions (404: {found}). Expected "
                f"judge:URL#MODEL with an address that ends in /v1 as a rule; its models: {known}."
            )
        if reply.status is None:
            raise ScoringError(
                f"{self.client.url} cannot be asked: {found}. Start the server and give the command again; eval goes "
                "on with --resume."
            )
        raise ScoringError(
            f"{self.client.url} answered {reply.status} (to {reply.headers.get('Location', 'nowhere')}), which is not "
            "followed; give the address behind it."
        )


def open_endpoint(spec: str, prompt: JudgePrompt, options: JudgeOptions) -> EndpointJudge:
    """Return the judge of ``http://host:port/v1#model``, once it is known to answer.

    The key is read from the environment variable ``BASEREWARD_JUDGE_KEY``.

    Raises:
        ScoringError: the address names no model or holds a password, the key cannot be sent, or the server does not
            answer or take it.
    """
    url, _, model = spec.partition("#")
    form, given = "judge:http://HOST:PORT/v1#MODEL", f"judge:{spec}"
    if not model:
        raise ScoringError(f"Expected {form}, found {given!r}.")
    client = open_client(form, given, url, KEY_VARIABLE, timeout=options.timeout, attempts=options.attempts)
    judge = EndpointJudge(client, model, prompt, options)
    judge.check()
    return judge


class _Told(NamedTuple):
    """An answer, and what it took."""

    judged: Judged
    usage: Usage | None


def _total(told: Sequence[_Told]) -> Usage | None:
    """Return the tokens of several answers; None if those of any of them are not known."""
    known = [own.usage for own in told if own.usage is not None]
    if not known or len(known) < len(told):
        return None
    return Usage(sum(own.prompt_tokens for own in known), sum(own.completion_tokens for own in known))


def _said(message: Mapping[str, Any]) -> str:
    """Return what a message says; thoughts that a server keeps apart stand before it, as the model wrote them.

    Where there are only thoughts, the content is empty.
    """
    content = message["content"] or ""
    thought = message.get("reasoning_content") or message.get("reasoning")
    is_apart = isinstance(thought, str) and thought.strip() and "</think>" not in content
    return f"<think>{thought}</think>{content}" if is_apart else content


def _read_usage(reply: Reply) -> Usage | None:
    """Return the tokens of a reply; None if it does not tell both as numbers."""
    try:
        told = json.loads(reply.text)["usage"]
        return Usage(int(told["prompt_tokens"]), int(told["completion_tokens"]))
    except (ValueError, KeyError, TypeError):
        return None


def _listed(reply: Reply) -> list[dict[str, Any]]:
    """Return the models that a server names, each with an ``id``; none if it names none, or in another form."""
    try:
        return [own for own in json.loads(reply.text)["data"] if "id" in own]
    except (ValueError, KeyError, TypeError):
        return []
