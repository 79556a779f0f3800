"""Decides how the ranking model is called: by the concrete signature of a SavedModel, in a few fixed shapes."""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services import hastened
from services.candidates import Rows
from services.padding import padded
from services.towers import Floats

INPUTS = {"features", "candidates", "history", "length", "position"}
GOALS = ("view", "dwell", "like", "chat")
TOLERANCE = 1e-4
_WIDTH_STEP = 50


class ToRank(NamedTuple):
    """Lists, one behind the other: `features` [n, names], `rows` [n] of candidates, before which of them each list ends
    [lists], and rows of its history, oldest first; rows of `tokens` [articles, token_dim]."""

    features: Floats
    rows: Rows
    ends: Sequence[int]
    histories: Sequence[Sequence[int]]
    tokens: Floats

    def split(self, values: Any) -> list[Any]:
        """What each list has of `values` [n, ...]."""
        return [values[start:end] for start, end in zip((0, *self.ends), self.ends, strict=False)]


class Ranker(Protocol):
    """Whatever tells how probable it is that a shown article is viewed, and what comes of a view."""

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        """Of each list [n, goals]: calibrated probability of a view, and of each further goal given a view."""
        ...


class SavedRanker:
    """The ranking model of a release; safe to call from several threads."""

    def __init__(self, loaded: Any, names: Sequence[str], history: int, token_dim: int) -> None:
        """Raises ValueError where the signature is missing or takes other inputs."""
        self._loaded = loaded  # the signature does not keep the variables alive
        if "rank" not in loaded.signatures:
            raise ValueError(f"has no signature 'rank', only {sorted(loaded.signatures)}")
        self._rank = loaded.signatures["rank"]
        inputs = self._rank.structured_input_signature[1]
        if set(inputs) != INPUTS:
            raise ValueError(f"signature 'rank' takes {sorted(inputs)}, needs {sorted(INPUTS)}")
        for name, shape in {
            "features": [None, None, len(names)],
            "candidates": [None, None, token_dim],
            "history": [None, history, token_dim],
        }.items():
            if not inputs[name].shape.is_compatible_with(shape):
                raise ValueError(f"input {name!r} of 'rank' has shape {inputs[name].shape}, needs {shape}")
        self._history, self._token_dim, self._names = history, token_dim, len(names)
        # By how many lists of how many articles they take.
        self._fixed: dict[tuple[int, int], Any] = {}

    def compile(self, most: int, articles: int) -> Iterator[int]:
        """Has batches of up to 1, 2, 4, ..., `most` lists of up to `articles` ranked by compiled code, and tells each
        size that is so from now on; one takes the better part of a second. Raises ValueError where compiled code
        answers otherwise."""
        width, lists = _width(articles), 1
        while lists <= most:
            shapes = {
                "features": (lists, width, self._names),
                "candidates": (lists, width, self._token_dim),
                "history": (lists, self._history, self._token_dim),
                "length": (lists, 2),
                "position": (lists, width),
            }
            self._fixed[lists, width] = hastened.compiled(self._rank, shapes, (width, self._history))
            yield lists
            lists *= 2

    def _call(self, lists: int, width: int) -> tuple[Any, int]:
        """What ranks so many lists, and how many it takes."""
        filled = 1 << (lists - 1).bit_length()
        if (filled, width) in self._fixed:
            return self._fixed[filled, width], filled
        return self._rank, lists

    def probabilities(self, asked: ToRank) -> Sequence[Floats]:
        """See Ranker. Raises ArithmeticError where one is not finite."""
        import tensorflow as tf

        ends = np.asarray(asked.ends, np.int64)
        sizes = np.diff(ends, prepend=0)
        width = _width(int(sizes.max()))
        rank, lists = self._call(len(sizes), width)
        # What lies behind a list, or is a list that nobody asks for, has no effect.
        rows, features = asked.rows, asked.features
        if len(rows) < lists * width:
            places = np.repeat(np.arange(len(sizes)) * width - ends + sizes, sizes) + np.arange(len(rows))
            rows, features = _spread(rows, places, lists * width), _spread(features, places, lists * width)
        length = np.zeros((lists, 2), np.int32)
        length[: len(sizes), 0], length[: len(sizes), 1] = sizes, [len(one) for one in asked.histories]
        answer = rank(
            features=tf.constant(features.reshape(lists, width, -1)),
            candidates=tf.constant(np.take(asked.tokens, rows.reshape(lists, width), axis=0)),
            history=tf.constant(padded(asked.tokens, [*asked.histories, *[()] * (lists - len(sizes))], self._history)),
            length=tf.constant(length),
            position=tf.zeros((lists, width), tf.int32),
        )["probabilities"].numpy()
        found = [answer[place, :size] for place, size in enumerate(sizes.tolist())]
        if not (np.isfinite(answer).all() or all(np.isfinite(each).all() for each in found)):
            raise ArithmeticError("the ranking model gave a probability that is not finite")
        return found


def _width(articles: int) -> int:
    return -(-articles // _WIDTH_STEP) * _WIDTH_STEP


def _spread(values: Any, places: Rows, size: int) -> Any:
    found = np.zeros((size, *values.shape[1:]), values.dtype)
    found[places] = values
    return found


def check(ranker: SavedRanker, path: pathlib.Path) -> None:
    """Ranks the lists stored in `ranking_warmup.npz`; raises ValueError where a probability is further than 1e-4 from
    the stored one."""
    stored = np.load(path, allow_pickle=False)
    for number, (articles, views) in enumerate(stored["length"].tolist()):
        tokens = np.concatenate([stored["candidates"][number, :articles], stored["history"][number, :views]])
        history = range(articles, articles + views)
        (found,) = ranker.probabilities(
            ToRank(stored["features"][number, :articles], np.arange(articles), [articles], [history], tokens)
        )
        difference = float(np.abs(found - stored["probabilities"][number, :articles]).max())
        if not difference <= TOLERANCE:
            raise ValueError(
                f"list {number} is {difference:.6g} away from its stored probabilities, at most {TOLERANCE} is allowed"
            )


def value(probabilities: Floats, weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """[n, goals] -> [n]: what showing each article is expected to be worth, a view being worth its weight and each
    further goal its own once it follows the view."""
    view = probabilities[:, 0].astype(np.float64)
    worth = np.full(len(view), weights["view"])
    for place, goal in enumerate(GOALS[1:], start=1):
        worth += weights[goal] * probabilities[:, place]
    return view * worth


def read(folder: pathlib.Path, names: Sequence[str], history: int, token_dim: int) -> SavedRanker:
    """Opens the SavedModel in `folder`; raises ValueError or OSError where it is none with the signature."""
    import tensorflow as tf

    return SavedRanker(tf.saved_model.load(str(folder)), names, history, token_dim)
