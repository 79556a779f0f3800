"""Decides which articles are nearest to a vector: a faiss search that is widened until enough of them may be shown."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.candidates import Candidates, Mask, Rows, Source
from services.eligibility import Eligibility
from services.towers import Floats

TWO_TOWER: Source = "two_tower"
NOTHING = Candidates(TWO_TOWER, np.empty(0, np.int64), np.empty(0))
MARGIN = 64
WIDEN = 4


def search(
    index: Any, vectors: Floats, ks: Sequence[int], eligible: Sequence[Eligibility], allowed: Rows | None = None
) -> list[Candidates]:
    """For each of `vectors` ([batch, vector_dim]) its up to `k` eligible articles of largest inner product, best first;
    among the `allowed` only, where these are given, to which the index then limits itself.

    More are asked for than wanted, and four times as many for those that ineligible articles left short, until the
    index has no more to give: only then fewer than `k` come back. Equal scores are ordered by row.
    """
    parameters = None if allowed is None else _within(index, allowed)
    size = int(index.ntotal) if allowed is None else len(allowed)
    fetch = min(size, max(k + min(len(rule.excluded), MARGIN) for k, rule in zip(ks, eligible, strict=True)))
    found = [NOTHING] * len(ks)
    pending = list(range(len(ks))) if size else []
    while pending:
        scores, rows = index.search(vectors[pending], fetch, params=parameters)
        for place, its_scores, its_rows in zip(pending, scores, rows, strict=True):
            found[place] = _eligible(its_scores, its_rows, eligible[place]).first(ks[place])
        exhausted = (rows < 0).any(axis=1) | (fetch == size)
        pending = [
            place for place, end in zip(pending, exhausted, strict=True) if len(found[place]) < ks[place] and not end
        ]
        fetch = min(size, fetch * WIDEN)
    return found


def _eligible(scores: Floats, rows: Rows, eligible: Eligibility) -> Candidates:
    rows, scores = rows[rows >= 0], scores[rows >= 0]
    distinct, first = np.unique(rows, return_index=True)
    best_first = np.argsort(-scores[first], kind="stable")
    ordered = Candidates(TWO_TOWER, distinct[best_first], scores[first][best_first].astype(np.float64))
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
    held = ids(index)
    outside: Mask = (held < 0) | (held >= articles)
    if outside.any():
        raise ValueError(f"holds id {held[outside][0]}, rows end at {articles - 1}")


def _within(index: Any, allowed: Rows) -> Any:
    """Search parameters that limit an index to some rows, one bit each; inverted lists are searched as usual."""
    import faiss

    library: Any = faiss  # its types know nothing of the parameters' arguments
    bits = np.zeros(int(allowed.max(initial=0)) + 1, np.bool_)
    bits[allowed] = True
    selector = library.IDSelectorBitmap(np.packbits(bits, bitorder="little"))
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is None:
        return library.SearchParameters(sel=selector)
    return library.SearchParametersIVF(sel=selector, nprobe=inverted.nprobe)


def ids(index: Any) -> Rows:
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
