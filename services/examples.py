"""Decides how what the ranking model learns from is written: a row a list, with the features of the instant.

The files and their columns are in docs/artifacts.md.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from preprocessing import artifact
from services.candidates import Mask
from services.candidates import Rows as Articles
from services.cases import Case
from services.features import Features
from services.outcomes import Outcome
from services.predictions import Rows
from services.towers import Floats

KIND = "examples"
LISTS, TOKENS = "lists.parquet", "tokens.npy"
SCHEMA = pa.schema(
    [
        ("time", pa.int64()),
        ("history", pa.list_(pa.int32())),
        ("rows", pa.list_(pa.int32())),
        ("position", pa.list_(pa.int16())),
        ("viewed", pa.list_(pa.bool_())),
        ("dwell_ms", pa.list_(pa.int64())),
        ("liked", pa.list_(pa.bool_())),
        ("chatted", pa.list_(pa.bool_())),
        ("features", pa.list_(pa.float32())),
        ("mean", pa.list_(pa.float32())),
        ("size", pa.int32()),
    ]
)
CHUNK = 500
# Above it a position tells no more.
LAST_POSITION = np.iinfo(np.int16).max


class Examples(Rows):
    """Context manager over the lists of one artifact; `add` takes list after list."""

    def __init__(self, folder: pathlib.Path, wrong: int, seed: int) -> None:
        """Of a list at most so many `wrong` articles, those not viewed, are kept, by chance."""
        super().__init__(str(folder / LISTS), SCHEMA, CHUNK)
        self._wrong, self._random = wrong, np.random.default_rng(seed)
        self.lists, self.viewed = 0, 0

    def add(
        self, case: Case, rows: Articles, features: Floats, outcomes: Sequence[Outcome], positions: Sequence[int]
    ) -> None:
        """`rows` [n], `features` [n, names], what came of each, and its position, 0 where it was not shown."""
        viewed = np.array([outcome.viewed for outcome in outcomes], np.bool_)
        kept = self._kept(viewed)
        told = [outcomes[place] for place in kept.tolist()]
        one = {
            "time": case.request.time,
            "history": list(case.history.rows),
            "rows": rows[kept].tolist(),
            "position": [min(positions[place], LAST_POSITION) for place in kept.tolist()],
            "viewed": [outcome.viewed for outcome in told],
            "dwell_ms": [outcome.dwell_ms for outcome in told],
            "liked": [outcome.liked for outcome in told],
            "chatted": [outcome.chatted for outcome in told],
            "features": features[kept].ravel(),
            "mean": features.mean(axis=0),
            "size": len(rows),
        }
        self.write([tuple(one[name] for name in SCHEMA.names)])
        self.lists += 1
        self.viewed += int(viewed.sum())

    def _kept(self, viewed: Mask) -> Articles:
        wrong = np.flatnonzero(~viewed)
        if len(wrong) <= self._wrong:
            return np.arange(len(viewed))
        return np.sort(np.concatenate([np.flatnonzero(viewed), self._random.choice(wrong, self._wrong, replace=False)]))


def finish(draft: artifact.Draft, written: Examples, tokens: Floats, history: int) -> None:
    """Adds the tokens [articles, token_dim] that `rows` and `history` name, and describes the artifact."""
    np.save(draft.folder / TOKENS, tokens)
    groups = {group: list(names) for group, names in Features.groups().items()}
    draft.contents |= {"features": list(Features.names()), "groups": groups}
    draft.contents |= {"lists": written.lists, "history": history}
    draft.figures |= {"lists": written.lists, "viewed": written.viewed}
