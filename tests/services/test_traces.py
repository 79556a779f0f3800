"""What is traced of a request, told by OpenTelemetry's own exporter in memory."""

import dataclasses
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from fastapi import FastAPI
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from services import traces
from services.app import create_app
from services.engine import Engine
from services.recommender import Recommender
from services.release import Release
from services.settings import Settings
from services.traces import Tracing, span

Call = Callable[..., httpx.Response]
MakeTraced = Callable[..., FastAPI]
PATH = "/v1/recommendations"
# The example of W3C Trace Context, section 3.2: sampled, and the same not sampled.
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, NOT_SAMPLED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def make_traced(
    exporter: InMemorySpanExporter, loaded: Release, engine_of: Callable[[Recommender], Engine]
) -> MakeTraced:
    def make(ratio: float = 1.0, **changes: object) -> FastAPI:
        tracing = Tracing(SimpleSpanProcessor(exporter), ratio, "0.1.0")
        app = create_app(Settings(release="unread", threads=1), tracing=tracing)
        recommender = Recommender(dataclasses.replace(loaded, **changes))  # type: ignore[arg-type]
        app.state.readiness.state = engine_of(recommender)
        return app

    return make


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {ended.name: ended for ended in exporter.get_finished_spans()}


def parent_id(ended: ReadableSpan) -> int | None:
    return None if ended.parent is None else ended.parent.span_id


def test_a_request_and_its_stages(make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call) -> None:
    answer = call(make_traced(), "POST", PATH, json={"recent_article_ids": ["a"]})
    assert answer.status_code == 200
    spans = by_name(exporter)
    request = spans.pop(f"POST {PATH}")
    batch = spans.pop("batch")
    assert set(spans) == {"history", "user_vector", "retrieval", "ranking", "respond"}
    assert parent_id(batch) == parent_id(spans.pop("respond")) == request.context.span_id
    assert {parent_id(stage) for stage in spans.values()} == {batch.context.span_id}
    assert (request.parent, request.kind) == (None, SpanKind.SERVER)
    assert request.attributes == {
        "http.response.status_code": 200,
        "http.request.method": "POST",
        "http.route": PATH,
        "nearfeed.request_id": answer.headers["x-request-id"],
    }
    assert request.resource.attributes["service.name"] == "nearfeed"
    assert request.resource.attributes["service.version"] == "0.1.0"


def test_the_trace_of_the_caller_goes_on(make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call) -> None:
    call(make_traced(ratio=0.0), "GET", "/version", headers={"traceparent": SAMPLED, "tracestate": "a=b"})
    (request,) = exporter.get_finished_spans()
    assert f"{request.context.trace_id:032x}" == TRACE
    assert request.context.trace_state == {"a": "b"}
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == CALLER


def test_a_caller_that_does_not_record_decides_that_too(
    make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call
) -> None:
    assert call(make_traced(), "POST", PATH, json={}, headers={"traceparent": NOT_SAMPLED}).status_code == 200
    assert exporter.get_finished_spans() == ()


@pytest.mark.parametrize("header", ["", "x", "00-0-0-01", f"ff-{TRACE}-{CALLER}-01", f"00-{'0' * 32}-{CALLER}-01"])
def test_a_broken_header_begins_a_trace(
    make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call, header: str
) -> None:
    assert call(make_traced(), "GET", "/version", headers={"traceparent": header}).status_code == 200
    (request,) = exporter.get_finished_spans()
    assert request.parent is None


def test_the_ratio_decides_how_many(make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call) -> None:
    app = make_traced(ratio=0.25)
    for _ in range(200):
        call(app, "GET", "/healthz")
    # 50 expected, 6.1 standard deviation
    assert 20 <= len(exporter.get_finished_spans()) <= 80
    exporter.clear()
    none = make_traced(ratio=0.0)
    for _ in range(20):
        call(none, "GET", "/healthz")
    assert exporter.get_finished_spans() == ()


def test_no_input_is_traced(make_traced: MakeTraced, exporter: InMemorySpanExporter, call: Call) -> None:
    class Chatty:
        def fill(self, _k: int, region_id: str | None, _eligible: object) -> None:
            raise ValueError(f"nothing popular in {region_id}")

    app = make_traced(popularity=Chatty())
    body = {"user_id": "user-7f3a", "region_id": "region-91bc", "recent_article_ids": ["article-55de"]}
    assert call(app, "POST", f"{PATH}?q=query-secret", json=body).status_code == 500
    call(app, "GET", "/v1/articles/article-55de/similar")
    call(app, "SECRET", "/user-7f3a")
    spans = by_name(exporter)
    told = "".join(ended.to_json() for ended in exporter.get_finished_spans())
    assert [word for word in ("7f3a", "91bc", "55de", "secret", "SECRET", "popular in") if word in told] == []
    for name in ("retrieval", f"POST {PATH}"):
        assert spans[name].status.status_code == StatusCode.ERROR
        assert spans[name].status.description is None
        assert (spans[name].attributes or {})["error.type"] == "ValueError"
    assert "OTHER unmatched" in spans


def test_a_refused_request_is_not_traced(exporter: InMemorySpanExporter, call: Call) -> None:
    settings = Settings(release="unread", threads=1, per_second=0.01, burst=1)
    app = create_app(settings, tracing=Tracing(SimpleSpanProcessor(exporter), 1.0, "0.1.0"))
    assert [call(app, "GET", "/version").status_code for _ in range(2)] == [200, 429]
    assert len(exporter.get_finished_spans()) == 1


def test_another_thread_is_given_the_parent(exporter: InMemorySpanExporter) -> None:
    tracing = Tracing(SimpleSpanProcessor(exporter), 1.0, "0.1.0")
    outer = traces.Parent.of(tracing.tracer, tracing.tracer.start_span("outer"))

    def work(parent: traces.Parent | None) -> None:
        assert traces.current() is None
        with span("retrieval", parent), span("ranking"):
            pass
        with span("respond"):
            pass

    with span("history", outer):
        worker = threading.Thread(target=work, args=(traces.current(),))
        worker.start()
        worker.join()
    assert traces.current() is None
    spans = by_name(exporter)
    assert set(spans) == {"history", "retrieval", "ranking"}
    assert parent_id(spans["retrieval"]) == spans["history"].context.span_id
    assert parent_id(spans["ranking"]) == spans["retrieval"].context.span_id


def test_a_collector_that_never_answers_holds_up_the_end_for_seconds_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracing = Tracing.to(f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces", 1.0, "0.1.0")
        tracing.tracer.start_span("request").end()
        started = time.monotonic()
        tracing.close()
    assert time.monotonic() - started < 8


def test_without_tracing_a_stage_is_nothing() -> None:
    first, second = span("history"), span("ranking")
    assert first is second
    with first, second:
        assert traces.current() is None


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    program = (
        "import sys; from services.app import create_app; from services.settings import Settings;"
        "create_app(Settings(release='r', threads=1));"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
