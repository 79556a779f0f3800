"""Decides which articles are nearest to a vector: a faiss search that is widened until enough of them may be shown."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from services.candidates import Candidates, Mask, Rows, Source
from services.eligibility import Eligibility
from services.gates import rules
from services.nearest import keep
from services.towers import Floats

TWO_TOWER: Source = "two_tower"
NOTHING = Candidates(TWO_TOWER, np.empty(0, np.int64), np.empty(0))
MARGIN = 64
WIDEN = 4


class Allowed(NamedTuple):
    """Rows that a search is limited to: a bit each, and how many there are."""

    bits: npt.NDArray[np.uint8]
    articles: int

    @staticmethod
    def by(mask: Mask) -> "Allowed":
        """The rows where `mask` [n] is true."""
        return Allowed(np.packbits(mask, bitorder="little"), int(mask.sum()))


def search(
    index: Any, vectors: Floats, ks: Sequence[int], eligible: Sequence[Eligibility], allowed: Allowed | None = None
) -> list[Candidates]:
    """For each of `vectors` ([batch, vector_dim]) its up to `k` eligible articles of largest inner product, best first;
    among the `allowed` only, where these are given, to which the index then limits itself.

    More are asked for than wanted, and four times as many for those that ineligible articles left short, until the
    index has no more to give: only then fewer than `k` come back. Equal scores are ordered by row.
    """
    parameters = None if allowed is None else _within(index, allowed)
    size = int(index.ntotal) if allowed is None else allowed.articles
    if not (size and len(ks)):
        return [NOTHING] * len(ks)
    fetch = min(size, max(k + min(len(rule.excluded), MARGIN) for k, rule in zip(ks, eligible, strict=True)))
    told, wanted, found = rules(eligible), np.array(ks, np.int64), [NOTHING] * len(ks)
    pending = np.arange(len(ks))
    while len(pending):
        scores, rows = index.search(vectors[pending], fetch, params=parameters)
        kept = keep(scores, rows, told, pending, wanted[pending])
        for number, (place, count) in enumerate(zip(pending.tolist(), kept.counts.tolist(), strict=True)):
            found[place] = Candidates(TWO_TOWER, kept.rows[number, :count], kept.scores[number, :count])
        pending = pending[(kept.counts < wanted[pending]) & ~kept.ended & (fetch < size)]
        fetch = min(size, fetch * WIDEN)
    return found


def read(path: pathlib.Path, vector_dim: int, rows: Rows, on_offer: int, nprobe: int | None) -> Any:
    """Opens an index of inner products whose ids are lines of the catalogue, and makes them the `rows` [n] that these
    have; raises ValueError where it is not as the release says."""
    import faiss

    index = faiss.read_index(str(path))
    if index.d != vector_dim or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(
            f"has dimension {index.d} and metric {index.metric_type}, needs {vector_dim} and inner product"
        )
    if not hasattr(index, "id_map") and faiss.try_extract_index_ivf(index) is None:
        raise ValueError(f"is a {type(index).__name__}, an index with an id map or inverted lists is needed")
    if index.ntotal != on_offer:
        raise ValueError(f"holds {index.ntotal} articles, the manifest says {on_offer}")
    if nprobe is not None:
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", nprobe)
    _check_ids(index, len(rows))
    if not np.array_equal(rows, np.arange(len(rows))):
        _rename(index, rows)
    return index


def _check_ids(index: Any, articles: int) -> None:
    held = ids(index)
    outside: Mask = (held < 0) | (held >= articles)
    if outside.any():
        raise ValueError(f"holds id {held[outside][0]}, rows end at {articles - 1}")


def _rename(index: Any, rows: Rows) -> None:
    """Gives each vector the row of its id."""
    import faiss

    if hasattr(index, "id_map"):
        faiss.copy_array_to_vector(rows[faiss.vector_to_array(index.id_map)], index.id_map)
        index.construct_rev_map()
        return
    for held in _ids_of_lists(index):
        held[:] = rows[held]


def _within(index: Any, allowed: Allowed) -> Any:
    """Search parameters that limit an index to some rows. The fewer these are, the more inverted lists are looked
    through, so that about as many articles are seen as without a limit: the nearest lists alone may hold too few."""
    import faiss

    library: Any = faiss  # its types know nothing of the parameters' arguments
    selector = library.IDSelectorBitmap(allowed.bits)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is None:
        return library.SearchParameters(sel=selector)
    share = max(allowed.articles, 1) / max(int(index.ntotal), 1)
    nprobe = min(inverted.nlist, math.ceil(inverted.nprobe / min(share, 1.0)))
    return library.SearchParametersIVF(sel=selector, nprobe=nprobe)


def take_out(index: Any, rows: Rows) -> None:
    """Takes rows [n] out of an index, all at once: it looks through all that it holds."""
    import faiss

    library: Any = faiss  # its types know nothing of the selector's arguments
    index.remove_ids(library.IDSelectorBatch(rows))


def ids(index: Any) -> Rows:
    """All ids stored: those of an id map or of inverted lists."""
    import faiss

    if hasattr(index, "id_map"):
        return np.asarray(faiss.vector_to_array(index.id_map), dtype=np.int64)
    return np.concatenate([np.empty(0, np.int64), *_ids_of_lists(index)])


def _ids_of_lists(index: Any) -> list[Rows]:
    """The ids themselves, to be read and written."""
    import faiss

    lists: Any = faiss.extract_index_ivf(index).invlists
    sizes = [lists.list_size(number) for number in range(lists.nlist)]
    return [faiss.rev_swig_ptr(lists.get_ids(number), size) for number, size in enumerate(sizes) if size]
