"""Users of a simulated world at a service that answers as a test tells it to."""

import http.server
import itertools
import json
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from preprocessing.__main__ import main
from tests.served import Served

PAGE = 16
Answer = tuple[int, dict[str, Any]]


class Played(Served):
    """A service: `asked` and `told` are what was sent to it; it answers with `articles` in turn, first refusing
    `refusals` calls with a status."""

    def __init__(self, articles: list[str], refusals: list[int]) -> None:
        self.asked, self.told = list[Any](), list[Any]()
        self._articles, self._refusals, self._numbers = articles, refusals, itertools.count()
        self._lock, played = threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = played.answer(self.path, body)
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        super().__init__(Handler)

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        with self._lock:
            if self._refusals:
                return self._refusals.pop(), {"error": "no"}
            if path == "/v1/events":
                self.told.append(body["events"])
                return 202, {"accepted": len(body["events"])}
            self.asked.append(body)
            number = next(self._numbers)
            shown = itertools.islice(itertools.cycle(self._articles), number, number + body["k"])
            items = [
                {"article_id": article, "position": place, "source": "two_tower", "score": 1.0}
                for place, article in enumerate(shown, 1)
            ]
            whole = {"request_id": f"q{number}", "release_id": "r", "degraded": None if number else "ranking_late"}
            return 200, {**whole, "variant": ["x:a", None][number % 2], "items": items}


@pytest.fixture
def played(request: pytest.FixtureRequest) -> Iterator[Played]:
    articles, refusals = getattr(request, "param", ([f"a{row:06d}" for row in range(300, 600)], []))
    with Played(articles, refusals) as running:
        yield running


def visit(capsys: pytest.CaptureFixture[str], logs: pathlib.Path, played: Played, *flags: str) -> dict[str, Any]:
    assert main(["visit", "--logs", str(logs), "--url", played.url, *flags]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_users_ask_as_they_come_and_tell_what_they_did(
    logs: pathlib.Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    found = visit(capsys, logs, played, "--days", "1")
    # 300 users come 0.17 times a day in median and ask 2.6 times.
    assert 60 < found["pages"] < 500
    assert found["pages"] == len(played.asked) == len(played.told)
    assert found["users"] == len({body["user_id"] for body in played.asked})
    assert {body["k"] for body in played.asked} == {PAGE}
    assert found["degraded"] == {"ranking_late": 1}
    events = [event for batch in played.told for event in batch]
    assert sum(found["events"].values()) == len(events) == len({event["event_id"] for event in events})
    assert found["events"]["impression"] == PAGE * found["pages"]
    assert found["events"]["view"] == found["events"]["leave"] > found["pages"]
    # Half of the pages have a variant.
    assert set(found["variants"]) == {"", "x:a"}
    assert sum(one["shown"] for one in found["variants"].values()) == PAGE * found["pages"]


def test_what_is_told_says_where_it_comes_from_and_in_which_order_it_happened(
    logs: pathlib.Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    visit(capsys, logs, played, "--days", "1")
    for events in played.told:
        ordered = sorted(events, key=lambda event: event["event_id"])
        assert ordered == events
        kinds = [event["event_type"] for event in events]
        assert kinds[:PAGE] == ["impression"] * PAGE
        assert "impression" not in kinds[PAGE:]
        number = int(events[0]["request_id"][1:])
        assert {event.get("variant") for event in events} == {["x:a", None][number % 2]}
        assert {event["release_id"] for event in events} == {"r"}
        shown = {event["position"]: event["article_id"] for event in events[:PAGE]}
        positions = [event["position"] for event in events[PAGE:]]
        assert positions == sorted(positions)
        for before, event in itertools.pairwise(events[PAGE:]):
            assert event["article_id"] == shown[event["position"]]
            assert event["event_type"] != "leave" or before["position"] == event["position"]
        assert all(("dwell_ms" in event) == (event["event_type"] == "leave") for event in events)


def test_views_are_as_many_as_expected_and_the_first_position_has_more(
    logs: pathlib.Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    found = visit(capsys, logs, played, "--days", "10")
    expected = sum(one["expected_views"] for one in found["variants"].values())
    # Their number is nearly Poisson: five deviations.
    assert abs(found["events"]["view"] - expected) < 5 * expected**0.5
    places = [event["position"] for events in played.told for event in events if event["event_type"] == "view"]
    # Looked at with 16^-0.35 = 0.379 of the first.
    assert 0.2 < places.count(PAGE) / places.count(1) < 0.55


def test_the_same_seed_brings_the_same_users(
    logs: pathlib.Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = (visit(capsys, logs, played, "--days", "1", "--clients", "1") for _ in range(2))
    other = visit(capsys, logs, played, "--days", "1", "--clients", "1", "--seed", "1")
    assert (first["users"], first["pages"]) == (again["users"], again["pages"])
    assert (first["users"], first["pages"]) != (other["users"], other["pages"])
    # No event of one run is one of another.
    ids = [event["event_id"] for events in played.told for event in events]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("played", [(["a000001"], [503, 503])], indirect=True)
def test_where_there_are_too_many_at_once_it_asks_again(
    logs: pathlib.Path, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    found = visit(capsys, logs, played, "--days", "0.1")
    assert found["pages"] == len(played.told) > 0


@pytest.mark.parametrize(
    ("played", "flags", "message"),
    [
        ((["a000001"], [500]), [], "was answered with 500: "),
        ((["b000001"], []), [], "article 'b000001', which is not of this world"),
        ((["a000600"], []), [], "article 'a000600', which is not of this world"),
        ((["a000001"], []), ["--url", "https://127.0.0.1"], "--url is 'https://127.0.0.1', expected one such as"),
        ((["a000001"], []), ["--days", "0"], "--days is 0, --clients is 4: both must be above 0"),
        ((["a000001"], []), ["--clients", "0"], "--clients is 0: both must be above 0"),
    ],
    indirect=["played"],
)
def test_what_goes_wrong_is_told(
    logs: pathlib.Path, played: Played, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["visit", "--logs", str(logs), "--url", played.url, *flags]) == 2
    assert message in capsys.readouterr().err
