"""Decides how several lists of candidates become one, each labelled with the source that speaks most for it."""

from collections.abc import Sequence

import numpy as np

from services.candidates import Candidates, Rows, Scores, Source


def blend(
    lists: Sequence[Candidates], weights: Sequence[float], k: int, offset: int
) -> tuple[Rows, Scores, list[Source]]:
    """The up to `k` distinct rows with the largest sum of weight / (offset + place) over the lists, best first:
    reciprocal rank fusion (Cormack, Clarke and Buettcher 2009). The larger the offset, the more an article gains by
    being in several lists, and the less by standing at the top of one.

    Lists of weight 0 add nothing. Places count from 1, equal sums are ordered by row. The source is that of the largest
    part of the sum, the earlier list where two are equal.
    """
    rows = np.concatenate([np.empty(0, np.int64), *(found.rows for found in lists)])
    parts = np.concatenate(
        [np.empty(0), *(w / (offset + 1 + np.arange(len(f))) for w, f in zip(weights, lists, strict=True))]
    )
    origin = np.repeat(np.arange(len(lists)), [len(found) for found in lists])
    kept = parts > 0
    rows, parts, origin = rows[kept], parts[kept], origin[kept]
    distinct, place = np.unique(rows, return_inverse=True)
    sums: Scores = np.bincount(place, parts, len(distinct)).astype(np.float64)
    # The largest part of each row comes first.
    largest = np.lexsort((origin, -parts, place))
    first = largest[np.searchsorted(place[largest], np.arange(len(distinct)))]
    best = np.lexsort((distinct, -sums))[:k]
    return distinct[best], sums[best], [lists[origin[first[at]]].source for at in best]
