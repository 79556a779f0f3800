"""A quality run on the small marketplace of the road, and what it cuts and chooses."""

import json
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from preprocessing.emulator import Emulator
from tests.conftest import bigquery_environment
from tests.stages import Road
from training import ablation, quality, two_stages
from training.__main__ import main
from training.dataset import open_dataset
from training.kinds import Statistics, statistics
from training.presets import Preset
from training.targets import last_views, read_views

SMALL = Preset(
    candidate=("--epochs", "1", "--least-steps", "40", "--eval-every", "20", "--dim", "16", "--batch-views", "1000"),
    ranking=("--epochs", "2", "--batch-articles", "400", "--hidden", "16", "--expert", "8", "--without", "attention"),
    candidates=60,
    ranking_share=0.4,
)


@pytest.fixture(scope="module")
def measured(
    road: Road, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory
) -> tuple[pathlib.Path, dict[str, object]]:
    """The last day of the road's logs, by every stage; the folder and the report."""
    out = tmp_path_factory.mktemp("quality")
    last_day = str(np.datetime64(road.until[:19]) - np.timedelta64(1, "D")) + "Z"
    window = ["--from", last_day, "--to", road.until, "--sample", "1"]
    with pytest.MonkeyPatch.context() as patch:
        for module in (quality, two_stages):
            patch.setattr(module, "PRESETS", {"marketplace": SMALL})
        # A model from so few lists is not better than chance, but it shows that the stages fit.
        patch.setattr(two_stages, "LEAST_LISTS", 1)
        for name, value in bigquery_environment(emulator, "quality").items():
            patch.setenv(name, value)
        flags = ["--logs", str(road.logs), *window, "--preset", "marketplace", "--out", str(out)]
        assert main(["quality", *flags]) == 0
    return out, json.loads((out / "report.json").read_text())


def test_every_stage_is_measured_beside_popularity_and_the_oracle(
    measured: tuple[pathlib.Path, dict[str, object]],
) -> None:
    out, report = measured
    stages = report["stages"]
    assert isinstance(stages, dict)
    assert {"candidates", "oracle", "popular_7_days_by_region"} <= set(stages)
    assert ("ranked" in stages) is bool(report["ranking"]["better"])  # type: ignore[index]
    for found in stages.values():
        assert {"HR@10", "HR@200", "NDCG@10", "MAP", "coverage@10", "known", "fresh"} <= set(found)
    assert stages["oracle"]["HR@10"] > stages["candidates"]["HR@10"]
    last = "ranked" if "ranked" in stages else "candidates"
    answered = pq.read_table(out / "predictions.parquet")
    assert answered.equals(pq.read_table(out / f"predictions_{last}.parquet"))


def test_the_report_is_one_page_that_needs_nothing_else(measured: tuple[pathlib.Path, dict[str, object]]) -> None:
    page = (measured[0] / "report.html").read_text(encoding="utf-8")
    assert "<script src=" not in page
    assert "Measures of each stage" in page
    assert "candidate: evaluations while training" in page


def test_what_a_part_is_worth_is_measured_without_it(
    measured: tuple[pathlib.Path, dict[str, object]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, report = measured
    monkeypatch.setattr(ablation, "PRESETS", {"marketplace": SMALL})
    assert main(["ablation", "--quality", str(out), "--only", "age", "two_tower", "--sample", "1"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["features"]) == {"everything", "age", "two_tower"}
    assert set(told["sources"]) == {"everything", "two_tower"}
    assert told["sources"]["two_tower"] != told["sources"]["everything"]
    evaluation = report["ranking"]["evaluation"]  # type: ignore[index]
    assert told["features"]["everything"]["NDCG@10"] == pytest.approx(evaluation["NDCG@10"], abs=1e-5)
    assert main(["ablation", "--quality", str(out), "--only", "mood"]) == 2
    assert "--only names 'mood', there are age, category, " in capsys.readouterr().err


def test_the_last_views_are_cut_off(road: Road, tmp_path: pathlib.Path) -> None:
    quality.without_last_views(road.logs, tmp_path)
    whole, cut = read_views(str(road.logs)), read_views(str(tmp_path))
    gone = set(whole.event_ids.to_pylist()) - set(cut.event_ids.to_pylist())
    assert gone == {whole.event_ids[row].as_py() for row in last_views(whole).tolist()}
    others = pq.read_table(road.logs / "events.parquet")["event_type"].value_counts().to_pylist()
    kept = pq.read_table(tmp_path / "events.parquet")["event_type"].value_counts().to_pylist()
    counts, left = ({one["values"]: one["counts"] for one in found} for found in (others, kept))
    assert left == {**counts, "view": counts["view"] - len(gone)}


def test_what_kind_of_logs_these_are(road: Road) -> None:
    with open_dataset(str(road.dataset)) as dataset:
        found = statistics(dataset)
    assert (found.preset, found.views > 500, 4 < found.days <= 5) == ("marketplace", True, True)
    assert Statistics(1, 1.0, 0.8, 0.1).preset == "news"
    assert Statistics(1, 1.0, 0.8, 0.9).preset == Statistics(1, 1.0, 0.1, 0.0).preset == "marketplace"
    assert Statistics(1, 1.0, 0.01, 0.9).preset == "shop-history"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--protocol", "leave-one-out", "--logs", "x", "--from", "2026-01-01"], "no --from, no --to"),
        (["--protocol", "lists", "--logs", "x"], "--from is missing: protocol lists asks from a time on"),
        (["--protocol", "lists"], "--logs is missing: simulated logs are asked about their last day"),
    ],
)
def test_flags_that_make_no_sense_are_named(
    flags: list[str], said: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quality", *flags, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err
