"""Decides what whoever runs the service may tell it over HTTP."""

import asyncio

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from services import schemas
from services.routes import ERRORS, Answering

router = APIRouter()


class RolledBack(BaseModel):
    """Which release answers now."""

    request_id: str
    release_id: str


@router.post(
    "/v1/admin/rollback",
    responses={**ERRORS, 409: {"model": schemas.ErrorAnswer, "description": "There is no release to go back to"}},
)
async def rollback(request: Request, answering: Answering) -> RolledBack:
    """Goes back to the release that was served before: CURRENT is moved, this process answers from that release at
    once, and every other one as soon as it looks at CURRENT.
    """
    try:
        release_id = await asyncio.to_thread(request.app.state.readiness.rollout.go_back, answering)
    except LookupError as error:
        raise HTTPException(409, str(error)) from error
    except OSError as error:
        raise HTTPException(503, f"CURRENT cannot be moved: {error}") from error
    return RolledBack(request_id=request.state.request_id, release_id=release_id)
