"""Decides how a column of numbers gets longer while it is used: there is room behind it, so most rows cost no copy."""

from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

Array = TypeVar("Array", bound=npt.NDArray[Any])


class Grown(Generic[Array]):
    """`values` [n, ...]; to be read anew after `fit`, which may have put them elsewhere."""

    __slots__ = ("_room", "values")

    def __init__(self, values: Array, room: int = 0) -> None:
        """Leaves `room` for so many further rows; memory that is not written to costs nothing."""
        self.values = self._room = values
        if room:
            self._move(len(values) + room)

    def fit(self, rows: int, filler: Any) -> None:
        """Makes `values` at least `rows` long; each row that is added is `filler`."""
        before = len(self.values)
        if rows <= before:
            return
        if rows > len(self._room):
            self._move(max(rows, 2 * before))
        self._room[before:rows] = filler
        self.values = self._room[:rows]  # type: ignore[assignment]  # a view of the same type

    def _move(self, rows: int) -> None:
        room: Any = np.empty((rows, *self.values.shape[1:]), self.values.dtype)
        room[: len(self.values)] = self.values
        self._room, self.values = room, room[: len(self.values)]
