"""A release passes the gate where it is no worse than what is in service and better than popularity, on data that is
like before; else it is refused, and the reason says why."""

import dataclasses
import datetime
import json
import pathlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocessing import artifact
from tests.training import made_logs
from tests.training.made_logs import ARTICLES, END, Made
from training import bootstrap
from training.__main__ import main
from training.gate import THRESHOLDS

FROM = END - datetime.timedelta(hours=12)


def release(folder: pathlib.Path, seed: int, recall: float = 0.99) -> str:
    """The manifest of a release is all that the gate looks at."""
    identity = artifact.Identity("release", {"seed": seed}, {}, "source", "lock")
    path = folder / identity.id
    with artifact.create(str(path), identity) as draft:
        (draft.folder / "file").write_text("content")
        draft.figures |= {"index": {"recall_at_200": recall}}
    return str(path)


@dataclasses.dataclass
class Contest:
    """Logs, and predictions for the views of the last 12 hours in which the right article stands where one says."""

    folder: pathlib.Path
    made: Made

    def __post_init__(self) -> None:
        self.logs = self.made.write(self.folder / "logs")
        self.champion, self.challenger = release(self.folder / "r", 0), release(self.folder / "r", 1)

    def predictions(self, name: str, share_right: float, seed: int, articles: int = ARTICLES) -> str:
        random, rows = np.random.default_rng(seed), []
        for place, time in enumerate(self.made.times):
            if time < FROM:
                continue
            others = [f"a{n}" for n in random.permutation(articles) if f"a{n}" != self.made.articles[place]][:9]
            first = [self.made.articles[place]] if random.random() < share_right else []
            rows += [(f"e{place:06}", at, name) for at, name in enumerate([*first, *others], start=1)]
        path = self.folder / f"{name}.parquet"
        columns = zip(("event_id", "position", "article_id"), zip(*rows, strict=True), strict=True)
        pq.write_table(pa.table({key: list(values) for key, values in columns}), path)
        return str(path)

    def ask(self, challenger: str, champion: str | None, *more: str) -> int:
        flags = ["--logs", self.logs, "--from", FROM.isoformat(), "--to", END.isoformat(), "--rate", "1"]
        flags += [
            "--release",
            self.challenger,
            "--predictions",
            challenger,
            "--verdicts",
            str(self.folder / "verdicts"),
        ]
        if champion is not None:
            flags += ["--champion", self.champion, "--champion-predictions", champion]
        return main(["gate", *flags, *self.few(), *more])

    def few(self) -> list[str]:
        """Thresholds for as few questions as there are here."""
        text = THRESHOLDS.read_text(encoding="utf-8").replace("questions = 200", "questions = 50")
        (self.folder / "few.toml").write_text(text, encoding="utf-8")
        return ["--thresholds", str(self.folder / "few.toml")]


@pytest.fixture
def contest(tmp_path: pathlib.Path) -> Contest:
    return Contest(tmp_path, made_logs.made())


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_as_good_as_the_champion_passes_and_its_verdict_says_so(
    contest: Contest, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = contest.predictions("ours", 0.5, 1), contest.predictions("theirs", 0.5, 2)
    assert contest.ask(ours, theirs, "--per-second", "100") == 0
    first = told(capsys)
    manifest = artifact.read_manifest(first["path"], "verdict")
    assert (first["passed"], first["reasons"], manifest.contents["passed"]) == (True, [], True)
    assert manifest.identity.parents == {
        "challenger": contest.challenger.rpartition("/")[2],
        "champion": contest.champion.rpartition("/")[2],
    }
    assert {check["name"] for check in manifest.contents["checks"]} >= {
        "views", "questions", "popularity", "champion", "coverage", "fresh_share", "index_recall", "answer_ms",
    }  # fmt: skip
    assert manifest.figures["challenger"]["HR@10"] == pytest.approx(0.5, abs=0.1)
    page = (pathlib.Path(first["path"]) / "report.html").read_text()
    assert "passed" in page
    assert "REFUSED" not in page
    assert contest.ask(ours, theirs) == 0
    assert told(capsys)["reused"]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"),
    [
        (0.3, 0.6, "beside the release in service"),
        (0.0, 0.0, "beside recent popularity"),
    ],
)
def test_worse_is_refused(
    contest: Contest, ours: float, theirs: float, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = contest.predictions("ours", ours, 1), contest.predictions("theirs", theirs, 2)
    assert contest.ask(*files) == 5
    found = told(capsys)
    assert not found["passed"]
    assert any(reason in one for one in found["reasons"])


def test_the_first_release_has_popularity_alone_to_beat(contest: Contest, capsys: pytest.CaptureFixture[str]) -> None:
    assert contest.ask(contest.predictions("ours", 0.5, 1), None) == 0
    assert told(capsys)["passed"]


def test_showing_few_articles_is_refused(contest: Contest, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = contest.predictions("ours", 0.0, 1, articles=12), contest.predictions("theirs", 0.0, 2)
    assert contest.ask(ours, theirs) == 5
    assert any("among the first ten" in reason for reason in told(capsys)["reasons"])


def test_slow_answers_are_refused(contest: Contest, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = contest.predictions("ours", 0.5, 1), contest.predictions("theirs", 0.5, 2)
    assert contest.ask(ours, theirs, "--per-second", "10") == 5
    assert told(capsys)["reasons"] == ["what an answer took, in milliseconds, is 100, at most 50 is allowed"]


def test_data_that_is_not_like_before_decides_alone(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = made_logs.made()
    for place in made.of_day(made_logs.DAYS - 1):
        made.regions[place] = None
    contest = Contest(tmp_path, made)
    assert contest.ask(contest.predictions("ours", 0.9, 1), contest.predictions("theirs", 0.1, 2)) == 5
    assert [reason.split(",")[0] for reason in told(capsys)["reasons"]] == ["the share of views without a region"]


def test_half_a_champion_is_an_error(contest: Contest, capsys: pytest.CaptureFixture[str]) -> None:
    ours = contest.predictions("ours", 0.5, 1)
    assert contest.ask(ours, None, "--champion", contest.champion) == 2
    assert "--champion and --champion-predictions belong together" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("questions = 200\n", "", "quality.questions is missing"),
        ("questions = 200", "questions = -1", "quality.questions is -1, a number from 0 is needed"),
        ("[index]", "[indices]", "index.recall is missing, indices.recall is not known"),
        ("[index]", "[index", "this is no TOML"),
    ],
)
def test_thresholds_that_make_no_sense_are_an_error(
    old: str, new: str, message: str, contest: Contest, capsys: pytest.CaptureFixture[str]
) -> None:
    (contest.folder / "bad.toml").write_text(THRESHOLDS.read_text(encoding="utf-8").replace(old, new, 1))
    ours = contest.predictions("ours", 0.5, 1)
    assert contest.ask(ours, None, "--thresholds", str(contest.folder / "bad.toml")) == 2
    assert message in capsys.readouterr().err


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Users have a taste of their own: were their questions taken for independent, four in ten intervals would miss."""
    held = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        users = np.repeat(np.arange(60), 10)
        found = bootstrap.difference(random.normal(size=60)[users] + random.normal(size=600), np.zeros(600), users)
        held += found.low <= 0 <= found.high
    assert 0.88 <= held / 200 <= 0.99
