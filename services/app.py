"""Decides how the service is put together: settings in, application out, nothing done before it starts."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import services
from services import admin, article_routes, feed_routes, intake, ruling
from services.access import Access
from services.answered import AnswerLog
from services.direct import Shortcut
from services.errors import add_error_handlers
from services.guard import Guard
from services.headers import SecurityHeaders, docs_page, docs_policy
from services.keys import Keys
from services.limits import Limits, Rate
from services.metrics import Metrics
from services.middleware import RequestEnvelope
from services.openapi import describe_keys
from services.readiness import Readiness
from services.routes import router
from services.settings import Settings
from services.stores import open_store
from services.traces import Traced, Tracing


def create_app(settings: Settings, clock: Callable[[], float] = time.time, tracing: Tracing | None = None) -> FastAPI:
    """The application; `clock` gives seconds since the epoch. The release is loaded once the server has started.

    `tracing` takes the place of what the settings say about it. Raises KeyFileError and
    RulesFileError (both ValueError).
    """
    # The pages of /docs come from this process: a service behind a firewall has no CDN.
    app = FastAPIOffline(
        redoc_url=None,
        title="Nearfeed",
        version=services.__version__,
        description="Recommendations from a verified release.",
        lifespan=_lifespan,
        # FastAPI's own spans hold paths and queries, and its logs messages; a variable alone would send them.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.settings = settings
    app.state.clock = clock
    app.state.metrics = Metrics()
    app.state.readiness = Readiness(app.state.metrics)
    app.state.ruling = ruling.Ruling(ruling.RulesFile() if settings.rules is None else ruling.read(settings.rules))
    app.state.store = None
    app.state.tracing = tracing or _tracing(settings)
    access = Access(settings.protect_metrics)
    _surround(app, access)
    add_error_handlers(app)
    app.include_router(router)
    app.include_router(feed_routes.router)
    app.include_router(intake.router)
    app.include_router(article_routes.router)
    app.include_router(admin.router)
    if settings.keys is not None:
        describe_keys(app, access)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the release in a thread beside the running server, and waits for that thread at the end."""
    settings, readiness = app.state.settings, app.state.readiness
    app.state.store = None if settings.store is None else open_store(settings.store)
    if app.state.store is not None and settings.log_answers:
        readiness.answers = AnswerLog(app.state.store, settings.log_answers, app.state.metrics.registry)
    loading = asyncio.create_task(asyncio.to_thread(readiness.run, settings, app.state.store))
    yield
    readiness.end()
    await loading
    await asyncio.to_thread(readiness.close)
    if app.state.store is not None:
        await asyncio.to_thread(app.state.store.close)
    if app.state.tracing is not None:
        await asyncio.to_thread(app.state.tracing.close)


def _surround(app: FastAPI, access: Access) -> None:
    """Puts around the routes, from the inside out: traces, who is let in, and what every answer has."""
    settings, metrics = app.state.settings, app.state.metrics
    app.add_middleware(Shortcut, routes=router.routes, handlers=app.exception_handlers)
    if app.state.tracing is not None:
        app.add_middleware(Traced, tracing=app.state.tracing)
    keys = None if settings.keys is None else Keys(settings.keys, app.state.clock, metrics.key_file_broken)
    app.add_middleware(
        Guard,
        access=access,
        keys=keys,
        limits=Limits(settings.max_buckets),
        rate=None if settings.per_second is None else Rate.of(settings.per_second, settings.burst),
        metrics=metrics,
    )
    app.add_middleware(
        RequestEnvelope,
        metrics=metrics,
        max_body_bytes=settings.max_body_bytes,
        headers=SecurityHeaders(docs_policy(docs_page())),
        access_log=settings.access_log,
    )


def _tracing(settings: Settings) -> Tracing | None:
    if settings.otlp_endpoint is None:
        return None
    return Tracing.to(settings.otlp_endpoint, settings.trace_ratio, services.__version__)
