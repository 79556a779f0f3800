"""The benchmark of vocabularies arranges, writes and looks up every id that it made."""

import json

import pytest

from preprocessing.__main__ import main


def test_figures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench-vocabulary", "--articles", "3000"]) == 0
    (made,) = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    assert made["articles"] == 3000
    assert all(made[name] >= 0 for name in ("arrange_s", "write_s", "read_s", "graph_s", "open_s", "lookup_s"))
    assert min(made["arrange_mb"], made["lookup_mb"]) > 50
