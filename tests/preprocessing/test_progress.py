"""Progress says how much is done of how much, and how long the rest will take at that rate."""

import io
import json
import pathlib

from preprocessing.plan import Piece
from preprocessing.progress import Progress, clock_time, summary

PIECES = [Piece(number, "p.d.t", number, number + 1, 500_000) for number in range(44)]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _report(folder: pathlib.Path, number: int, views: int, size: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{number:05d}.json").write_text(json.dumps({"views": views, "rows": 0, "arrow_bytes": size}))


def test_a_line_tells_pieces_amount_rate_and_time_left(tmp_path: pathlib.Path) -> None:
    clock, stream = _Clock(), _Terminal()
    progress = Progress("views", str(tmp_path / "views"), PIECES, stream, clock)
    progress.show()
    assert stream.getvalue() == "\rviews        0/44 pieces  0.0 of 22.0 M views  0 MB/s\x1b[K"
    for number in range(12):
        _report(tmp_path / "views", number, 500_000, 30_000_000)
    clock.now += 8
    progress.show()
    # 12 x 30 MB in 8 s; 16 of 22 million are left, of which 6 took 8 s.
    assert stream.getvalue().endswith("\rviews       12/44 pieces  6.0 of 22.0 M views  45 MB/s  0:21 left\x1b[K")


def test_without_a_terminal_a_line_comes_every_five_seconds(tmp_path: pathlib.Path) -> None:
    clock, stream = _Clock(), io.StringIO()
    progress = Progress("count", str(tmp_path), PIECES[:1], stream, clock)
    for _ in range(11):
        clock.now += 1
        progress.show()
    progress.finish()
    assert len(stream.getvalue().splitlines()) == 3


def test_times_are_told_as_clocks_do() -> None:
    assert [clock_time(seconds) for seconds in (0.4, 61, 3723)] == ["0:00", "1:01", "1:02:03"]


def test_the_summary_has_a_line_a_stage() -> None:
    reports = [{"views": 500_000, "arrow_bytes": 20_000_000}, {"views": 250_000, "arrow_bytes": 10_000_000}]
    assert summary({"count": {"seconds": 2.0, "reports": reports}}).splitlines() == [
        "stage         seconds  pieces         views        MB    MB/s",
        "count             2.0       2       750,000      30.0      15",
    ]
