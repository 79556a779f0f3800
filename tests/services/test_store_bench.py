"""The bench appends what it says, and prints one JSON object."""

import json
import pathlib

import pytest

from services.__main__ import main
from services.stores import open_store


def test_it_counts_what_was_acknowledged(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    flags = ["--store", url, "--batches", "1,10", "--threads", "2", "--seconds", "0.3"]
    assert main(["bench-store", *flags]) == 0
    runs = json.loads(capsys.readouterr().out.splitlines()[-1])["runs"]
    assert [(told["batch"], told["threads"], told["failed"]) for told in runs] == [(1, 2, 0), (10, 2, 0)]
    assert all(told["events_per_second"] > 0 and told["append_ms"] > 0 for told in runs)
    store = open_store(url)
    assert store.count("") >= 11
    store.close()


def test_it_needs_a_store(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("NEARFEED_STORE", raising=False)
    assert main(["bench-store"]) == 2
    assert "no --store" in capsys.readouterr().err
