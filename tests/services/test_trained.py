"""A release that the stages have trained, served by a process: what the road as a whole promises."""

import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

from services import release
from tests.services.conftest import Server
from tests.stages import Road


@pytest.fixture(scope="module")
def trained(start_server: Callable[[pathlib.Path], Server], road: Road) -> Server:
    server = start_server(road.releases)
    server.wait_until(lambda answer: answer.status_code == 200)
    return server


def ids(server: Server, **body: Any) -> list[str]:
    answer = server.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200, answer.text
    return [item["article_id"] for item in answer.json()["items"]]


def histories(road: Road) -> list[list[str]]:
    """Articles on offer, most viewed first, in two histories that share none."""
    catalogue = pq.read_table(road.release / "catalogue.parquet", columns=["article_id", "removed_at"])
    offered = [row["article_id"] for row in catalogue.to_pylist() if row["removed_at"] is None]
    return [offered[:10], offered[10:20]]


def test_two_histories_have_two_answers_and_one_has_one(trained: Server, road: Road) -> None:
    one, other = histories(road)
    first = ids(trained, recent_article_ids=one, k=20)
    assert len(set(first)) == 20
    assert not set(first) & set(one)
    assert first == ids(trained, recent_article_ids=one, k=20)
    assert first != ids(trained, recent_article_ids=other, k=20)


def test_a_release_says_of_which_kind_its_logs_are(road: Road) -> None:
    """The simulator's articles come and go, and have prices."""
    assert release.load(str(road.release), 1).preset == "marketplace"


def test_the_order_of_a_history_counts(trained: Server, road: Road) -> None:
    one, _ = histories(road)
    assert ids(trained, recent_article_ids=one, k=50) != ids(trained, recent_article_ids=one[::-1], k=50)


def test_a_damaged_index_is_named_and_never_served(
    start_server: Callable[[pathlib.Path], Server], road: Road, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(road.releases, tmp_path / "releases")
    index = tmp_path / "releases" / road.release.name / "articles.faiss"
    damaged = bytearray(index.read_bytes())
    damaged[-1] ^= 1
    index.write_bytes(damaged)
    server = start_server(tmp_path / "releases")
    answer = server.wait_until(lambda answer: "articles.faiss" in answer.text)
    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert server.client.post("/v1/recommendations", json={}).status_code == 503
