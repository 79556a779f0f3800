"""Decides which calls there are, and how each meets the recommender."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic_core import to_json

import services
from services import readings, recommender, schemas
from services.answers import Answer, Item
from services.batcher import OverloadedError
from services.bodies import JsonRoute
from services.cases import Request as Question
from services.direct import DirectRoute
from services.engine import Engine
from services.readiness import NotReady
from services.requested import places, question
from services.traces import span

CANDIDATE_ORDER = "candidate order: the ranking stage needs a store and a release that has a ranking model"
RANKED = "order of the ranking model"

router = APIRouter(route_class=JsonRoute)


def ready_engine(request: Request) -> Engine:
    """What answers at present; 503 with Retry-After while nothing can."""
    state = request.app.state.readiness.state
    if isinstance(state, NotReady):
        raise unavailable(request, f"not ready: {state.reason}")
    assert isinstance(state, Engine)
    return state


Answering = Annotated[Engine, Depends(ready_engine)]
ERRORS: dict[int | str, dict[str, Any]] = {
    422: {"model": schemas.ErrorAnswer, "description": "Bad input, with the field's name"},
    503: {"model": schemas.ErrorAnswer, "description": "Not ready, or overloaded; see Retry-After"},
}


async def recommend(request: Request, body: schemas.RecommendationRequest) -> Response:
    """Recommends articles for a history of views: that which the request brings in `recent_article_ids`, or else what
    the service knows of `user_id`. Who has none is answered from what is viewed now, what is new and what is popular.
    """
    engine = ready_engine(request)
    asked = question(request, body, engine, now(request))
    return respond(request, asked, await answered(request, engine, asked))


router.routes.append(
    DirectRoute(
        "/v1/recommendations",
        recommend,
        methods=["POST"],
        response_model=schemas.Recommendations,
        responses=ERRORS,
    )
)


@router.get(
    "/v1/articles/{article_id:path}/similar",
    responses={**ERRORS, 404: {"model": schemas.ErrorAnswer, "description": "The release does not know the article"}},
)
async def similar(
    article_id: schemas.Id, request: Request, answering: Answering, k: Annotated[schemas.K, Query()] = schemas.DEFAULT_K
) -> schemas.SimilarArticles:
    """The articles on offer whose vectors are nearest to this article's, without itself. Any id works, also one with
    slashes; percent-encode what a path cannot hold.
    """
    try:
        items = await answering.similar(article_id, k, now(request))
    except recommender.UnknownArticleError as error:
        raise HTTPException(404, str(error)) from error
    except OverloadedError as error:
        raise overloaded(request, error) from error
    return schemas.SimilarArticles(
        request_id=request.state.request_id,
        release_id=answering.recommender.release.id,
        article_id=article_id,
        items=_places(items),
    )


@router.get("/healthz")
async def healthz() -> schemas.Health:
    """Alive: the process answers. Says nothing about the release."""
    return schemas.Health()


@router.get("/readyz", responses={503: {"model": schemas.ReadinessAnswer, "description": "Not ready, and why"}})
async def readyz(request: Request, response: Response) -> schemas.ReadinessAnswer:
    """Ready: the release is loaded and verified, and answers as it did when it was built."""
    state = request.app.state.readiness.state
    if isinstance(state, NotReady):
        response.status_code = 503
        response.headers["Retry-After"] = str(request.app.state.settings.retry_after_seconds)
        return schemas.ReadinessAnswer(ready=False, release_id=None, reason=state.reason)
    return schemas.ReadinessAnswer(ready=True, release_id=state.recommender.release.id, reason=None)


@router.get("/version")
async def version(request: Request) -> schemas.Version:
    """The version of the service, the commit it was built from, the release that answers, and the stages it has."""
    state = request.app.state.readiness.state
    is_ranked = isinstance(state, Engine) and state.recommender.is_ranked
    return schemas.Version(
        version=services.__version__,
        commit=request.app.state.settings.commit,
        release_id=_release_id(request),
        stages={"candidates": "two_tower", "ranking": "mmoe" if is_ranked else None},
        answers=RANKED if is_ranked else CANDIDATE_ORDER,
    )


@router.get("/metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Figures for Prometheus, see docs/metrics.md."""
    app = request.app.state
    return Response(app.metrics.exposition(readings.read(app.readiness, app.store)), media_type=CONTENT_TYPE_LATEST)


async def answered(request: Request, engine: Engine, asked: Question) -> Answer:
    """The engine's answer, counted; 503 where there is no time for it."""
    try:
        answer = await engine.recommend(asked)
    except OverloadedError as error:
        raise overloaded(request, error) from error
    request.app.state.metrics.answer(answer)
    return answer


def respond(request: Request, asked: Question, answer: Answer, **more: Any) -> Response:
    """An answer as it goes out, with `more` fields behind those that every answer has."""
    with span("respond"):
        told = {
            "request_id": request.state.request_id,
            "release_id": answer.release_id,
            "variant": asked.variant,
            "degraded": answer.degraded,
            "items": places(answer.items),
            **more,
        }
        return Response(to_json(told), media_type="application/json")


def overloaded(request: Request, error: OverloadedError) -> HTTPException:
    """503 of a request that would wait for too long; it is counted."""
    request.app.state.metrics.refused("overload")
    return unavailable(request, str(error))


def unavailable(request: Request, reason: str) -> HTTPException:
    """503 that says when to ask again."""
    headers = {"Retry-After": str(request.app.state.settings.retry_after_seconds)}
    return HTTPException(503, reason, headers)


def _release_id(request: Request) -> str | None:
    state = request.app.state.readiness.state
    return None if isinstance(state, NotReady) else str(state.recommender.release.id)


def now(request: Request) -> int:
    """Microseconds since the epoch by the clock of the service."""
    return int(request.app.state.clock() * 1_000_000)


def _places(items: Sequence[Item]) -> list[schemas.RecommendedArticle]:
    return [
        schemas.RecommendedArticle(article_id=item.article_id, score=item.score, position=place, source=item.source)
        for place, item in enumerate(items, start=1)
    ]
