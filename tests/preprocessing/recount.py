"""Decides by other means what a dataset must hold: everything counted again in polars, from the files of the logs.

Shares nothing with the job but the names of columns and files. `python -m tests.preprocessing.recount --dataset DATASET
--logs DIR` compares them and prints one JSON object; it exits with 1 where they differ.
"""

import argparse
import datetime
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import polars.testing

DAY = 86_400_000_000
POPULAR_DAYS = 7
SEQUENCES = ("day", "user_key", "place", "article_id", "region_id", "time", "dwell_ms")


class Recount:
    """What the logs hold in [start, until): `sequences`, `articles` in row order, vocabularies, `popularity`."""

    def __init__(
        self, logs: pathlib.Path, start: datetime.datetime, until: datetime.datetime, most_views: int, popular: int
    ) -> None:
        events = pl.read_parquet(logs / "events.parquet")
        optional = {"received_at": pl.Datetime("us", "UTC"), "region_id": pl.String(), "dwell_ms": pl.Int64()}
        events = _with_columns(events, optional)
        self.sequences = _sequences(events, start, until, most_views)
        viewed = self.sequences.group_by("article_id").agg(pl.len().cast(pl.Int64).alias("views"))
        self.articles = _articles(pl.read_parquet(logs / "articles.parquet"), viewed, until)
        self.regions = _ranked([self.sequences["region_id"], self.articles["region_id"]])
        self.categories = _ranked([self.articles["category_id"]])
        self.popularity = _popularity(self.sequences, self.articles, popular)


def _with_columns(frame: pl.DataFrame, kinds: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """With the columns that the logs may leave out, as nulls."""
    return frame.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in kinds.items() if name not in frame.columns
    )


