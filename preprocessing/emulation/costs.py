"""Decides what the local BigQuery says a query would read, and refuses one that may not read so much.

A dry run executes nothing. Its estimate is that of BigQuery for tables without partitions: the rows of each table that
is named, times the sizes of its columns that are named (8 bytes a number or time, 2 more than its length a string; of
strings and of nested values an average over the first rows).
"""

import functools
from typing import Any

from bqemulator.api.routes import jobs
from bqemulator.domain.errors import NotFoundError
from bqemulator.storage.sql_identifiers import quoted_table_ref, schema_name
from sqlglot import ParseError, exp, parse

SAMPLE_ROWS = 200
_FIXED = {"BIGINT": 8, "DOUBLE": 8, "TIMESTAMP WITH TIME ZONE": 8, "TIMESTAMP": 8, "DATE": 8, "BOOLEAN": 1}


def patch_costs() -> None:
    """Query jobs tell what they read, obey `maximumBytesBilled`, and do nothing when they run dry."""
    handle = jobs._handle_query_job

    async def costed(
        project_id: str, job_id: str, config: dict[str, Any], *, dry_run: bool, ctx: Any, caller: Any, now: Any
    ) -> Any:
        query = config["query"]
        sql = jobs._apply_default_dataset(query.get("query", ""), query, request_project_id=project_id)
        size = estimate(sql, project_id, ctx.engine)
        job = {"project_id": project_id, "job_id": job_id, "config": config, "now": now}
        if dry_run:
            return _answer(job, sql, size)
        limit = query.get("maximumBytesBilled")
        if limit is not None and size > int(limit):
            return jobs._failed_job_meta(**job, job_type="QUERY", error_result=_too_large(size, int(limit)))
        made = await handle(project_id, job_id, config, dry_run=False, ctx=ctx, caller=caller, now=now)
        made.statistics.setdefault("query", {})["totalBytesProcessed"] = str(size)
        return made

    jobs._handle_query_job = costed


def estimate(sql: str, project_id: str, engine: Any) -> int:
    """Bytes that a query would read; 0 where it is no SQL, for the query itself is told so better. Raises NotFoundError
    for a table that is missing."""
    return sum(_size(tree, table, project_id, engine) for tree in parsed(sql) for table in _tables_read(tree))


@functools.lru_cache(32)
def parsed(sql: str) -> tuple[Any, ...]:
    """The statements of a BigQuery script, not to be changed; none where it is no SQL. Parsing takes longer than
    running small ones."""
    try:
        return tuple(tree for tree in parse(sql, read="bigquery") if tree is not None)
    except ParseError:
        return ()


def _tables_read(tree: Any) -> list[Any]:
    """The tables of a statement but that which it writes; its own definitions are in no dataset."""
    target = tree.this if isinstance(tree, exp.Create) else None
    named = {
        (table.catalog, table.db, table.name): table
        for table in tree.find_all(exp.Table)
        if table is not target and table.db and table.db.upper() != "INFORMATION_SCHEMA"
    }
    return list(named.values())


def _size(tree: Any, table: Any, project_id: str, engine: Any) -> int:
    schema = schema_name(table.catalog or project_id, table.db)
    rows = engine.execute(
        "SELECT estimated_size FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?", [schema, table.name]
    ).fetchall()
    if not rows:
        raise NotFoundError(f"Not found: Table {table.catalog or project_id}:{table.db}.{table.name}")
    wanted = {column.name.lower() for column in tree.find_all(exp.Column)}
    reads_all = any(isinstance(star.parent, exp.Select | exp.Column) for star in tree.find_all(exp.Star))
    columns = engine.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?",
        [schema, table.name],
    ).fetchall()
    target = quoted_table_ref(table.catalog or project_id, table.db, table.name)
    read = [(name, kind) for name, kind in columns if reads_all or name.lower() in wanted]
    return int(rows[0][0] * sum(_width(engine, target, name, kind) for name, kind in read))


def _width(engine: Any, target: str, column: str, kind: str) -> float:
    """Average bytes of a value of a column."""
    if kind in _FIXED:
        return _FIXED[kind]
    text = f'strlen("{column}")' if kind == "VARCHAR" else f'strlen(CAST("{column}" AS VARCHAR))'
    sample = f'SELECT "{column}" FROM {target} LIMIT {SAMPLE_ROWS}'
    ((width,),) = engine.execute(f"SELECT avg(2 + {text}) FROM ({sample})").fetchall()
    return float(width or 0)


def _too_large(size: int, limit: int) -> dict[str, str]:
    message = f"Query exceeded limit for bytes billed: {limit}. {size} or higher required."
    return {"reason": "bytesBilledLimitExceeded", "message": message}


def _answer(job: dict[str, Any], sql: str, size: int) -> Any:
    """The finished job of a dry run; like BigQuery's it cannot be asked for again."""
    statistics = {
        "totalBytesProcessed": str(size),
        "cacheHit": False,
        "statementType": jobs.classify_statement_type(sql),
    }
    made = jobs.JobMeta(
        project_id=job["project_id"], job_id=job["job_id"], job_type="QUERY", state="DONE",
        configuration=job["config"], statistics={"query": statistics, "totalBytesProcessed": str(size)},
        creation_time=job["now"], start_time=job["now"], end_time=job["now"],
        etag=jobs.generate_etag(job["project_id"], job["job_id"], str(job["now"])),
    )  # fmt: skip
    return jobs._build_job_response(job["project_id"], job["job_id"], made, job["config"])
