"""Decides how a kind of logs is trained on and answered from; a dataset's own statistics say which kind it is."""

import argparse
import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence

import numpy as np

from training.dataset import Dataset, open_dataset
from training.inputs import read_bucket

AUTO = "auto"
DAY = 24 * 3_600 * 1_000_000
FRESH_DAYS = 3
HISTORY_BELOW, NEWS_FROM, PRICED_FROM = 0.02, 0.3, 0.5


@dataclasses.dataclass(frozen=True)
class Preset:
    """Flags of `training candidate` and of `training ranking`, and further ones of that where it learns from lists that
    were shown; how many candidates are ranked, which newest part of the views the ranking learns from, and about how
    many lists of it. How they were chosen: docs/decisions/0008-ranking.md."""

    candidate: Sequence[str] = ()
    ranking: Sequence[str] = ()
    shown: Sequence[str] = ("--dropout", "0.2", "--eval-share", "0.15")
    candidates: int = 200
    ranking_share: float = 0.034
    lists: int = 30_000


PRESETS: Mapping[str, Preset] = {
    "marketplace": Preset(ranking_share=0.25),
    "news": Preset(ranking=("--without", "attention"), candidates=300, ranking_share=0.14),
    "shop-history": Preset(
        candidate=(
            "--dim", "128", "--blocks", "2", "--dropout", "0.5", "--negatives", "1024", "--id-dropout", "0",
            "--min-views", "1", "--learning-rate", "0.002", "--epochs", "40", "--eval-every", "660", "--patience", "5",
            "--eval-queries", "25000", "--metric", "NDCG@10",
        ),
    ),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Statistics:
    """`fresh_share`: of the views, how many are of articles that came within the 3 days before; views of the first 3
    days do not count, since whatever was there when the logs began looks new. `priced_share` of the articles has a
    price."""

    views: int
    days: float
    fresh_share: float
    priced_share: float

    @property
    def preset(self) -> str:
        if self.fresh_share < HISTORY_BELOW:
            return "shop-history"
        return "news" if self.fresh_share >= NEWS_FROM and self.priced_share < PRICED_FROM else "marketplace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", required=True, metavar="DATASET", help="a dataset: FOLDER/<id>")


def run(args: argparse.Namespace) -> int:
    """Prints `{"preset", ...statistics}`."""
    with open_dataset(args.dataset) as dataset:
        found = statistics(dataset)
    print(json.dumps({"preset": found.preset, **dataclasses.asdict(found)}))
    return 0


def statistics(dataset: Dataset) -> Statistics:
    """What the views of a dataset say of their kind."""
    catalogue = dataset.catalogue()
    created, priced = catalogue["created_time"].numpy(), catalogue["has_price"].numpy()
    parts = [read_bucket(dataset, bucket) for bucket in dataset.buckets()]
    times = np.concatenate([part["time"].flat_values.numpy() for part in parts])
    articles = np.concatenate([part["article"].flat_values.numpy() for part in parts])
    begin, end = int(times.min()), int(times.max())
    judged = times >= begin + FRESH_DAYS * DAY
    ages = times[judged].astype(np.float64) - created[articles[judged]]
    fresh = float((ages < FRESH_DAYS * DAY).mean()) if judged.any() else 0.0
    days = datetime.timedelta(microseconds=end - begin) / datetime.timedelta(days=1)
    return Statistics(len(times), round(days, 2), round(fresh, 4), round(float(priced.mean()), 4))
