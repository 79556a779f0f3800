"""Decides how what happens comes in over HTTP: kept in the store first, answered then."""

import asyncio
from collections.abc import Sequence

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic_core import to_json

from services import schemas
from services.direct import DirectRoute
from services.incoming import AcceptedEvents, IncomingEvents
from services.routes import ERRORS, now, unavailable
from services.store import Record, Store, StoreError

router = APIRouter()


async def events(request: Request, body: IncomingEvents) -> Response:
    """Takes up to 1,000 events, all or none. Once answered they are in the log: the next recommendation of the user
    knows of them, what is viewed now follows within a moment, and BigQuery gets each at least once.
    """
    moment = now(request)
    fresh = await append(request, [event.record(moment) for event in body.events])
    told = {"request_id": request.state.request_id, "accepted": sum(fresh), "repeated": len(fresh) - sum(fresh)}
    return Response(to_json(told), 202, media_type="application/json")


router.routes.append(
    DirectRoute(
        "/v1/events",
        events,
        methods=["POST"],
        status_code=202,
        response_model=AcceptedEvents,
        responses=ERRORS,
    )
)


@router.delete("/v1/users/{user_id:path}", status_code=204, responses=ERRORS)
async def forget(user_id: schemas.Id, request: Request) -> Response:
    """Forgets a user: what they did until now is in no answer any more, and in no dataset that is made from now on."""
    moment = now(request)
    await append(request, [Record("forget", moment, {"user_id": user_id, "forgotten_at": moment})])
    return Response(status_code=204)


async def append(request: Request, records: Sequence[Record]) -> Sequence[bool]:
    """Which of the records are new; 503 where the store cannot take them, or there is none."""
    store: Store | None = request.app.state.store
    if store is None:
        raise HTTPException(503, "this service has no store: it was started without --store")
    try:
        return await asyncio.to_thread(store.append, records)
    except StoreError as error:
        raise unavailable(request, f"the store cannot take it now: {error}") from error
