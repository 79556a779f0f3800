"""Decides how the ranking model is called: by the concrete signature of a SavedModel, in a few fixed shapes."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.towers import Floats

INPUTS = {"features", "candidates", "history", "length", "position"}
GOALS = ("view", "dwell", "like", "chat")
TOLERANCE = 1e-4
_WIDTH_STEP = 50


class ToRank(NamedTuple):
    """One list: `features` [n, names], `candidates` [n, token_dim], `history` [views, token_dim], oldest first."""

    features: Floats
    candidates: Floats
    history: Floats


class Ranker(Protocol):
    """Whatever tells how probable it is that a shown article is viewed, and what comes of a view."""

    def probabilities(self, lists: Sequence[ToRank]) -> Sequence[Floats]:
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
        self._history, self._token_dim = history, token_dim

    def probabilities(self, lists: Sequence[ToRank]) -> Sequence[Floats]:
        """See Ranker. Raises ArithmeticError where one is not finite."""
        import tensorflow as tf

        longest = max(len(one.features) for one in lists)
        width = -(-longest // _WIDTH_STEP) * _WIDTH_STEP
        shape = (len(lists), width)
        features = np.zeros((*shape, lists[0].features.shape[1]), np.float32)
        candidates = np.zeros((*shape, self._token_dim), np.float32)
        history = np.zeros((len(lists), self._history, self._token_dim), np.float32)
        length = np.zeros((len(lists), 2), np.int32)
        for place, one in enumerate(lists):
            features[place, : len(one.features)] = one.features
            candidates[place, : len(one.features)] = one.candidates
            history[place, : len(one.history)] = one.history
            length[place] = len(one.features), len(one.history)
        answer = self._rank(
            features=tf.constant(features),
            candidates=tf.constant(candidates),
            history=tf.constant(history),
            length=tf.constant(length),
            position=tf.zeros(shape, tf.int32),
        )["probabilities"].numpy()
        found = [answer[place, : len(one.features)] for place, one in enumerate(lists)]
        if not all(np.isfinite(each).all() for each in found):
            raise ArithmeticError("the ranking model gave a probability that is not finite")
        return found


def check(ranker: SavedRanker, path: pathlib.Path) -> None:
    """Ranks the lists stored in `ranking_warmup.npz`; raises ValueError where a probability is further than 1e-4 from
    the stored one."""
    stored = np.load(path, allow_pickle=False)
    for number, (articles, views) in enumerate(stored["length"].tolist()):
        given = ToRank(
            stored["features"][number, :articles],
            stored["candidates"][number, :articles],
            stored["history"][number, :views],
        )
        (found,) = ranker.probabilities([given])
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
