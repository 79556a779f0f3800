"""Decides how the service is put together: settings in, application out, nothing done before it starts."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import services
from services.engine import Engine
from services.errors import add_error_handlers
from services.metrics import Metrics
from services.middleware import RequestEnvelope
from services.readiness import Readiness
from services.routes import router
from services.settings import Settings


def create_app(settings: Settings, clock: Callable[[], float] = time.time) -> FastAPI:
    """The application; `clock` gives seconds since the epoch. The release is loaded once the server has started."""
    # The pages of /docs come from this process: a service behind a firewall has no CDN.
    app = FastAPIOffline(
        redoc_url=None,
        title="Nearfeed",
        version=services.__version__,
        description="Recommendations from a verified release, in candidate order: no events come in over HTTP yet.",
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.clock = clock
    app.state.metrics = Metrics()
    app.state.readiness = Readiness()
    app.add_middleware(RequestEnvelope, metrics=app.state.metrics, max_body_bytes=settings.max_body_bytes)
    add_error_handlers(app)
    app.include_router(router)
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Loads the release in a thread beside the running server, and waits for that thread at the end."""
    loading = asyncio.create_task(asyncio.to_thread(app.state.readiness.load, app.state.settings))
    yield
    await loading
    if isinstance(app.state.readiness.state, Engine):
        await asyncio.to_thread(app.state.readiness.state.close)
