"""Decides how histories of different lengths become one array."""

from collections.abc import Sequence

import numpy as np

from services.towers import Floats


def padded(tokens: Floats, histories: Sequence[Sequence[int]], longest: int) -> Floats:
    """[lists, longest, token_dim] of the rows of each list, zeros behind."""
    rows = np.zeros((len(histories), longest), np.int64)
    for mine, history in zip(rows, histories, strict=True):
        mine[: len(history)] = history
    found = np.take(tokens, rows, axis=0)
    for mine, history in zip(found, histories, strict=True):
        if len(history) < longest:
            mine[len(history) :] = 0
    return found
