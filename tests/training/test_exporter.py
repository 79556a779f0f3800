"""Checks that an export is whole or not there."""

import pathlib

import pytest

from training.exporter import BestExporter


def write(text: str, folder: pathlib.Path) -> None:
    (folder / "text").write_text(text)
    if text == "bad":
        raise RuntimeError("disk full")


def test_an_export_replaces_the_one_before(tmp_path: pathlib.Path) -> None:
    exporter = BestExporter("towers", write)
    assert exporter.export("first", tmp_path) == tmp_path / "export" / "towers"
    exporter.export("second", tmp_path)
    assert (tmp_path / "export" / "towers" / "text").read_text() == "second"


def test_a_failed_export_leaves_the_one_before(tmp_path: pathlib.Path) -> None:
    exporter = BestExporter("towers", write)
    exporter.export("good", tmp_path)
    with pytest.raises(RuntimeError, match="disk full"):
        exporter.export("bad", tmp_path)
    assert [file.name for file in (tmp_path / "export").iterdir()] == ["towers"]
    assert (tmp_path / "export" / "towers" / "text").read_text() == "good"
