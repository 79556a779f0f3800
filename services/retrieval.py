"""Decides which articles are nearest to a vector: a faiss search that is widened until enough of them may be shown."""

import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from services.candidates import Candidates, Mask, Rows, Scores, Source
from services.eligibility import Eligibility

TWO_TOWER: Source = "two_tower"
NOTHING = Candidates(TWO_TOWER, np.empty(0, np.int64), np.empty(0))
WIDEN = 4


def search(index: Any, vector: npt.NDArray[np.float32], k: int, eligible: Eligibility) -> Candidates:
    """The up to `k` eligible articles of largest inner product with `vector` ([vector_dim] float32), best first.

    Excluded articles are met by asking for that many more; where removed ones take places too, the search is widened.
    Fewer than `k` come back only when the index has no more to give. Equal scores are ordered by row.
    """
    size = int(index.ntotal)
    fetch = min(size, k + len(eligible.excluded))
    found = NOTHING
    while fetch > 0:
        scores, rows = index.search(vector[None, :], fetch)
        hits = rows[0] >= 0
        found = _eligible(scores[0][hits].astype(np.float64), rows[0][hits], eligible)
        if len(found) >= k or fetch == size or not hits.all():
            break
        fetch = min(size, fetch * WIDEN)
    return found.first(k)


def _eligible(scores: Scores, rows: Rows, eligible: Eligibility) -> Candidates:
    distinct, first = np.unique(rows, return_index=True)
    best_first = np.argsort(-scores[first], kind="stable")
    ordered = Candidates(TWO_TOWER, distinct[best_first], scores[first][best_first])
    return ordered.where(eligible.mask(ordered.rows))


def read(path: pathlib.Path, vector_dim: int, articles: int, on_offer: int, nprobe: int | None) -> Any:
    """Opens an index of inner products whose ids are rows; raises ValueError where it is not as the release says."""
    import faiss

    index = faiss.read_index(str(path))
    if index.d != vector_dim or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(
            f"has dimension {index.d} and metric {index.metric_type}, needs {vector_dim} and inner product"
        )
    if index.ntotal != on_offer:
        raise ValueError(f"holds {index.ntotal} articles, the manifest says {on_offer}")
    if nprobe is not None:
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", nprobe)
    _check_ids(index, articles)
    return index


def _check_ids(index: Any, articles: int) -> None:
    ids = _ids(index)
    outside: Mask = (ids < 0) | (ids >= articles)
    if outside.any():
        raise ValueError(f"holds id {ids[outside][0]}, rows end at {articles - 1}")


def _ids(index: Any) -> Rows:
    """All ids stored: those of an id map, of inverted lists, or the positions where an index keeps neither."""
    import faiss

    if hasattr(index, "id_map"):
        return np.asarray(faiss.vector_to_array(index.id_map), dtype=np.int64)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is None:
        return np.arange(index.ntotal, dtype=np.int64)
    lists: Any = inverted.invlists
    sizes = [lists.list_size(number) for number in range(lists.nlist)]
    parts = [faiss.rev_swig_ptr(lists.get_ids(number), size).copy() for number, size in enumerate(sizes) if size]
    return np.concatenate([np.empty(0, np.int64), *parts])