def _sequences(
    events: pl.DataFrame, start: datetime.datetime, until: datetime.datetime, most_views: int
) -> pl.DataFrame:
    time = pl.col("event_time").dt.epoch("us")
    events = events.filter(pl.col("event_time") >= start, pl.col("event_time") < until)
    events = events.with_columns(time.alias("time"), (time // DAY).alias("day"))
    events = events.sort("received_at", "time", "user_id", "article_id", nulls_last=False)
    events = events.unique(["event_id", "day"], keep="first", maintain_order=True)
    visits = events.filter(pl.col("event_type").is_in(["view", "leave"]))
    visits = visits.sort("user_id", "article_id", "time", "event_id")
    following = [pl.col(name).shift(-1).over("user_id", "article_id").alias(f"next_{name}") for name in _FOLLOWING]
    ends = (pl.col("next_event_type") == "leave") & (pl.col("next_day") <= pl.col("day") + 1)
    dwell = pl.coalesce("dwell_ms", pl.when(ends).then("next_dwell_ms")).fill_null(-1)
    views = visits.with_columns(following).with_columns(dwell_ms=dwell).filter(pl.col("event_type") == "view")
    views = views.filter(pl.len().over("user_id", "day") <= most_views)
    views = views.sort("user_id", "day", "time", "event_id")
    before = pl.col("article_id").shift(1).over("user_id", "day")
    views = views.filter(before.is_null() | (before != pl.col("article_id")))
    keys = _fingerprints(views["user_id"].unique())
    views = views.join(keys, on="user_id").with_columns(
        pl.col("region_id").fill_null(""), pl.int_range(pl.len()).over("user_id", "day").alias("place")
    )
    return views.select(SEQUENCES).sort("day", "user_key", "place")


_FOLLOWING = ("event_type", "day", "dwell_ms")


def _fingerprints(users: pl.Series) -> pl.DataFrame:
    """FARM_FINGERPRINT of each user, as TensorFlow has it: signed 64 bits."""
    import tensorflow as tf

    by_length: dict[int, list[bytes]] = {}
    for user in users.to_list():
        by_length.setdefault(len(user.encode()), []).append(user.encode())
    names, keys = [], []
    for length, ids in by_length.items():
        data = np.frombuffer(b"".join(ids), np.uint8).reshape(-1, length)
        names += [name.decode() for name in ids]
        keys += tf.fingerprint(data, method="farmhash64").numpy().view("<i8")[:, 0].tolist()
    return pl.DataFrame({"user_id": names, "user_key": keys}, schema={"user_id": pl.String, "user_key": pl.Int64})


def _articles(versions: pl.DataFrame, viewed: pl.DataFrame, until: datetime.datetime) -> pl.DataFrame:
    """Every article on offer or viewed, in row order, as it was at `until`."""
    versions = _with_columns(versions, dict.fromkeys(("updated_at", "removed_at"), pl.Datetime("us", "UTC")))
    versions = _with_columns(versions, dict.fromkeys(("region_id", "category_id", "title"), pl.String()))
    versions = _with_columns(versions, {"price": pl.Float64()})
    versions = versions.with_columns(pl.coalesce("updated_at", "created_at").alias("updated_at"))
    state = versions.filter(pl.col("updated_at") < until).sort("updated_at").unique("article_id", keep="last")
    state = state.filter(pl.col("created_at") < until)
    gone = pl.col("removed_at") < until
    state = state.with_columns(pl.when(gone).then("removed_at").alias("removed_at"))
    every = state.join(viewed, on="article_id", how="full", coalesce=True).with_columns(pl.col("views").fill_null(0))
    on_offer = pl.col("created_at").is_not_null() & pl.col("removed_at").is_null()
    return every.filter(on_offer | (pl.col("views") > 0)).sort(["views", "article_id"], descending=[True, False])


def _ranked(columns: Sequence[pl.Series]) -> list[str]:
    """Values that are there, most frequent first."""
    values = pl.concat([column.alias("value").cast(pl.String) for column in columns])
    values = values.filter(values.is_not_null() & (values != ""))
    counts = values.to_frame().group_by("value").len().sort(["len", "value"], descending=[True, False])
    return counts["value"].to_list()


def _popularity(sequences: pl.DataFrame, articles: pl.DataFrame, most: int) -> pl.DataFrame:
    """`region_id` (null over all), `article_id`, `score` of the best of each region."""
    newest = sequences["day"].max()
    age = ((newest + 1) * DAY - pl.col("time")) / DAY  # type: ignore[operator]
    recent = sequences.filter(pl.col("day") > newest - POPULAR_DAYS).with_columns(score=0.5**age)  # type: ignore[operator]
    gone = articles.filter(pl.col("removed_at").is_not_null()).select("article_id")
    recent = recent.join(gone, on="article_id", how="anti")
    by_region = recent.filter(pl.col("region_id") != "").group_by("region_id", "article_id").agg(pl.col("score").sum())
    overall = recent.group_by("article_id").agg(pl.col("score").sum()).with_columns(region_id=pl.lit(None, pl.String))
    both = pl.concat([by_region, overall.select(by_region.columns)])
    rank = pl.struct(-pl.col("score"), "article_id").rank("ordinal").over("region_id")
    return both.filter(rank <= most)


def differences(dataset: pathlib.Path, logs: pathlib.Path) -> list[str]:
    """What is not as the logs have it, a line each; none where all is equal."""
    manifest = json.loads((dataset / "manifest.json").read_text())
    config, contents = manifest["identity"]["config"], manifest["contents"]
    start, until = (datetime.datetime.fromisoformat(config[name]) for name in ("start", "until"))
    expected = Recount(logs, start, until, config["max_views_per_day"], config["popular_per_region"])
    vocabularies = {
        name: (dataset / entry["path"]).read_text().split("\n")[:-1] for name, entry in contents["vocabularies"].items()
    }
    checks = {
        "vocabulary of articles": (vocabularies["article_id"], expected.articles["article_id"].to_list()),
        "vocabulary of regions": (vocabularies["region_id"], expected.regions),
        "vocabulary of categories": (vocabularies["category_id"], expected.categories),
    }
    found = [f"{name}: {_first_difference(*pair)}" for name, pair in checks.items() if pair[0] != pair[1]]
    frames = {
        "sequences": (_written_sequences(dataset, contents, vocabularies), expected.sequences),
        "features of articles": (_written_features(dataset, contents), _features(expected)),
        "popularity": tuple(
            frame.select("region_id", "article_id", "score").sort("region_id", "article_id")
            for frame in (pl.read_parquet(dataset / "popularity.parquet"), expected.popularity)
        ),
    }  # fmt: skip
    for name, (left, right) in frames.items():
        try:
            polars.testing.assert_frame_equal(left, right, abs_tol=2e-6, rel_tol=1e-5)
        except AssertionError as error:
            found.append(f"{name}: {error}")
    return found


def _first_difference(left: Sequence[str], right: Sequence[str]) -> str:
    places = [place for place, (one, other) in enumerate(zip(left, right, strict=False)) if one != other]
    place = places[0] if places else min(len(left), len(right))
    return (
        f"{len(left)} values, expected {len(right)}; at {place}: {left[place : place + 3]}, {right[place : place + 3]}"
    )


def _written_sequences(dataset: pathlib.Path, contents: Any, vocabularies: Any) -> pl.DataFrame:
    articles = pl.Series("article_id", vocabularies["article_id"], pl.String)
    regions = pl.Series("region_id", [*vocabularies["region_id"], ""], pl.String)
    parts = [
        pl.DataFrame(
            schema=dict.fromkeys(("day", "user_key", "place", "article", "region", "time", "dwell_ms"), pl.Int64)
        )
    ]
    for entry in contents["segments"]:
        day = (datetime.date.fromisoformat(entry["day"]) - datetime.date(1970, 1, 1)).days
        for block in _examples(dataset.parent / entry["path"]):
            counts = block["views"]
            place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            columns = {"user_key": np.repeat(block["user_key"], counts), "place": place}
            columns |= {name: block[name] for name in ("article", "region", "time", "dwell_ms")}
            parts.append(pl.DataFrame({"day": np.full(len(place), day), **columns}))
    whole = pl.concat(parts)
    named = whole.with_columns(
        articles.gather(whole["article"]), regions.gather(whole["region"].replace(-1, len(regions) - 1))
    )
    return named.select(SEQUENCES).sort("day", "user_key", "place")


def _examples(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Name -> values of each Example of a file."""
    import tensorflow as tf

    for serialised in tf.data.TFRecordDataset([str(path)]):
        features = tf.train.Example.FromString(serialised.numpy()).features.feature
        yield {
            name: np.array(feature.float_list.value)
            if feature.HasField("float_list")
            else np.array(feature.int64_list.value, np.int64)
            for name, feature in features.items()
        }


_NUMBERS = ("article", "region", "category", "price", "has_price", "created_time", "removed_time", "views")


def _written_features(dataset: pathlib.Path, contents: Any) -> pl.DataFrame:
    title = next(entry["key"] for entry in contents["feature_spec"]["catalogue"] if entry["name"] == "title")
    rows = [
        {**{name: example[name][0] for name in _NUMBERS}, "trigrams": len(example[title])}
        for path in sorted((dataset / "catalogue").iterdir())
        for example in _examples(path)
    ]
    return pl.DataFrame({name: [float(row[name]) for row in rows] for name in (*_NUMBERS, "trigrams")})


def _features(expected: Recount) -> pl.DataFrame:
    """The numeric features of the articles in row order."""
    articles = expected.articles
    indices = {
        name: {value: index for index, value in enumerate(values)}
        for name, values in (("region_id", expected.regions), ("category_id", expected.categories))
    }
    price = np.log1p(articles["price"].cast(pl.Float32).to_numpy().astype(np.float64))
    known = np.isfinite(price)
    deviation = price[known].std() if known.any() else 0.0
    scaled = np.where(known, (price - price[known].mean()) / deviation, 0.0) if deviation else np.zeros(len(price))
    titles = [(title or "").strip(" \t\n\r\v\f").lower() for title in articles["title"].to_list()]
    columns = {
        "article": np.arange(len(articles)),
        **{
            name: [
                indices[f"{name}_id"].get(value, len(indices[f"{name}_id"]))
                for value in articles[f"{name}_id"].to_list()
            ]
            for name in ("region", "category")
        },
        "price": scaled,
        "has_price": known,
        "created_time": articles["created_at"].dt.epoch("us").fill_null(-(2**63)),
        "removed_time": articles["removed_at"].dt.epoch("us").fill_null(2**63 - 1),
        "views": articles["views"],
        "trigrams": [min(len(title), 48) for title in titles],
    }
    return pl.DataFrame({name: np.asarray(values, np.float64) for name, values in columns.items()})


def main() -> int:
    """Prints `{"equal", "views", "differences"}`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=pathlib.Path, required=True)
    parser.add_argument("--logs", type=pathlib.Path, required=True)
    args = parser.parse_args()
    found = differences(args.dataset, args.logs)
    manifest = json.loads((args.dataset / "manifest.json").read_text())
    print(json.dumps({"equal": not found, "views": manifest["figures"]["views"], "differences": found}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
