"""A model with everything that stands around it on a server, whatever the protocol: reader, batches, counters."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from PIL import Image
from pydantic import BaseModel

from basereward.data.outcomes import About, Failure
from basereward.data.schema import Response, ResponseGroup, messages_from_text
from basereward.errors import ScoringError, TemplateError
from basereward.scoring.compose.calibrated import Calibrated
from basereward.scoring.compose.specs import NO_MEMBER, NO_ROUTE
from basereward.scoring.interface import Judge, Scorer
from basereward.serving.admission import Admission
from basereward.serving.batcher import Batcher
from basereward.serving.dialects import openrlhf, vllm
from basereward.serving.engines import Asked, CalibratedEngine, Engine, JudgeEngine, Outcome, ScorerEngine, StepScorer
from basereward.serving.fetching import Fetcher
from basereward.serving.forms import Form, Served, parse_body
from basereward.serving.metrics import Metrics
from basereward.serving.native import COMPARE, SCORE
from basereward.serving.records import RequestReader
from basereward.serving.rendered import RenderedReader
from basereward.serving.settings import ServeSettings
from basereward.serving.wire import ModelCard

SCORER_FORMS = (SCORE, *vllm.FORMS, *openrlhf.FORMS)
JUDGE_FORMS = (COMPARE,)
_WARM_SIDE = 112


class Service:
    """Answers requests of any form with one model.

    Args:
        model: what scores or judges.
        name: what the model is called on the network.
        settings: sizes and times.
        fetcher: fetches images from the web; by default from the hosts of the settings.
    """

    def __init__(
        self, model: Scorer | Judge, name: str, settings: ServeSettings, fetcher: Fetcher | None = None
    ) -> None:
        self.settings = settings
        self.is_judge = hasattr(model, "compare")
        engine = JudgeEngine(model) if self.is_judge else engine_of(model, settings)  # type: ignore[arg-type]
        limits = settings.limits
        reader = RequestReader(limits, fetcher or Fetcher(settings.url_hosts, limits.max_image_bytes))
        self.forms: Sequence[Form] = JUDGE_FORMS if self.is_judge else SCORER_FORMS
        self.served = Served(_card(engine.about, name, self.is_judge), reader, _rendered(engine))
        self.metrics = Metrics()
        self.admission = Admission(settings.max_requests, settings.max_pending_bytes)
        self.batcher = Batcher(engine, settings.threads, self.metrics.count_batch, settings.company)
        self.metrics.watch("in_flight", "Requests that are read, queued or computed.", lambda: self.admission.requests)
        self.metrics.watch("queued", "Units that are ready to be computed.", self.batcher.waiting)

    def warm_up(self) -> None:
        """Score something, so that the first request finds memory and kernels ready; a judge is not asked.

        Raises:
            ScoringError: the model gives no score.
        """
        if self.is_judge:
            return
        images = (_picture(),) if self.batcher.engine.about.sees_images else ()
        # Two, as a vote on one is none.
        texts = ("A colour.", "A grey square.")
        answers = tuple(Response(text, messages_from_text(text, "assistant")) for text in texts)
        group = ResponseGroup("warm-up", messages_from_text("What is this?", images=len(images)), answers, images)
        outcome, _ = self.batcher.submit(group).result()
        # A router or an ensemble may have members for the prompts of its clients and none for this one.
        if isinstance(outcome, Failure) and outcome.reason not in (NO_ROUTE, NO_MEMBER):
            raise ScoringError(f"The model cannot score even a short text: {outcome.reason}: {outcome.message}")

    async def answer(self, form: Form, body: bytes) -> BaseModel:
        """Return the answer to a request.

        Raises:
            RequestError: it is answered with an error.
        """
        loop = asyncio.get_running_loop()
        with self.batcher.expect():
            sent, items = await loop.run_in_executor(self.batcher.pool, self._read, form, body)
            futures = {
                place: asyncio.wrap_future(self.batcher.submit(item))
                for place, item in enumerate(items)
                if not isinstance(item, Failure)
            }
        return form.write(self.served, sent, await self._gather(items, futures))

    def stop(self) -> None:
        """End the threads."""
        self.batcher.stop()

    def _read(self, form: Form, body: bytes) -> tuple[Any, Sequence[Asked | Failure]]:
        sent = parse_body(form.sent, body)
        return sent, form.read(self.served, sent)

    async def _gather(
        self, items: Sequence[Asked | Failure], futures: Mapping[int, asyncio.Future[list[Outcome]]]
    ) -> list[list[Outcome]]:
        """Return the outcomes of each item; what could not be read has one: why.

        Cancelled, it takes back everything that has not been computed.
        """
        computed = dict(zip(futures, await asyncio.gather(*futures.values()), strict=True))
        outcomes: list[list[Outcome]] = [
            [item] if isinstance(item, Failure) else computed[place] for place, item in enumerate(items)
        ]
        for own in outcomes:
            self.metrics.count_outcomes(own)
        return outcomes


def fingerprint(about: About) -> str | None:
    """Return one hash of everything that decides what a model says, None if it does not tell."""
    if about.identity is None:
        return None
    return hashlib.sha256(json.dumps(about.identity, sort_keys=True).encode()).hexdigest()


def _card(about: About, name: str, is_judge: bool) -> ModelCard:
    record = about.data_record
    return ModelCard(
        id=name,
        kind="judge" if is_judge else "scorer",
        sees_images=about.sees_images,
        writes=about.writes,
        fingerprint=fingerprint(about),
        identity=None if about.identity is None else dict(about.identity),
        data_record=None if record is None else record.model_dump(mode="json"),
        compares=about.compares,
        partial=None if about.partial is None else dict(about.partial),
    )


def _rendered(engine: Engine) -> RenderedReader | None:
    """Return the reader of texts of a model's chat template, None if it has none that can be read back."""
    try:
        return RenderedReader(engine.template) if engine.template else None
    except TemplateError:
        return None


def _picture() -> dict[str, Any]:
    file = BytesIO()
    Image.new("RGB", (_WARM_SIDE, _WARM_SIDE), "grey").save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def engine_of(scorer: Scorer, settings: ServeSettings) -> Engine:
    """Return what computes with a scorer."""
    if isinstance(scorer, Calibrated):
        return CalibratedEngine(engine_of(scorer.scorer, settings), scorer)
    if not isinstance(scorer, StepScorer):
        return ScorerEngine(scorer)
    # Imported here, because other scorers need no torch.
    from basereward.serving.rows import RowEngine

    return RowEngine(scorer, settings)  # type: ignore[arg-type]
