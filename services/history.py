"""Decides what the model is told of a user: the last articles viewed, where, and in which hour."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from services.catalogue import Catalogue
from services.padding import padded
from services.release import Release
from services.towers import Floats

HOUR = 3_600_000_000


@dataclasses.dataclass(frozen=True)
class History:
    """A user's views as rows, oldest first, no row twice in succession, and the number of ids that are no article."""

    rows: Sequence[int]
    unknown: int


def history(article_ids: Sequence[str], longest: int, catalogue: Catalogue) -> History:
    """The last `longest` of `article_ids` (oldest first): unknown ids drop out, then consecutive repeats collapse."""
    known = catalogue.known(article_ids)
    return History(of_rows(known, longest), len(article_ids) - len(known))


def of_rows(rows: Sequence[int], longest: int) -> list[int]:
    """The last `longest` of rows, oldest first, once consecutive repeats collapsed."""
    return [row for row, _ in itertools.groupby(rows)][-longest:]


def user_vectors(
    release: Release, histories: Sequence[Sequence[int]], regions: Sequence[str | None], times: Sequence[int]
) -> Floats:
    """The user tower's vectors [batch, vector_dim] for histories of rows at `times` (microseconds, taken as they are).

    Histories are padded to [batch, history, token_dim], so that the model always sees one shape.
    """
    sizes = release.dimensions
    tokens = padded(release.tokens.values, histories, sizes.history)
    lengths = np.array([len(rows) for rows in histories], np.int32)
    return release.towers.user_vectors(tokens, lengths, [region or "" for region in regions], np.array(times, np.int64))


def full_hour(time: int) -> int:
    """`time` (microseconds) rounded down to the hour: the same request has the same answer until the hour is over."""
    return time - time % HOUR
