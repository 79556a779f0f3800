"""Decides how the feed is asked for over HTTP, page by page."""

from fastapi import APIRouter, Request, Response

from services import schemas
from services.direct import DirectRoute
from services.errors import FieldsRefusedError
from services.feed import Cursor
from services.paging import Paging
from services.requested import question
from services.routes import ERRORS, answered, now, ready_engine, respond
from services.ruling import Ruling

router = APIRouter()


async def feed(request: Request, body: schemas.FeedRequest) -> Response:
    """The newest articles of the region with recommendations among them, at the slots that the service is told to use.
    What the user viewed or hid, and what is excluded or filtered out, is in neither; no page repeats what an earlier
    one showed. The next page is asked for with `next_page_token`, and otherwise the same body.
    """
    engine, moment = ready_engine(request), now(request)
    ruling: Ruling = request.app.state.ruling
    paging = Paging(_cursor(ruling, body.page_token, moment), ruling.slots)
    asked = question(request, body, engine, moment, paging)
    answer = await answered(request, engine, asked)
    token = None if answer.following is None else ruling.tokens.write(answer.following)
    return respond(request, asked, answer, next_page_token=token)


router.routes.append(DirectRoute("/v1/feed", feed, methods=["POST"], response_model=schemas.FeedPage, responses=ERRORS))


def _cursor(ruling: Ruling, token: str | None, time: int) -> Cursor:
    """The first page begins now (microseconds)."""
    if token is None:
        return Cursor(time)
    try:
        return ruling.tokens.read(token)
    except ValueError as error:
        field, _, message = str(error).partition(": ")
        raise FieldsRefusedError([{"field": field, "message": message}]) from error
