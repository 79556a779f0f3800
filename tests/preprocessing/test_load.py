"""A folder of logs is loaded completely and once, or refused with a reason."""

import dataclasses
import datetime
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing import load, tables
from preprocessing.__main__ import main
from preprocessing.bigquery import Connection
from preprocessing.contract import ContractError

NOW = datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.UTC)
TEXT = "🦊글" * 5_000
Rows = Sequence[Mapping[str, Any]]
Run = Callable[..., "Result"]


def _event(number: int, **values: object) -> dict[str, Any]:
    time = NOW - datetime.timedelta(days=number)
    return {
        "event_id": f"e{number}",
        "user_id": "u",
        "article_id": "a",
        "event_type": "view",
        "event_time": time,
        **values,
    }


def _article(name: str, **values: object) -> dict[str, Any]:
    return {"article_id": name, "created_at": NOW, **values}


def _folder(path: pathlib.Path, events: Rows, articles: Rows, regions: Rows = ()) -> pathlib.Path:
    path.mkdir(exist_ok=True)
    for table, rows in ((tables.EVENTS, events), (tables.ARTICLES, articles), (tables.REGIONS, regions)):
        if rows:
            schema = pa.schema(
                [field.with_nullable(True) for field in table.arrow_schema() if any(field.name in row for row in rows)]
            )
            pq.write_table(
                pa.Table.from_pylist([dict(row) for row in rows], schema=schema), path / f"{table.name}.parquet"
            )
    return path


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run of the verb left: exit code and output."""

    code: int
    stdout: str
    stderr: str

    def report(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self.stdout.splitlines()[-1]))


@pytest.fixture
def run(connection: Connection, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the verb `load` with the test's dataset."""
    assert connection.endpoint is not None
    assert connection.storage_endpoint is not None
    fixed = [
        "--now", NOW.isoformat(), "--project", connection.project, "--dataset", connection.dataset,
        "--endpoint", connection.endpoint, "--storage-endpoint", connection.storage_endpoint,
    ]  # fmt: skip

    def load_folder(folder: pathlib.Path, *flags: str) -> Result:
        code = main(["load", "--logs", str(folder), *fixed, *flags])
        return Result(code, *capsys.readouterr())

    return load_folder


