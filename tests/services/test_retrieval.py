"""The search against a catalogue on a line: article i is (i, 0), so the nearest to (1, 0) are the last ones."""

import pathlib
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import pytest
from faiss.contrib import ivf_tools

from services import retrieval
from services.candidates import Candidates
from services.catalogue import Catalogue
from services.eligibility import Eligibility, eligibility
from tests.services.tiny import plain_catalogue

ARTICLES = 100
QUERY = np.array([1.0, 0.0], np.float32)


def catalogue(removed: range = range(0)) -> Catalogue:
    """All created at 0; the rows of `removed` end at 5, the others at 100."""
    names = [str(row) for row in range(ARTICLES)]
    ends = np.array([5 if row in removed else 100 for row in range(ARTICLES)], np.int64)
    return plain_catalogue(names, np.zeros(ARTICLES, np.int64), ends)


def on_a_line() -> Any:
    return np.stack([np.arange(ARTICLES), np.zeros(ARTICLES)], axis=1).astype(np.float32)


def inverted_lists() -> Any:
    """Two lists: articles below 50, and the others."""
    quantizer = faiss.IndexFlatIP(2)
    quantizer.add(np.array([[-1.0, 0.0], [1.0, 0.0]], np.float32))
    index = faiss.IndexIVFFlat(quantizer, 2, 2, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    ivf_tools.add_preassigned(index, on_a_line(), np.repeat([0, 1], 50), np.arange(ARTICLES))
    return index


def flat() -> Any:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(2))
    index.add_with_ids(on_a_line(), np.arange(ARTICLES))
    return index


def search(index: Any, k: int, eligible: Eligibility, query: Any = QUERY) -> Candidates:
    return retrieval.search(index, query[None], [k], [eligible])[0]


def rows(found: Candidates) -> list[int]:
    return [int(row) for row in found.rows]


def test_the_search_is_widened_past_removed_articles() -> None:
    # 70 to 99 are removed at time 5; asking for 3 sees only those
    found = search(flat(), 3, eligibility(catalogue(range(70, 100)), [69], 5))
    assert rows(found) == [68, 67, 66]
    assert found.scores.tolist() == [68.0, 67.0, 66.0]


def test_excluded_articles_are_met_exactly() -> None:
    found = search(flat(), 2, eligibility(catalogue(), [99, 98, 97, 0], 5))
    assert rows(found) == [96, 95]


def test_more_excluded_articles_than_the_first_fetch_holds() -> None:
    found = search(flat(), 2, eligibility(catalogue(), range(5, 100), 5))
    assert rows(found) == [4, 3]


def test_a_batch_is_answered_one_by_one() -> None:
    offered = catalogue()
    everything, few = eligibility(offered, [], 5), eligibility(offered, range(2, 100), 5)
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], np.float32)
    found = retrieval.search(flat(), vectors, [3, 3, 1], [everything, few, everything])
    assert [rows(one) for one in found] == [[99, 98, 97], [1, 0], [0]]


def test_equal_scores_are_ordered_by_row() -> None:
    found = search(flat(), 100, eligibility(catalogue(), [], 5), np.array([0.0, 1.0], np.float32))
    assert rows(found) == list(range(100))


def test_an_article_stored_twice_is_found_once() -> None:
    index = flat()
    index.add_with_ids(np.array([[200.0, 0.0]], np.float32), np.array([7]))
    found = search(index, 101, eligibility(catalogue(), [], 5))
    assert sorted(rows(found)) == list(range(100))


def test_an_empty_index_finds_nothing() -> None:
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(2))
    assert len(search(index, 3, eligibility(catalogue(), [], 5))) == 0


@pytest.mark.parametrize(("nprobe", "count"), [(1, 50), (2, 100)])
def test_inverted_lists_give_what_their_lists_hold(tmp_path: pathlib.Path, nprobe: int, count: int) -> None:
    faiss.write_index(inverted_lists(), str(tmp_path / "articles.faiss"))
    index = retrieval.read(tmp_path / "articles.faiss", 2, np.arange(ARTICLES), ARTICLES, nprobe)
    found = search(index, 100, eligibility(catalogue(), [], 5))
    assert rows(found) == list(range(99, 99 - count, -1))


def test_ids_of_inverted_lists_are_checked(tmp_path: pathlib.Path) -> None:
    faiss.write_index(inverted_lists(), str(tmp_path / "articles.faiss"))
    with pytest.raises(ValueError, match="holds id 90, rows end at 89"):
        retrieval.read(tmp_path / "articles.faiss", 2, np.arange(90), ARTICLES, None)


def test_an_index_without_ids_is_refused(tmp_path: pathlib.Path) -> None:
    index = faiss.IndexFlatIP(2)
    index.add(on_a_line())
    faiss.write_index(index, str(tmp_path / "articles.faiss"))
    with pytest.raises(ValueError, match="is a IndexFlatIP, an index with an id map or inverted lists is needed"):
        retrieval.read(tmp_path / "articles.faiss", 2, np.arange(ARTICLES), ARTICLES, None)


@pytest.mark.parametrize(("make", "nprobe"), [(flat, None), (inverted_lists, 2)])
def test_vectors_are_found_by_the_rows_that_a_process_gave(
    tmp_path: pathlib.Path, make: Callable[[], Any], nprobe: int | None
) -> None:
    faiss.write_index(make(), str(tmp_path / "articles.faiss"))
    index = retrieval.read(tmp_path / "articles.faiss", 2, np.arange(ARTICLES)[::-1] * 3, ARTICLES, nprobe)
    assert index.search(QUERY[None], 3)[1].tolist() == [[0, 3, 6]]
    retrieval.take_out(index, np.array([3]))
    assert index.search(QUERY[None], 3)[1].tolist() == [[0, 6, 9]]
    index.add_with_ids(np.array([[1e6, 0]], np.float32), np.array([3]))
    assert index.search(QUERY[None], 3)[1].tolist() == [[3, 0, 6]]
