"""Decides what the body of a request asks of the recommender, and what is told of each item of the answer."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from services import schemas
from services.answers import Item
from services.cases import Request as Question
from services.engine import Engine
from services.filters import EVERYTHING, Filter
from services.live import HOUR, MINUTE
from services.paging import Paging
from services.ruling import Ruling

# Fields that every item has; those behind them all items of an answer have, or none.
_PLAIN = 3
_NOTHING_FURTHER = (None,) * (len(Item._fields) - _PLAIN)


def question(
    request: Request, body: schemas.RecommendationRequest, engine: Engine, time: int, paging: Paging | None = None
) -> Question:
    """What is asked at `time` (microseconds), by the rules in force."""
    ruling: Ruling = request.app.state.ruling
    asked = {} if body.rules is None else body.rules.given()
    ruled = ruling.of(body.user_id, request.state.request_id, asked)
    return Question(
        time=time,
        k=body.k,
        user_id=body.user_id,
        region_id=body.region_id,
        recent_article_ids=body.recent_article_ids or (),
        exclude_article_ids=body.exclude_article_ids or (),
        filter=_filter(body, engine, time),
        rules=ruled.rules,
        seed=ruled.seed,
        weights=ruled.weights,
        is_explained=body.explain is True,
        paging=paging,
        variant=ruled.variant,
    )


def places(items: Sequence[Item]) -> Sequence[Mapping[str, Any]]:
    """The items as an answer tells them, with positions from 1; what they do not have is left out."""
    told: list[dict[str, Any]] = [
        {"article_id": item.article_id, "score": item.score, "position": place, "source": item.source}
        for place, item in enumerate(items, start=1)
    ]
    if items and items[0][_PLAIN:] != _NOTHING_FURTHER:
        for one, item in zip(told, items, strict=True):
            further = zip(Item._fields[_PLAIN:], item[_PLAIN:], strict=True)
            one |= {name: value for name, value in further if value is not None}
    return told


def _filter(body: schemas.RecommendationRequest, engine: Engine, time: int) -> Filter:
    """`time` in microseconds, from which ages count."""
    asked = body.filters
    if asked is None:
        return EVERYTHING
    regions = set(asked.region_ids or ())
    if asked.near and body.region_id is not None:
        regions |= {body.region_id, *engine.recommender.release.neighbours.get(body.region_id, {})}
    # To the minute, so that requests of one minute share what is kept of a filter.
    since = None if asked.max_age_hours is None else (time - round(asked.max_age_hours * HOUR)) // MINUTE * MINUTE
    return Filter(
        region_ids=tuple(sorted(regions)) if asked.region_ids or asked.near else None,
        category_ids=_names(asked.category_ids),
        seller_ids=_names(asked.seller_ids),
        price_min=asked.price_min,
        price_max=asked.price_max,
        created_after=since,
    )


def _names(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(sorted(set(given)))