def _rows(connection: Connection, table: str, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT {columns} FROM {connection.dataset}.{table} ORDER BY 1, 2"
    return [tuple(row) for row in connection.client().query_and_wait(query)]


def _tables(connection: Connection) -> list[str]:
    return sorted(table.table_id for table in connection.client().list_tables(connection.dataset))


def test_every_column_arrives_whatever_the_order_of_the_file(
    run: Run, connection: Connection, tmp_path: pathlib.Path
) -> None:
    event = _event(
        1, region_id="r", dwell_ms=5, request_id="q", position=0, variant="b", release_id="f", source="exploration",
        propensity=0.25, received_at=NOW,
    )  # fmt: skip
    article = _article(
        "a", updated_at=NOW, region_id="r", category_id="c", seller_id="s", title="t", price=1.5, embedding=[1.0, -2.0],
        removed_at=NOW + datetime.timedelta(seconds=1),
    )  # fmt: skip
    region = {"region_id": "r", "neighbour_id": "n", "distance": 2.5}
    folder = tmp_path / "logs"
    folder.mkdir()
    for name, row in (("events", event), ("articles", article), ("regions", region)):
        backwards = dict(sorted(row.items(), reverse=True))
        pq.write_table(pa.Table.from_pylist([backwards]), folder / f"{name}.parquet")
    report = run(folder).report()
    counts = {"rows_read": 1, "refused": {}, "duplicates": 0, "loaded": 1, "already_present": 0}
    assert report == {"events": counts, "articles": counts, "regions": counts}
    client = connection.client()
    for name, row in (("events", event), ("articles", article), ("regions", region)):
        assert [dict(found.items()) for found in client.list_rows(connection.table(name))] == [row]
    assert _tables(connection) == ["articles", "events", "forgotten_users", "regions", "requests"]


def test_loading_again_or_an_overlapping_folder_adds_only_new_rows(
    run: Run, connection: Connection, tmp_path: pathlib.Path
) -> None:
    first = _folder(tmp_path / "first", [_event(1), _event(2)], [_article("a", title="old")])
    second = _folder(
        tmp_path / "second",
        [_event(2, user_id="changed"), _event(3)],
        [_article("a", title="same version"), _article("a", title="new", updated_at=NOW + datetime.timedelta(hours=1))],
    )
    third = {"region_id": "r", "neighbour_id": "n", "distance": 1.0}
    assert run(first).report()["events"]["loaded"] == 2
    assert [run(first).report()["events"][key] for key in ("loaded", "already_present")] == [0, 2]
    report = run(_folder(second, [], [], [third])).report()
    assert [report["events"][key] for key in ("loaded", "already_present")] == [1, 1]
    assert [report["regions"][key] for key in ("loaded", "already_present")] == [1, 0]
    assert _rows(connection, "events", "event_id, user_id") == [("e1", "u"), ("e2", "u"), ("e3", "u")]
    versions = [("a", NOW, "old"), ("a", NOW + datetime.timedelta(hours=1), "new")]
    assert _rows(connection, "articles", "article_id, updated_at, title") == versions


def test_a_load_that_breaks_off_before_the_insertion_is_made_good_by_the_next(
    run: Run, connection: Connection, tmp_path: pathlib.Path
) -> None:
    folder = _folder(tmp_path / "logs", [_event(1), _event(2)], [_article("a")])
    target = tmp_path / "checked.parquet"
    tables.create_tables(connection.client(), connection)
    load.check(tables.EVENTS, folder / "events.parquet", target, NOW, load.Refusals(None))
    staging = load.stage(connection, tables.EVENTS, target)
    assert staging in _tables(connection)
    assert _rows(connection, "events", "event_id, user_id") == []
    report = run(folder).report()
    assert [report["events"][key] for key in ("loaded", "already_present")] == [2, 0]
    assert _rows(connection, "events", "event_id, user_id") == [("e1", "u"), ("e2", "u")]
    assert staging not in _tables(connection)


def test_text_arrives_as_it_was(run: Run, connection: Connection, tmp_path: pathlib.Path) -> None:
    names = ["a 'b' \\ \"c\"", "é", "글🦊", "x" * 512]
    folder = _folder(
        tmp_path / "logs",
        [_event(number, user_id=name) for number, name in enumerate(names)],
        [_article("a", title=TEXT)],
    )
    run(folder).report()
    assert _rows(connection, "events", "event_id, user_id") == [(f"e{n}", name) for n, name in enumerate(names)]
    ((title, length),) = _rows(connection, "articles", "title, LENGTH(title)")
    assert (title, length) == (TEXT, 10_000)


def test_refused_rows_are_listed_and_the_others_loaded(
    run: Run, connection: Connection, tmp_path: pathlib.Path
) -> None:
    events = [
        _event(0, event_time=NOW + datetime.timedelta(seconds=1)),
        _event(1), _event(2, user_id="a\0b"), _event(1, user_id="later"), _event(3, article_id="absent"),
    ]  # fmt: skip
    folder = _folder(tmp_path / "logs", events, [_article("a")])
    refused = tmp_path / "refused.jsonl"
    result = run(folder, "--max-refused-share", "0.5", "--refused", str(refused))
    assert result.report()["events"] == {
        "rows_read": 5,
        "refused": {"event_time in the future": 1, "control character in an id": 1},
        "duplicates": 1,
        "loaded": 2,
        "already_present": 0,
    }
    lines = [json.loads(line) for line in refused.read_text(encoding="utf-8").splitlines()]
    assert [(line["table"], line["row"], line["column"]) for line in lines] == [
        ("events", 0, "event_time"), ("events", 2, "user_id"), ("events", 3, "event_id"),
    ]  # fmt: skip
    assert _rows(connection, "events", "event_id, article_id") == [("e1", "a"), ("e3", "absent")]


def test_too_many_refused_rows_load_nothing(run: Run, connection: Connection, tmp_path: pathlib.Path) -> None:
    bad = [_event(number, dwell_ms=-1) for number in range(30)]
    folder = _folder(tmp_path / "logs", [*bad, _event(30)], [_article("a")])
    result = run(folder)
    assert result.code == 3
    report = result.report()
    assert report["events"]["refused"] == {"dwell_ms outside 0 to 86400000": 30}
    assert report["articles"]["loaded"] == 0
    assert result.stderr.count("refused: ") == 20
    assert "96.77% of" in result.stderr  # 30 of 31 rows
    assert _tables(connection) == []


def test_duplicates_are_no_reason_to_load_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    folder = _folder(tmp_path / "logs", [_event(1)] * 9, [_article("a")])
    assert run(folder, "--max-refused-share", "0").report()["events"]["duplicates"] == 8


def test_a_file_whose_rows_are_all_refused_loads_nothing(run: Run, tmp_path: pathlib.Path) -> None:
    folder = _folder(tmp_path / "logs", [_event(1, dwell_ms=-1)], [_article("a")])
    report = run(folder, "--max-refused-share", "1").report()
    assert [report["events"][key] for key in ("loaded", "already_present")] == [0, 0]


def test_events_without_rows_are_an_error(run: Run, tmp_path: pathlib.Path) -> None:
    folder = _folder(tmp_path / "logs", [], [_article("a")])
    pq.write_table(tables.EVENTS.arrow_schema().empty_table(), folder / "events.parquet")
    result = run(folder)
    assert result.code == 2
    assert result.stderr.strip().endswith("events.parquet has no rows: there is nothing to load")


@pytest.mark.parametrize("name", ["events", "articles"])
def test_files_that_are_missing_or_no_parquet_are_named(tmp_path: pathlib.Path, name: str) -> None:
    folder = _folder(tmp_path / "logs", [_event(1)], [_article("a")])
    path = folder / f"{name}.parquet"
    table = tables.EVENTS if name == "events" else tables.ARTICLES
    for content in (b"", b"a,b\n1,2\n"):
        path.write_bytes(content)
        with pytest.raises(ContractError, match=rf"{name}\.parquet cannot be read as Parquet"):
            load.check(table, path, tmp_path / "target.parquet", NOW, load.Refusals(None))
    path.unlink()
    with pytest.raises(ContractError, match=rf"{name}\.parquet is missing"):
        load.find_sources(folder)


def test_a_folder_that_is_none_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ContractError, match="absent is no folder"):
        load.find_sources(tmp_path / "absent")


def test_what_bigquery_refuses_is_told(run: Run, connection: Connection, tmp_path: pathlib.Path) -> None:
    folder = _folder(tmp_path / "logs", [_event(1)], [_article("a")])
    connection.client().query_and_wait(f"CREATE VIEW {connection.dataset}.events AS SELECT 'e1' AS event_id")
    result = run(folder)
    assert result.code == 2
    assert f"BigQuery refused the load into {connection.project}.{connection.dataset}.*" in result.stderr
