"""Traces of batches for OpenTelemetry: what was done, when, and because of what, from the broker's read to SkyPortal.

Without ``telemetry.otlp_endpoint`` nothing of OpenTelemetry is imported, and spans cost next to nothing. What belongs together is told by a
context, a text (W3C's ``traceparent``) that goes with the batch to the worker, and with the entries of the outbox to the poster.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, NamedTuple

from kowalski.log import get_logger
from kowalski.metrics_section import Telemetry

log = get_logger(__name__)

#: field of an outbox entry that holds the context in which it was made
CONTEXT = "telemetry"
#: s that the receiver of spans has to take some, and that a program which ends waits for it
TIMEOUT, GRACE = 5.0, 3.0


class Here(NamedTuple):
    """A span: ``context`` is for those that are to be below it; None: there is no span."""

    context: str | None
    span: Any = None

    def note(self, **attributes: Any) -> None:
        """Say more about what is done."""
        if self.span is not None:
            self.span.set_attributes(attributes)


NOWHERE = Here(None)
_tracer: Any = None
_provider: Any = None


def begin(program: str, settings: Telemetry) -> None:
    """Spans of this process are sent, if the settings say where to."""
    global _tracer, _provider
    if settings.otlp_endpoint is None or _provider is not None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT)
    resource = Resource.create({"service.name": "kowalski", "service.instance.id": program})
    _provider = TracerProvider(
        resource=resource, shutdown_on_exit=False
    )  # which would wait for a receiver that is away
    _provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000))
    _tracer = _provider.get_tracer("kowalski")
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    log.info("spans go to %s", settings.otlp_endpoint)


def end() -> None:
    """What was recorded is sent, unless the receiver does not take it in time; nothing is recorded any more."""
    global _tracer, _provider
    provider, _tracer, _provider = _provider, None, None
    if provider is not None:
        sending = threading.Thread(target=provider.force_flush, args=(int(1000 * GRACE),), daemon=True)
        sending.start()
        sending.join(GRACE)


def span(
    name: str, context: str | None = None, since: datetime | None = None, **attributes: Any
) -> AbstractContextManager[Here]:
    """What is done meanwhile is a span of that name, below the one of the context.

    Parameters
    ----------
    since : when it began; None: now
    attributes : what it is about; None is left out
    """
    return nullcontext(NOWHERE) if _tracer is None else _recorded(name, context, since, attributes)


@contextmanager
def _recorded(name: str, above: str | None, since: datetime | None, attributes: dict[str, Any]) -> Iterator[Here]:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    parent = propagator.extract({"traceparent": above}, Context()) if above else Context()
    start = int(since.timestamp() * 1e9) if since else None
    about = {key: value for key, value in attributes.items() if value is not None}
    with _tracer.start_as_current_span(name, context=parent, start_time=start, attributes=about) as made:
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        yield Here(carrier.get("traceparent"), made)


def marked(entries: Iterable[dict[str, Any]], context: str | None) -> list[dict[str, Any]]:
    """Entries of the outbox with the context in which they are made, if there is one."""
    return [*entries] if context is None else [{**entry, CONTEXT: context} for entry in entries]
