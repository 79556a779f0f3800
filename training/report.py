"""Decides how a quality run is shown: one HTML file with plots that needs nothing else, and the figures as JSON."""

import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io
import pyarrow.compute as pc
import pyarrow.parquet as pq

Curves = Mapping[str, Sequence[Mapping[str, float]]]
SHOWN = ("HR@10", "HR@200", "NDCG@10", "MAP", "AUC", "MRR", "coverage@10")
TOP = 10


def write(out: pathlib.Path, result: Mapping[str, Any], curves: Curves, answers: Mapping[str, pathlib.Path]) -> None:
    """Writes `report.html` and `report.json` into the folder `out`."""
    (out / "report.json").write_text(json.dumps(dict(result), indent=1), encoding="utf-8")
    figures = [_stages(result["stages"])]
    figures += [_curve(stage, evaluations) for stage, evaluations in curves.items()]
    figures += [_calibration(stage, found) for stage, found in result["stages"].items() if "calibration" in found]
    figures += [mix for stage, path in answers.items() if (mix := _sources(stage, path)) is not None]
    plots = [
        plotly.io.to_html(figure, full_html=False, include_plotlyjs="inline" if not place else False)
        for place, figure in enumerate(figures)
    ]
    title = f"Quality: {result['protocol']}, preset {result['preset']}"
    page = (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>{STYLE}</head>"
        f"<body><h1>{html.escape(title)}</h1>{_table(result['stages'])}{''.join(plots)}"
        f"<h2>Seconds</h2>{_seconds(result['seconds'])}</body></html>"
    )
    (out / "report.html").write_text(page, encoding="utf-8")


STYLE = (
    "<style>body{font-family:sans-serif;max-width:70em;margin:2em auto;padding:0 1em}table{border-collapse:collapse}"
    "td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}td:first-child{text-align:left}</style>"
)


def _table(stages: Mapping[str, Any]) -> str:
    """Fresh and known articles apart, where they are told apart."""
    columns = [name for name in SHOWN if any(name in found for found in stages.values())]
    parts = [part for part in ("fresh", "known") if any(part in found for found in stages.values())]
    rows = [["", *columns, *(f"{part} HR@10" for part in parts)]]
    for name, found in stages.items():
        apart = [cell(found.get(part, {}), "HR@10") for part in parts]
        rows.append([name, *(cell(found, column) for column in columns), *apart])
    return table(rows)


def _seconds(seconds: Mapping[str, float]) -> str:
    return table([["stage", "seconds"], *([name, f"{value:.1f}"] for name, value in seconds.items())])


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the head."""
    head, *body = [[html.escape(cell) for cell in row] for row in rows]
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body]
    return f"<table>{''.join(lines)}</table>"


def cell(found: Mapping[str, Any], name: str) -> str:
    """A measure, a dash where there is none."""
    return f"{found[name]:.4f}" if name in found else "-"


def _stages(stages: Mapping[str, Any]) -> go.Figure:
    columns = [name for name in SHOWN if any(name in found for found in stages.values())]
    bars = [go.Bar(name=name, x=columns, y=[found.get(column) for column in columns]) for name, found in stages.items()]
    return go.Figure(bars, {"title": "Measures of each stage", "barmode": "group"})


def _curve(stage: str, evaluations: Sequence[Mapping[str, float]]) -> go.Figure:
    steps = [evaluation["step"] for evaluation in evaluations]
    names = [name for name in evaluations[0] if name != "step"] if evaluations else []
    lines = [go.Scatter(name=name, x=steps, y=[one[name] for one in evaluations]) for name in names if name != "loss"]
    return go.Figure(lines, {"title": f"{stage}: evaluations while training", "xaxis": {"title": "step"}})


def _calibration(stage: str, found: Mapping[str, Any]) -> go.Figure:
    rows = found["calibration"]
    predicted, observed = ([row[name] for row in rows] for name in ("predicted", "observed"))
    # Two standard deviations of what chance does to so many views.
    chance = [2 * row["observed"] / max(row["views"], 1) ** 0.5 for row in rows]
    lines = [
        go.Scatter(
            name="observed", x=predicted, y=observed, mode="markers+lines", error_y={"type": "data", "array": chance}
        ),
        go.Scatter(name="ideal", x=predicted, y=predicted, line={"dash": "dot"}),
    ]
    return go.Figure(lines, {"title": f"{stage}: observed rate of views by tenth of the predicted one"})


def _sources(stage: str, path: pathlib.Path) -> go.Figure | None:
    """Where the first ten of the answers come from."""
    if "source" not in pq.read_schema(path).names:
        return None
    table = pq.read_table(path, columns=["position", "source"])
    counts = pc.value_counts(table.filter(pc.less_equal(table["position"], TOP))["source"]).to_pylist()
    shares = {str(entry["values"]): entry["counts"] for entry in counts}
    return go.Figure(
        [go.Pie(labels=list(shares), values=list(shares.values()))], {"title": f"{stage}: sources of the first ten"}
    )
