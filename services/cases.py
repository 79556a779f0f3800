"""Decides what a question is: what is asked, and what a release makes of it before anything is looked for."""

import dataclasses
from collections.abc import Sequence

from services.candidates import Source
from services.eligibility import Eligibility
from services.features import Asker
from services.filters import EVERYTHING, Filter
from services.history import History
from services.paging import Front, Paging
from services.rules import Rules
from services.towers import Floats
from services.users import Past


@dataclasses.dataclass(frozen=True)
class Request:
    """One question, of `time` (microseconds), when the answer is shown; `recent_article_ids` is oldest first. Where it
    `is_kept`, the answer tells what it was made from.

    `rules` shape the answer, and `seed` decides what they draw, see `rules.seed_of`; `weights` of sources take the
    place of the preset's. Where `is_explained`, each item tells why it is there. With `paging` the answer is a page of
    the feed. `variant` names the arms of experiments that all this comes from.
    """

    time: int
    k: int
    user_id: str | None = None
    region_id: str | None = None
    recent_article_ids: Sequence[str] = ()
    exclude_article_ids: Sequence[str] = ()
    filter: Filter = EVERYTHING
    is_kept: bool = False
    rules: Rules | None = None
    seed: int = 0
    weights: tuple[tuple[Source, float], ...] = ()
    is_explained: bool = False
    paging: Paging | None = None
    variant: str | None = None

    @property
    def is_deep(self) -> bool:
        """Whether its rules choose among more candidates than are asked for."""
        return self.rules is not None and self.rules.needs_depth

    @property
    def further(self) -> int:
        """How many candidates are needed beyond the answer's own: those shown already, and one to tell of a next
        page."""
        return 0 if self.paging is None else 1 + len(self.paging.cursor.shown)


@dataclasses.dataclass(frozen=True)
class Case:
    """A request with what the release makes of it: `past` is what is known of the user where the request brings no
    history, `vector` [vector_dim] the user's, None without a history, and `failed` tells that the model failed.
    `eligible` is the rule for what is recommended; `front` is what else stands on a page of the feed."""

    request: Request
    past: Past
    history: History
    eligible: Eligibility
    vector: Floats | None = None
    failed: bool = False
    front: Front | None = None

    def asker(self) -> Asker:
        """What the ranking model is told of who asks."""
        request = self.request
        return Asker(self.past, self.history.rows, request.region_id, request.time, self.vector)

    def goals(self) -> dict[str, float] | None:
        """What each goal is worth to who asks; None where the service's own weights count."""
        rules = self.request.rules
        return None if rules is None else rules.weights
