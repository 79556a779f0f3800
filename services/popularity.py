"""Decides what is shown where the model has nothing to say: popular in the region, then overall, then the rest."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from services.candidates import Candidates, Rows, Source
from services.catalogue import Catalogue
from services.eligibility import Eligibility

IN_REGION: Source = "popular_in_region"
OVERALL: Source = "popular"
REST: Source = "catalogue"


@dataclasses.dataclass(frozen=True)
class Popularity:
    """The lists of `popularity.parquet`, each best first: `overall`, and one for each region that has views; and the
    `rest`, all rows of the release from the most viewed on."""

    overall: Candidates
    regions: Mapping[str, Candidates]
    rest: Rows

    def fill(self, k: int, region_id: str | None, eligible: Eligibility) -> list[Candidates]:
        """Up to `k` distinct eligible articles: of the region, then overall, then the rest and what came since, both
        with score 0."""
        chosen: list[Candidates] = []
        for block in self._blocks(region_id, len(eligible.catalogue)):
            if k <= 0:
                break
            picked = block.where(eligible.mask(block.rows)).first(k)
            if len(picked):
                chosen.append(picked)
                eligible = eligible.without(picked.rows)
                k -= len(picked)
        return chosen

    def _blocks(self, region_id: str | None, articles: int) -> Iterator[Candidates]:
        if region_id is not None and region_id in self.regions:
            yield self.regions[region_id]
        yield self.overall
        yield Candidates(REST, self.rest, np.zeros(len(self.rest)))
        yield Candidates(REST, np.arange(articles, dtype=np.int64), np.zeros(articles))


def read(path: pathlib.Path, catalogue: Catalogue, rest: Rows) -> Popularity:
    """Reads `popularity.parquet`; `rest` are the rows of the release in its own order, by views.

    Raises ValueError for an article outside the catalogue or an infinite score.
    """
    table = pq.read_table(path, columns=["region_id", "article_id", "score"])
    overall = _candidates(OVERALL, table.filter(pc.is_null(table["region_id"])), catalogue)
    regions = pc.unique(table["region_id"]).drop_null().to_pylist()
    lists = {
        region: _candidates(IN_REGION, table.filter(pc.equal(table["region_id"], region)), catalogue)
        for region in regions
    }
    return Popularity(overall, lists, rest)


def _candidates(source: Source, table: pa.Table, catalogue: Catalogue) -> Candidates:
    article_ids = table["article_id"].to_pylist()
    rows = np.array(catalogue.known(article_ids), dtype=np.int64)
    if len(rows) < len(article_ids):
        unknown = next(article_id for article_id in article_ids if catalogue.row(article_id) is None)
        raise ValueError(f"article {unknown!r} is not in catalogue.parquet")
    scores = np.asarray(table["score"].cast(pa.float64()).to_numpy(), dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"the score of article {article_ids[int(np.argmin(np.isfinite(scores)))]!r} is no finite number"
        )
    if len(np.unique(rows)) != len(rows):
        raise ValueError(f"a list of source {source!r} names an article twice")
    best_first = np.lexsort((rows, -scores))
    return Candidates(source, rows[best_first], scores[best_first])
