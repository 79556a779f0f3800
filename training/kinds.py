"""Decides which kind of logs a dataset is made of, by its own statistics; training.presets says what follows."""

import argparse
import dataclasses
import datetime
import json

import numpy as np

from training.dataset import Dataset, open_dataset
from training.inputs import read_bucket

DAY = 24 * 3_600 * 1_000_000
FRESH_DAYS = 3
HISTORY_BELOW, NEWS_FROM, PRICED_FROM = 0.02, 0.3, 0.5


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
