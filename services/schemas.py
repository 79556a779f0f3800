"""Decides what HTTP requests and answers look like; every limit on input is here."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from services.answers import Degraded
from services.arranging import Reason
from services.candidates import Source
from services.feed import Origin
from services.pages import MOST_TOKEN_CHARACTERS
from services.rules import WHOLE, Capped, Exploration, Goals, Share, Temperature, Uniform, Whole, distinct

MAX_K = 200
DEFAULT_K = 20
MAX_IDS = 1_000
MAX_ID_CHARACTERS = 512
MAX_NAMES = 100
# Below the most names of any object of a body, so that what is wrong is told of the field.
MAX_PINS = 50
MAX_AGE_HOURS = 24.0 * 366 * 10


# No control character; compiled, since a history has many ids.
ID = r"^[^\x00-\x1f\x7f-\x9f]*$"
Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARACTERS, pattern=ID)]
Ids = Annotated[list[Id], Field(max_length=MAX_IDS)]
K = Annotated[int, Field(ge=1, le=MAX_K), WHOLE]


Names = Annotated[list[Id], Field(min_length=1, max_length=MAX_NAMES)]
Price = Annotated[FiniteFloat, Field(ge=0)]
# The pattern of its names alone would let a schema allow any other name too.
Pins = Annotated[
    dict[Id, Whole],
    Field(max_length=MAX_PINS, json_schema_extra={"additionalProperties": False}),
    AfterValidator(distinct),
]


class Filters(BaseModel):
    """What an article must be to be recommended; all of what is given must hold. Of a list any name will do."""

    model_config = ConfigDict(extra="forbid", strict=True)

    region_ids: Names | None = Field(None, description="Articles of these regions; the search is exact there.")
    near: bool = Field(False, description="Articles of the request's region and of its neighbours.")
    category_ids: Names | None = None
    seller_ids: Names | None = None
    price_min: Price | None = Field(None, description="Inclusive; leaves out articles without a price.")
    price_max: Price | None = Field(None, description="Inclusive; leaves out articles without a price.")
    max_age_hours: FiniteFloat | None = Field(None, gt=0, le=MAX_AGE_HOURS, description="To the minute.")

    @model_validator(mode="after")
    def _ascend(self) -> Self:
        if self.price_min is not None and self.price_max is not None and self.price_min > self.price_max:
            raise ValueError(f"price_min is {self.price_min:g}, it must not be above price_max, {self.price_max:g}")
        return self


class RequestRules(BaseModel):
    """What one answer is to look like, see docs/rules.md. A field that is given takes the place of the whole field of
    the service's rules, null and what is absent leave it as it is."""

    model_config = ConfigDict(extra="forbid", strict=True)

    pins: Pins | None = Field(None, description="Positions from 1 of articles, one article a position.")
    caps: dict[Capped, Whole] | None = Field(None, description="The most articles of one seller or category.")
    strict_caps: bool | None = Field(None, description="true: rather fewer articles than more than a cap allows.")
    diversity: Share | None = Field(None, description="The weight of being unlike what stands above.")
    goals: Goals | None = Field(None, description="What a view, and each further goal after it, is worth.")
    exploration: Exploration | None = Field(None, description="The share of positions whose article is drawn.")
    temperature: Temperature | None = Field(None, description="How far draws stray from the best.")
    uniform: Uniform | None = Field(None, description="The part of the draws in which all have the same chance.")

    def given(self) -> dict[str, Any]:
        """The fields that are to be otherwise."""
        return {name: told for name, told in self if told is not None}


class RecommendationRequest(BaseModel):
    """Who asks, from where, after viewing what."""

    model_config = ConfigDict(extra="forbid", strict=True)

    user_id: Id | None = Field(
        None,
        description="Whose history is used where recent_article_ids is absent; what the user viewed or hid is not "
        "recommended.",
    )
    region_id: Id | None = Field(None, description="Where the user is; null is a region of its own.")
    recent_article_ids: Ids | None = Field(
        None,
        description="Articles viewed, oldest first. They are seen: none of them is recommended. Ids that the release "
        "does not know are left out, consecutive repeats count once, the last 50 are used.",
    )
    k: K = Field(DEFAULT_K, description="How many articles; fewer come back only when there are no more on offer.")
    exclude_article_ids: Ids | None = Field(None, description="Articles that must not be recommended.")
    filters: Filters | None = Field(None, description="Limits the answer; each source searches within it.")
    rules: RequestRules | None = Field(None, description="What is to be otherwise than in the rules of the service.")
    explain: bool | None = Field(None, description="true: each item tells why it is there.")

    @model_validator(mode="after")
    def _near_something(self) -> Self:
        if self.filters is not None and self.filters.near and self.region_id is None:
            raise ValueError("filters.near is true, but there is no region_id to be near to")
        return self


class RecommendedArticle(BaseModel):
    """One place of the answer."""

    article_id: str
    score: float = Field(description="Compares items of one source.")
    position: int = Field(ge=1)
    source: Source


class ArrangedArticle(RecommendedArticle):
    """One place of an answer that rules may have arranged."""

    propensity: float | None = Field(
        None, gt=0, le=1, description="How probable it was to stand here; absent where nothing is explored."
    )
    reasons: Sequence[Reason] | None = Field(
        None, description="Which rules put it here, none where it is the best that was left; with explain only."
    )
    found_by: Mapping[Source, int] | None = Field(
        None, description="The sources that found it, with its place from 1 in the list of each; with explain only."
    )


class FeedArticle(ArrangedArticle):
    """One place of a page of the feed."""

    origin: Origin


class _Answer(BaseModel):
    request_id: str
    release_id: str
    variant: str | None = Field(description="The arms of experiments, name:arm with commas; null without any.")
    degraded: Degraded | None = Field(description="Why the answer is not the best possible one; null if it is.")


class Recommendations(_Answer):
    """The answer to a recommendation request, best first."""

    items: Sequence[ArrangedArticle]


class PlainRecommendations(_Answer):
    """The same where there are neither rules nor reasons."""

    items: Sequence[RecommendedArticle]


class FeedRequest(RecommendationRequest):
    """Who asks, from where, and which page."""

    page_token: Annotated[str, Field(max_length=MOST_TOKEN_CHARACTERS)] | None = Field(
        None, description="next_page_token of the page before; null for the first page."
    )


class FeedPage(_Answer):
    """A page of the feed, first position first."""

    items: Sequence[FeedArticle]
    next_page_token: str | None = Field(description="For the next page; null where there is none.")


class SimilarArticles(BaseModel):
    """Nearest articles, best first."""

    request_id: str
    release_id: str
    article_id: str
    items: Sequence[RecommendedArticle]


class Health(BaseModel):
    """The process is alive."""

    status: Literal["alive"] = "alive"


class ReadinessAnswer(BaseModel):
    """Whether recommendations can be asked for, and if not, why."""

    ready: bool
    release_id: str | None
    reason: str | None


class Version(BaseModel):
    """What is running and what it can do."""

    version: str
    commit: str | None
    release_id: str | None
    stages: dict[str, str | None]
    answers: str


class FieldError(BaseModel):
    """What is wrong with one field of the request."""

    field: str
    message: str


class ErrorAnswer(BaseModel):
    """Any answer that is not a success."""

    request_id: str
    error: str
    fields: Sequence[FieldError] = ()
