"""What a server counts, for Prometheus; it counts reasons and times, never what was asked."""

from collections.abc import Callable, Iterable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from basereward.data.outcomes import Failure
from basereward.serving.batcher import Batch
from basereward.serving.engines import Outcome

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        seconds = partial(Histogram, registry=self._registry, buckets=_SECONDS)
        self.requests = counter("basereward_requests", "Requests answered.", ["path", "status"])
        self.outcomes = counter("basereward_outcomes", "Scores and verdicts, and reasons for none.", ["outcome"])
        self.abandoned = counter("basereward_abandoned", "Requests whose client left before the answer.")
        self.units = counter("basereward_units", "Groups, parts of groups or questions computed.")
        self.batches = counter("basereward_batches", "Batches computed.")
        self.tokens = counter("basereward_tokens", "Tokens computed, shared prompts once.")
        self.seconds = seconds("basereward_request_seconds", "From the head of a request to its answer.")
        self.waited = seconds("basereward_queue_seconds", "How long the oldest unit of a batch waited.")
        self.batch_seconds = seconds("basereward_batch_seconds", "How long a batch was computed.")

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when it is asked for."""
        Gauge(f"basereward_{name}", text, registry=self._registry).set_function(value)

    def count_batch(self, batch: Batch) -> None:
        """Count what was computed together."""
        self.batches.inc()
        self.units.inc(batch.units)
        self.tokens.inc(batch.tokens)
        self.waited.observe(batch.waited)
        self.batch_seconds.observe(batch.seconds)

    def count_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Count scores and verdicts, and failures by reason."""
        for outcome in outcomes:
            self.outcomes.labels(outcome.reason if isinstance(outcome, Failure) else "ok").inc()

    def text(self) -> bytes:
        """Return everything in Prometheus' form."""
        return generate_latest(self._registry)
