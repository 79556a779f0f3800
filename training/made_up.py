"""Decides what a made-up catalogue of any size is like: enough to make a whole release of it without logs."""

import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tensorflow as tf

REGIONS, CATEGORIES, WORDS, TITLE_BUCKETS, OOV = 200, 50, 5_000, 20_000, 16
WORDS_OF_A_TITLE = 4
# Of a history.
VIEWS = 50
NEIGHBOURS = 4
NOW = 1_767_225_600_000_000  # 2026-01-01, microseconds
DAY = 86_400_000_000
Array = npt.NDArray[Any]


class MadeUp:
    """What training asks of a dataset: the n-th article is viewed in proportion to 1 / (n + 10), as most are not."""

    def __init__(self, articles: int, folder: pathlib.Path, seed: int = 0) -> None:
        """The transform graphs are written to `folder`."""
        random = np.random.default_rng([seed, articles])
        self.articles, self.folder = articles, folder
        self.region = random.integers(REGIONS, size=articles)
        self.category = random.integers(CATEGORIES, size=articles)
        # A category has words of its own.
        words = random.integers(WORDS // CATEGORIES, size=(articles, WORDS_OF_A_TITLE))
        self.words = words + self.category[:, np.newaxis] * (WORDS // CATEGORIES)
        self.price = np.round(np.exp(random.normal(3, 1, articles)), 2)
        self.created = NOW - random.integers(1, 90 * DAY, articles)
        self.contents = {
            "oov_article_buckets": OOV,
            "embedding_dim": 0,
            "transforms": {name: name for name in ("catalogue", "views")},
        }
        self.sizes = {"region_id": REGIONS, "category_id": CATEGORIES, "title": TITLE_BUCKETS}
        ids = folder / "article_id.txt"
        ids.write_text("".join(f"{name}\n" for name in self.ids()), encoding="utf-8")
        for name, graph in {"catalogue": CatalogueGraph(ids), "views": ViewsGraph(ids)}.items():
            tf.saved_model.save(graph, str(folder / name / "transform_fn"))

    def ids(self) -> list[str]:
        return [f"article-{row:07d}" for row in range(self.articles)]

    def catalogue(self) -> dict[str, Any]:
        """Transformed articles in row order, as a dataset has them."""
        titles = tf.strings.as_string(self.words.reshape(-1))
        hashed = tf.strings.to_hash_bucket_fast(tf.strings.join(["word-", titles]), TITLE_BUCKETS)
        return {
            "region": tf.constant(self.region),
            "category": tf.constant(self.category),
            "price": tf.constant(np.log1p(self.price), tf.float32),
            "has_price": tf.ones([self.articles]),
            "title": tf.RaggedTensor.from_uniform_row_length(hashed, WORDS_OF_A_TITLE),
            "created_time": tf.constant(self.created),
            "removed_time": tf.fill([self.articles], tf.constant(tf.int64.max)),
        }

    def table(self) -> pa.Table:
        """`catalogue.parquet` with the titles."""
        micros = pa.timestamp("us", tz="UTC")
        return pa.table(
            {
                "article_id": self.ids(),
                "region_id": _names("region", self.region),
                "category_id": _names("category", self.category),
                "seller_id": _names("seller", np.arange(self.articles) % max(self.articles // 20, 1)),
                "title": [" ".join(f"word-{word}" for word in words) for words in self.words.tolist()],
                "price": self.price,
                "created_at": pa.array(self.created, pa.int64()).cast(micros),
                "removed_at": pa.nulls(self.articles, micros),
            }
        )

    def popularity(self, most: int = 1_000, most_in_region: int = 200) -> pa.Table:
        """`popularity.parquet`: the first articles are viewed most."""
        parts: list[tuple[str | None, Array]] = [(None, np.arange(min(most, self.articles)))]
        parts += [(f"region-{region}", rows) for region, rows in enumerate(self._rows_of(self.region, most_in_region))]
        return pa.table(
            {
                "region_id": pa.array([name for name, rows in parts for _ in rows], pa.string()),
                "article_id": [f"article-{row:07d}" for _, rows in parts for row in rows.tolist()],
                "score": np.concatenate([1e6 / (rows + 10.0) for _, rows in parts]),
            }
        )

    def neighbours(self) -> pa.Table:
        """`regions.parquet`: a ring."""
        pairs = [(one, (one + step) % REGIONS, step) for one in range(REGIONS) for step in range(1, NEIGHBOURS + 1)]
        ones, others, steps = zip(*pairs, strict=True)
        return pa.table(
            {
                "region_id": _names("region", np.array(ones)),
                "neighbour_id": _names("region", np.array(others)),
                "distance": np.array(steps, np.float64),
            }
        )

    def users(self, count: int, seed: int = 1) -> tuple[list[str], list[list[int]]]:
        """Regions and histories (rows) of users who look at articles of one region or one category, popular ones more
        often, each once; of all where those are too few."""
        random = np.random.default_rng([seed, self.articles])
        regions, categories = random.integers(REGIONS, size=count), random.integers(CATEGORIES, size=count)
        in_region, in_category = self._rows_of(self.region), self._rows_of(self.category)
        histories = []
        for region, category in zip(regions.tolist(), categories.tolist(), strict=True):
            pool = np.union1d(in_region[region], in_category[category])
            pool = pool if len(pool) >= VIEWS else np.arange(self.articles)
            weights = 1 / (pool + 10.0)
            histories.append(random.choice(pool, VIEWS, replace=False, p=weights / weights.sum()).tolist())
        return [f"region-{region}" for region in regions.tolist()], histories

    def _rows_of(self, places: Array, most: int | None = None) -> list[Array]:
        order = np.argsort(places, kind="stable")
        parts = np.split(order, np.cumsum(np.bincount(places, minlength=places.max(initial=0) + 1))[:-1])
        return [part[:most] for part in parts]


class CatalogueGraph(tf.Module):
    """Raw columns of articles -> what the article tower takes."""

    def __init__(self, ids: pathlib.Path) -> None:
        super().__init__()
        self.rows = _table(ids)

    @tf.function(
        input_signature=[
            {
                **{
                    name: tf.TensorSpec([None], tf.string)
                    for name in ("article_id", "region_id", "category_id", "title")
                },
                "price": tf.TensorSpec([None], tf.float32),
                **{name: tf.TensorSpec([None], tf.int64) for name in ("created_time", "removed_time", "views")},
            }
        ]
    )
    def transform_fn(self, raw: dict[str, tf.Tensor]) -> dict[str, Any]:
        words = tf.strings.split(raw["title"])
        known = tf.math.is_finite(raw["price"])
        return {
            "article": self.rows.lookup(raw["article_id"]),
            "region": _number(raw["region_id"], REGIONS),
            "category": _number(raw["category_id"], CATEGORIES),
            "price": tf.where(known, tf.math.log1p(tf.maximum(raw["price"], 0)), 0),
            "has_price": tf.cast(known, tf.float32),
            "title": words.with_values(tf.strings.to_hash_bucket_fast(words.flat_values, TITLE_BUCKETS)),
        }


class ViewsGraph(tf.Module):
    """Raw views -> ids of articles and regions."""

    def __init__(self, ids: pathlib.Path) -> None:
        super().__init__()
        self.rows = _table(ids)

    @tf.function(
        input_signature=[
            {
                name: tf.RaggedTensorSpec([None, None], tf.string, row_splits_dtype=tf.int64)
                for name in ("article_id", "region_id")
            }
        ]
    )
    def transform_fn(self, raw: dict[str, tf.RaggedTensor]) -> dict[str, Any]:
        return {
            "article": raw["article_id"].with_values(self.rows.lookup(raw["article_id"].flat_values)),
            "region": raw["region_id"].with_values(_number(raw["region_id"].flat_values, REGIONS)),
        }


def _table(ids: pathlib.Path) -> tf.lookup.StaticVocabularyTable:
    initializer = tf.lookup.TextFileInitializer(
        str(ids), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    return tf.lookup.StaticVocabularyTable(initializer, OOV)


def _number(names: tf.Tensor, count: int) -> tf.Tensor:
    """The number behind the dash; what has none is one more."""
    known = tf.strings.regex_full_match(names, r"[a-z]+-[0-9]+")
    digits = tf.strings.regex_replace(tf.where(known, names, f"-{count}"), "^.*-", "")
    return tf.strings.to_number(digits, tf.int64)


def _names(kind: str, numbers: Array) -> list[str]:
    return [f"{kind}-{number}" for number in numbers.tolist()]
