"""Decides what there is to pull in tests: releases that are published one after the other."""

import pathlib

from tests.services import tiny


class Market:
    """A folder of releases without towers: nobody loads them."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._towers = folder.parent / "no_towers"
        self._towers.mkdir(parents=True)

    def publish(self, number: int, edit: tiny.Edit | None = None) -> pathlib.Path:
        return tiny.publish(self.folder, self._towers, edit, number)

    def name(self, path: pathlib.Path) -> None:
        tiny.point_current(self.folder, path)
