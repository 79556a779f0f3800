"""Decides how a verdict is shown to people: one HTML file."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from training import report
from training.verdict import Check

NAME = "report.html"
SHOWN = ("targets", "HR@10", "NDCG@10", "HR@200", "MAP", "fresh_share@10", "shown@10")


def write(
    folder: pathlib.Path, release: str, checks: Sequence[Check], measures: Mapping[str, Mapping[str, Any]]
) -> None:
    """Writes `report.html` into the folder."""
    verdict = "passed" if all(check.passed for check in checks) else "refused"
    title = f"Release {release.rstrip('/').rpartition('/')[2]}: {verdict}"
    rows = [["check", "", "why"]]
    rows += [[check.name, "passed" if check.passed else "REFUSED", check.reason] for check in checks]
    contest = [["", *SHOWN]]
    for name, found in measures.items():
        contest.append([name, *(report.cell(found, key) for key in SHOWN)])
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>{report.STYLE}"
        f"</head><body><h1>{html.escape(title)}</h1>{report.table(rows)}<h2>Contest</h2>{report.table(contest)}"
        "</body></html>"
    )
    (folder / NAME).write_text(page, encoding="utf-8")
