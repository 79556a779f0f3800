"""The stage makes a dataset once, whole or not at all, and of unfit input an error that names it."""

import pathlib
import sys
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from preprocessing import artifact, config, files
from preprocessing.__main__ import main
from preprocessing.bigquery import Connection
from tests.preprocessing import logs
from tests.preprocessing.handmade import EVENTS, UNTIL, Builds, opened
from tests.preprocessing.logs import article, at, view
from training.dataset import Dataset


def test_a_killed_run_leaves_no_dataset_and_the_next_one_makes_it(builds: Builds, market: Dataset) -> None:
    (draft,) = builds.left_by_killed
    assert draft.startswith(".draft-")
    assert [path.name for path in builds.folder.iterdir()] == [market.manifest.id]
    assert builds.first.result["reused"] is False
    assert builds.first.result["path"] == str(builds.folder / market.manifest.id)


def test_the_same_run_again_is_reused(builds: Builds) -> None:
    assert builds.second.code == 0, builds.second.errors
    assert builds.second.result == builds.first.result | {"reused": True}
    assert "count" not in builds.second.errors


def test_two_builds_of_the_same_input_have_the_same_contents(builds: Builds, market: Dataset) -> None:
    other = opened(builds.elsewhere)
    assert (builds.elsewhere.result["reused"], other.manifest.id) == (False, market.manifest.id)
    assert _but_hashes(other.contents) == _but_hashes(market.contents)
    tables = [path.relative_to(market.folder) for path in market.folder.rglob("*.parquet")]
    assert len(tables) == 3 + 5  # catalogue, popularity, regions, counts
    for name in tables:
        assert pq.read_table(other.folder / name).equals(pq.read_table(market.folder / name))
    written = [path.relative_to(market.folder) for path in market.folder.rglob("*.tfrecord")]
    assert len(written) == 3 + 1  # segments and catalogue
    for path in written:
        # The features of an example come in any order, so that bytes may differ.
        assert _examples(other.folder / path) == _examples(market.folder / path)
    texts = [*(market.folder / "vocabularies").iterdir(), *market.folder.glob("*.json*")]
    for path in [path.relative_to(market.folder) for path in texts if path.name != "manifest.json"]:
        assert (other.folder / path).read_bytes() == (market.folder / path).read_bytes()


def _but_hashes(contents: artifact.Json) -> dict[str, Any]:
    """Bytes of equal examples differ, see above; their size does not."""
    segments = [{name: value for name, value in entry.items() if name != "sha256"} for entry in contents["segments"]]
    return {**contents, "segments": segments}


def _examples(path: pathlib.Path) -> list[tf.train.Example]:
    return [tf.train.Example.FromString(row.numpy()) for row in tf.data.TFRecordDataset([str(path)])]


def test_the_manifest_lists_segments_days_and_figures(market: Dataset) -> None:
    files = {path.relative_to(market.folder).as_posix(): path for path in market.folder.glob("segments/*/*")}
    assert market.contents["segments"] == [
        {
            "day": day, "bucket": bucket, "users": users, "views": views, "path": f"{market.manifest.id}/{name}",
            "size_bytes": files[name].stat().st_size, "sha256": artifact.sha256(files[name]),
        }
        for day, bucket, users, views in [("2026-01-01", 9, 2, 5), ("2026-01-02", 8, 1, 1), ("2026-01-02", 9, 2, 3)]
        for name in [f"segments/{day}/{bucket:04d}.tfrecord"]
    ]  # fmt: skip
    # On the first day 12 events, of which 6 are views of people (one repeats the one before) and 5 of a bot. The repeat
    # of the second day never reached the table.
    days = [(day["day"], day["rows"], day["views"], day["users"]) for day in market.contents["days"]]
    assert days == [("2026-01-01", 12, 5, 2), ("2026-01-02", 4, 4, 3)]
    plain = {name: market.contents[name] for name in ("until", "articles", "embedding_dim", "buckets", "title_buckets")}
    assert plain == {
        "until": "2026-01-03T00:00:00+00:00", "articles": 7, "embedding_dim": 2, "buckets": 10, "title_buckets": 1000,
    }  # fmt: skip
    figures = dict(market.manifest.figures)
    assert set(figures["seconds"]) == {
        "schema", "days", "query", "count", "vocabularies", "transform", "statistics",
    }  # fmt: skip
    counted = {name: figures[name] for name in ("articles", "days_of_users", "views", "views_of_unknown_articles")}
    assert counted == {"articles": 7, "days_of_users": 5, "views": 9, "views_of_unknown_articles": 1}
    assert figures["dead_letters"] == {"events: more than 4 views of the user on the day": 1}
    assert {name: stage["views"] for name, stage in figures["stages"].items()} == {
        "count": 9, "analyze": 0, "catalogue": 0, "views": 9,
    }  # fmt: skip
    assert figures["counters"]["views"]["segments"] == 3
    assert figures["statistics"]["users"] == 3
    # Every event but one duplicate and the one at the end of the window; all articles but the later version.
    watermark = market.manifest.identity.watermark
    assert (watermark["events"][0], watermark["articles"][0]) == (len(EVENTS) - 2, 6)
    assert not any(name.startswith(".") for name in market.manifest.files)


