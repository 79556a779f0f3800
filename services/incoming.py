"""Decides what may be told to the service: events, as they come in and as the log keeps them."""

import uuid
from typing import Annotated, Any, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    ValidationInfo,
    field_validator,
)

from services.rules import WHOLE
from services.schemas import Id
from services.store import Record
from services.times import micros

MOST_EVENTS = 1_000
# A client's clock may be ahead by so much (microseconds).
AHEAD = 5 * 60 * 1_000_000
LARGEST = 2**53
# Of a title its letters, of an embedding its numbers.
MOST_TITLE, MOST_NUMBERS = 2_000, 4_096
EventType = Literal["impression", "view", "leave", "like", "chat", "hide"]
_STRICT = ConfigDict(extra="forbid", strict=True)


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("must be text such as 2026-01-31T12:00:00Z")
    return value


# JSON has no type for times.
Time = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(_text)]


class IncomingEvent(BaseModel):
    """Something a user did; columns of the table `events`."""

    model_config = _STRICT

    event_id: Id | None = Field(
        None, description="Unique. Give one: an event that is sent twice counts once. Made by the service when absent."
    )
    user_id: Id
    article_id: Id
    event_type: EventType
    event_time: Time | None = Field(None, description="ISO 8601 with a zone; the time of arrival when absent.")
    region_id: Id | None = Field(None, description="Where the user was.")
    dwell_ms: Annotated[int, Field(ge=0, le=LARGEST), WHOLE] | None = Field(
        None, description="Time spent: of a leave, or of a view."
    )
    request_id: Id | None = Field(None, description="Of the answer that showed the article.")
    position: Annotated[int, Field(ge=1, le=LARGEST), WHOLE] | None = Field(
        None, description="Where that answer showed it, from 1."
    )
    variant: Id | None = None
    release_id: Id | None = None
    source: Id | None = None
    propensity: FiniteFloat | None = Field(None, gt=0, le=1)

    @field_validator("event_time")
    @classmethod
    def _is_past(cls, value: AwareDatetime | None, info: ValidationInfo) -> AwareDatetime | None:
        now = (info.context or {}).get("now")
        if value is not None and now is not None and micros(value) > now + AHEAD:
            raise ValueError("is more than 5 minutes ahead of the service's clock")
        if value is not None and micros(value) < 0:
            raise ValueError("is before 1970-01-01T00:00:00Z")
        return value

    def record(self, now: int) -> Record:
        """As the log keeps it; `now` (microseconds) is when it arrived."""
        fields = self.model_dump(exclude_none=True, exclude={"event_time"})
        time = now if self.event_time is None else micros(self.event_time)
        event_id = self.event_id or uuid.uuid4().hex
        return Record("event", time, {**fields, "event_id": event_id, "event_time": time, "received_at": now})


class IncomingEvents(BaseModel):
    """A batch, kept as a whole or not at all."""

    model_config = _STRICT

    events: Annotated[list[IncomingEvent], Field(min_length=1, max_length=MOST_EVENTS)]


class IncomingArticle(BaseModel):
    """All that is known of an article; columns of the table `articles`."""

    model_config = _STRICT

    region_id: Id | None = Field(None, description="Where it is offered; null is a region of its own.")
    category_id: Id | None = None
    seller_id: Id | None = None
    title: Annotated[str, Field(max_length=MOST_TITLE)] | None = None
    price: Annotated[FiniteFloat, Field(ge=0)] | None = None
    embedding: Annotated[list[FiniteFloat], Field(min_length=1, max_length=MOST_NUMBERS)] | None = Field(
        None, description="The owner's own vector; another width than the release was trained with counts as none."
    )
    created_at: Time | None = Field(
        None,
        description="ISO 8601 with a zone, from when on it may be shown; when absent, what is known of it, or else the "
        "time of arrival.",
    )

    def record(self, article_id: str, now: int, known: int | None) -> Record:
        """As the log keeps it; `now` (microseconds) is when it arrived, `known` when the article was created."""
        fields = self.model_dump(exclude_none=True, exclude={"created_at"})
        created = micros(self.created_at) if self.created_at is not None else now if known is None else known
        return Record("article", now, {**fields, "article_id": article_id, "created_at": created})


class AcceptedArticle(BaseModel):
    """An article is in the log now, and cannot be lost."""

    request_id: str
    article_id: str


class AcceptedEvents(BaseModel):
    """What became of a batch."""

    request_id: str
    accepted: int = Field(description="Events that are in the log now, and cannot be lost.")
    repeated: int = Field(description="Events whose event_id was there already; they count once.")
