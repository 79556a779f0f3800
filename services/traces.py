"""Decides what is measured of stages: the time of each, and a span for the share of requests that is sampled.

Nothing of OpenTelemetry is imported before a `Tracing` is opened; without one a stage costs two looks at the clock.
"""

import contextlib
import contextvars
import dataclasses
import time
import types
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Protocol, Self

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services import logs
from services.tallies import Series

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

Stage = Literal["batch", "history", "user_vector", "retrieval", "ranking", "respond"]

TRACES = "/v1/traces"  # the path of OTLP over HTTP
EXPORT_SECONDS = 3.0  # a collector that is down may hold up the end of the process no longer
PARENT_HEADERS = (b"traceparent", b"tracestate")
_NOTHING: AbstractContextManager[None] = contextlib.nullcontext()


@dataclasses.dataclass(frozen=True)
class Parent:
    """A span that is being recorded; may be handed to any thread."""

    tracer: "Tracer"
    context: "Context"

    @classmethod
    def of(cls, tracer: "Tracer", span: "Span") -> Self:
        """The parent of what happens within a span."""
        from opentelemetry.trace import set_span_in_context

        return cls(tracer, set_span_in_context(span))


class Measures(Protocol):
    """Whoever is told how long stages take."""

    stages: Mapping[str, Series]

    def batch(self, waited_seconds: Sequence[float]) -> None:
        """Is told of requests that are answered together, and how long each has waited."""
        ...


# Set once a request and never reset, see logs.REQUEST_ID.
MEASURES: contextvars.ContextVar[Measures | None] = contextvars.ContextVar("measures", default=None)
_PARENT: contextvars.ContextVar[Parent | None] = contextvars.ContextVar("parent_span", default=None)


def current() -> Parent | None:
    """The innermost span of this request, to be given to `span` in another thread; None if it is not recorded."""
    return _PARENT.get()


def span(name: Stage, parent: Parent | None = None) -> AbstractContextManager[None]:
    """Measures what happens inside `with` for the MEASURES of this context, and records it below `parent`, else below
    the innermost span of this context.

    Threads of FastAPI's own pool have the context of their request; any other needs the parent.
    """
    parent, measures = parent or _PARENT.get(), MEASURES.get()
    if parent is None:
        return _NOTHING if measures is None else _Measured(measures.stages[name])
    return _Stage(name, parent, measures)


class _Measured(AbstractContextManager[None]):
    """One stage that is measured only."""

    __slots__ = ("_series", "_started")

    def __init__(self, series: Series) -> None:
        self._series = series

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._series.observe(time.perf_counter() - self._started)


class _Stage(AbstractContextManager[None]):
    """One span, also the parent of those inside it."""

    def __init__(self, name: str, parent: Parent, measures: Measures | None) -> None:
        self._name, self._parent = name, parent
        self._measured = _NOTHING if measures is None else _Measured(measures.stages[name])

    def __enter__(self) -> None:
        self._measured.__enter__()
        self._span = self._parent.tracer.start_span(self._name, self._parent.context)
        self._token = _PARENT.set(Parent.of(self._parent.tracer, self._span))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        _PARENT.reset(self._token)
        _end(self._span, kind)
        self._measured.__exit__(kind, error, trace)


class Tracing:
    """The spans of one process, from their making to their sending."""

    def __init__(self, processor: "SpanProcessor", ratio: float, version: str) -> None:
        """`ratio` is the share of requests recorded among those whose caller does not decide it by its traceparent."""
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

        resource = Resource.create({"service.name": "nearfeed", "service.version": version})
        sampler = ParentBasedTraceIdRatio(ratio)
        self._provider: TracerProvider = TracerProvider(sampler, resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self.tracer: Tracer = self._provider.get_tracer("services")

    @classmethod
    def to(cls, endpoint: str, ratio: float, version: str) -> Self:
        """Sends to a collector in batches, from a thread; `endpoint` is its base, as http://collector:4318."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        address = endpoint.rstrip("/").removesuffix(TRACES) + TRACES
        return cls(BatchSpanProcessor(OTLPSpanExporter(address, timeout=EXPORT_SECONDS)), ratio, version)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


class Traced:
    """Records a sampled request as a span that continues the caller's, named by its route; no address, no input."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app, self._tracer, self._kind = app, tracing.tracer, SpanKind.SERVER
        self._propagator, self._no_caller = TraceContextTextMapPropagator(), Context()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._start(scope)
        if not started.is_recording():
            await self._app(scope, receive, send)
            return
        await self._record(started, scope, receive, send)

    def _start(self, scope: Scope) -> "Span":
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in PARENT_HEADERS}
        caller = self._propagator.extract(headers, self._no_caller)
        return self._tracer.start_span("request", caller, self._kind)

    async def _record(self, started: "Span", scope: Scope, receive: Receive, send: Send) -> None:
        async def send_noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.set_attribute("http.response.status_code", message["status"])
            await send(message)

        token = _PARENT.set(Parent.of(self._tracer, started))
        failed: type[BaseException] | None = None
        try:
            await self._app(scope, receive, send_noting_status)
        except BaseException as error:
            failed = type(error)
            raise
        finally:
            _PARENT.reset(token)
            _describe(started, scope)
            _end(started, failed)


def _describe(started: "Span", scope: Scope) -> None:
    method, template = logs.known_method(scope["method"]), scope["state"].get("template", "unmatched")
    started.update_name(f"{method} {template}")
    started.set_attribute("http.request.method", method)
    started.set_attribute("http.route", template)
    started.set_attribute("nearfeed.request_id", scope["state"]["request_id"])


def _end(ended: "Span", failed: type[BaseException] | None) -> None:
    """Ends a span. Of an error only its type is told: its message may quote what somebody sent."""
    if failed is not None:
        from opentelemetry.trace import Status, StatusCode

        ended.set_status(Status(StatusCode.ERROR))
        ended.set_attribute("error.type", failed.__qualname__)
    ended.end()
