"""The service as people run it: a process of its own, asked over HTTP."""

import concurrent.futures
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.services import tiny
from tests.services.conftest import Server

Start = Callable[[pathlib.Path], Server]


def recommend(server: Server, **body: Any) -> dict[str, Any]:
    answer = server.client.post("/v1/recommendations", json=body)
    assert answer.status_code == 200
    return dict(answer.json())


def test_a_history_is_answered_with_articles_on_offer_today(server: Server) -> None:
    # the hour adds at most 0.023 * 0.8; c is removed, g/7 not in the index
    answer = recommend(server, recent_article_ids=["a"], k=3)
    assert [(item["article_id"], item["source"]) for item in answer["items"]] == [
        ("b", "two_tower"),
        ("d", "two_tower"),
        ("e", "two_tower"),
    ]
    assert [item["score"] for item in answer["items"]] == pytest.approx([0.8, 0.4, 0.2], abs=0.02)


def test_the_same_request_has_the_same_answer_and_another_history_another(server: Server) -> None:
    first = recommend(server, recent_article_ids=["a", "b"])
    second = recommend(server, recent_article_ids=["a", "b"])
    assert first.pop("request_id") != second.pop("request_id")
    assert [item["article_id"] for item in first["items"]] == [item["article_id"] for item in second["items"]]
    other = recommend(server, recent_article_ids=["f"])
    assert [item["article_id"] for item in other["items"]] != [item["article_id"] for item in first["items"]]


def test_many_at_once_are_all_answered(server: Server) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: recommend(server, recent_article_ids=["a"], k=1), range(64)))
    assert {answer["items"][0]["article_id"] for answer in answers} == {"b"}
    assert len({answer["request_id"] for answer in answers}) == 64


def test_similar_articles_over_http(server: Server) -> None:
    answer = server.client.get("/v1/articles/a/similar?k=2").json()
    assert [item["article_id"] for item in answer["items"]] == ["b", "d"]


def test_version_says_what_is_running(server: Server) -> None:
    assert server.client.get("/version").json() == {
        "version": "0.1.0",
        "commit": "abc123",
        "release_id": tiny.identity().id,
        "stages": {"candidates": "two_tower", "ranking": None},
        "answers": "candidate order: the ranking stage needs a store and a release that has a ranking model",
    }


def test_it_is_ready_and_measured(server: Server) -> None:
    assert server.client.get("/readyz").json() == {"ready": True, "release_id": tiny.identity().id, "reason": None}
    assert f'nearfeed_release_info{{release_id="{tiny.identity().id}"}} 1.0' in server.client.get("/metrics").text


def test_a_corrupted_index_keeps_it_from_becoming_ready(
    start_server: Start, releases: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(releases, tmp_path / "releases")
    index = tmp_path / "releases" / tiny.identity().id / "articles.faiss"
    data = bytearray(index.read_bytes())
    data[-1] ^= 255
    index.write_bytes(data)
    server = start_server(tmp_path / "releases")
    answer = server.wait_until(lambda answer: "being loaded" not in answer.text)
    assert answer.status_code == 503
    assert answer.json()["reason"] == f"{index} is damaged: its sha256 differs from the one in its manifest"
    assert server.client.get("/healthz").json() == {"status": "alive"}
    refused = server.client.post("/v1/recommendations", json={})
    assert refused.status_code == 503
    assert "articles.faiss is damaged" in refused.json()["error"]
