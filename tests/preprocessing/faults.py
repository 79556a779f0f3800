"""Decides how tests spoil the counts and the catalogue of a service, as its clients and jobs might."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Tables = dict[str, pa.Table]
Fault = Callable[[Tables, pa.Table], tuple[Tables, pa.Table]]


def dwell_in_seconds(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """A thousandth is 349 bins less: ln 1000 / ln 1.02 = 348.8."""
    numbers, bins = tables["numbers"], tables["numbers"]["bin"].to_numpy()
    is_dwell = pc.equal(numbers["feature"], "dwell_ms").to_numpy()
    return tables | {
        "numbers": _replace(numbers, "bin", np.where(is_dwell, np.maximum(bins - 349, 0), bins))
    }, catalogue


def times_of_another_zone(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """Nine hours later."""
    values = [
        str((int(row["value"]) + 9) % 24) if row["feature"] == "hour" else row["value"]
        for row in tables["categories"].select(["feature", "value"]).to_pylist()
    ]
    return tables | {"categories": _replace(tables["categories"], "value", values)}, catalogue


def no_region_yesterday(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """Clients that stopped to tell it."""
    newest = _newest(tables)
    values = [
        "" if (row["feature"], row["day"]) == ("region_id", newest) else row["value"]
        for row in tables["categories"].to_pylist()
    ]
    return tables | {"categories": _replace(tables["categories"], "value", values)}, catalogue


def users_renamed_each_day(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """Nobody comes twice."""
    keys = np.arange(tables["users"].num_rows)
    return tables | {"users": _replace(tables["users"], "user_key", keys)}, catalogue


def a_fifth_of_yesterday(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """Of views, and of the users."""
    newest = _newest(tables)
    fewer = {}
    for name, column in (("articles", "views"), ("categories", "count"), ("numbers", "count")):
        counts, day = (tables[name][key].to_numpy() for key in (column, "day"))
        fewer[name] = _replace(tables[name], column, np.where(day == newest, counts // 5, counts))
    users = tables["users"]
    kept = (users["day"].to_numpy() != newest) | (np.arange(users.num_rows) % 5 == 0)
    return tables | fewer | {"users": users.filter(pa.array(kept))}, catalogue


def prices_in_another_currency(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """A thousand times as much."""
    return tables, _replace(catalogue, "price", catalogue["price"].to_numpy() * 1_000)


def no_new_articles_for_two_weeks(tables: Tables, catalogue: pa.Table) -> tuple[Tables, pa.Table]:
    """All of them are two weeks older."""
    earlier = catalogue["created_at"].to_numpy() - np.timedelta64(14, "D")
    return tables, _replace(catalogue, "created_at", earlier)


def _replace(table: pa.Table, column: str, values: object) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values, table.schema.field(column).type))


def _newest(tables: Tables) -> int:
    return int(tables["users"]["day"].to_numpy().max())