def test_a_window_without_events_is_an_error(
    connection: Connection, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert connection.endpoint is not None
    assert connection.storage_endpoint is not None
    logs.insert(connection, [view("e", "u", "a", at(day=2))], [article("a")])
    flags = [
        "--project", connection.project, "--dataset", connection.dataset, "--endpoint", connection.endpoint,
        "--storage-endpoint", connection.storage_endpoint, "--until", UNTIL, "--out", str(tmp_path / "datasets"),
    ]  # fmt: skip
    assert main(["run", *flags]) == 2
    message = "error: no views between 1970-01-01T00:00:00+00:00 and 2026-01-03T00:00:00+00:00 in "
    assert message in capsys.readouterr().err
    assert not (tmp_path / "datasets").exists()
    assert "tensorflow_transform" not in sys.modules


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--until", "2026-01-03T00:00:00"], "until is '2026-01-03T00:00:00', which has no time zone"),
        (["--until", "yesterday"], "until is 'yesterday', an ISO time such as 2026-01-31T00:00:00Z is needed"),
        (["--start", "2026-01-04T00:00:00Z"], "start 2026-01-04T00:00:00Z is not before until 2026-01-03T00:00:00Z"),
        (["--start", UNTIL], "is not before until"),
        (["--start", "2026-01-01"], "start is '2026-01-01', which has no time zone"),
        (["--buckets", "-1"], "buckets is -1, at least 0 is needed"),
        (["--min-views", "0"], "min_views is 0, at least 1 is needed"),
        (["--top-articles", "-1"], "top_articles is -1, at least 0 is needed"),
        (["--processes", "0"], "processes is 0, at least 1 is needed"),
        (["--", "--runner=DaskRunner"], "--runner=DaskRunner is refused"),
        (["--max-views-per-day", "-1"], "max_views_per_day is -1, at least 1 is needed"),
        (["--title-buckets", "0"], "title_buckets is 0"),
        (["--popular-per-region", "0"], "popular_per_region is 0"),
    ],
)
def test_flags_that_make_no_sense_are_named(
    flags: list[str], message: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--until", UNTIL, "--out", str(tmp_path), "--project", "p", *flags]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_times_of_any_zone_are_utc() -> None:
    window = config.Config(until="2026-01-03T09:00:00+09:00", start="2025-12-31T19:00:00-05:00").normalised().window()
    assert (window.start, window.until) == (at(), at(day=2))


def test_embeddings_have_one_width() -> None:
    kind = pa.list_(pa.float64())
    assert files.embedding_dim(pa.chunked_array([[None, []], [[1.0, 2.0], [3.0, 4.0]]], kind)) == 2
    assert files.embedding_dim(pa.chunked_array([[None, []]], kind)) == 0
    with pytest.raises(ValueError, match=r"column embedding .* widths \[1, 2\], one width is needed"):
        files.embedding_dim(pa.chunked_array([[[1.0, 2.0]], [[3.0]]], kind))
