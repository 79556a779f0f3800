"""Decides how articles come in and go over HTTP: kept in the store first, searchable a moment later."""

import contextlib

from fastapi import APIRouter, Request, Response
from pydantic_core import to_json

from services import schemas
from services.batcher import OverloadedError
from services.bodies import JsonRoute
from services.catalogue import UNKNOWN
from services.engine import Engine
from services.incoming import AcceptedArticle, IncomingArticle
from services.intake import append
from services.readiness import NotReady
from services.routes import ERRORS, now
from services.store import Record

router = APIRouter(route_class=JsonRoute)


@router.put("/v1/articles/{article_id:path}", status_code=202, response_model=AcceptedArticle, responses=ERRORS)
async def put_article(article_id: schemas.Id, request: Request, body: IncomingArticle) -> Response:
    """Puts an article on offer, or says anew all that is known of one. Once answered it cannot be lost; it is
    searchable in every process within a second, without training. What is not given is not known of it any more.
    """
    moment, engine = now(request), _engine(request)
    record = body.record(article_id, moment, None if engine is None else _created(engine, article_id))
    await append(request, [record])
    told = {"request_id": request.state.request_id, "article_id": article_id}
    return Response(to_json(told), 202, media_type="application/json")


@router.delete("/v1/articles/{article_id:path}", status_code=204, responses=ERRORS)
async def delete_article(article_id: schemas.Id, request: Request) -> Response:
    """Takes an article off offer: it is in no answer of this process any more, and within a moment in none of another.
    An article that nobody knows is no error.
    """
    moment, engine = now(request), _engine(request)
    record = Record("removal", moment, {"article_id": article_id})
    await append(request, [record])
    if engine is not None:
        # Where the service is ending, the log tells the next one.
        with contextlib.suppress(OverloadedError):
            await engine.remove(article_id)
    return Response(status_code=204)


def _engine(request: Request) -> Engine | None:
    state = request.app.state.readiness.state
    return None if isinstance(state, NotReady) else state


def _created(engine: Engine, article_id: str) -> int | None:
    """When an article came that is known already (microseconds)."""
    catalogue = engine.recommender.release.catalogue
    row = catalogue.row(article_id)
    created = UNKNOWN if row is None else int(catalogue.created[row])
    return None if created == UNKNOWN else created
