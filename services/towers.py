"""Decides how the model is called: by the concrete signatures of a SavedModel, its numbers checked on the way out."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

OUTPUTS = {"article": {"vector", "token"}, "user": {"vector"}}
ARTICLE_INPUTS = ("article_id", "region_id", "category_id", "title", "price", "embedding")
USER_INPUTS = {"tokens", "length", "region_id", "time"}


class Towers(Protocol):
    """Whatever turns histories into user vectors, and articles into theirs."""

    def user_vectors(
        self, tokens: Floats, lengths: npt.NDArray[np.int32], regions: Sequence[str], times: npt.NDArray[np.int64]
    ) -> Floats:
        """`tokens` [batch, history, token_dim] oldest first, zeros behind; `lengths`, `regions` ("" is null) and
        `times` (microseconds) [batch] -> vectors [batch, vector_dim].
        """
        ...

    def article_vectors(self, articles: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
        """Columns [batch] of `article_id` and whatever else the tower takes, of ARTICLE_INPUTS -> vectors [batch,
        vector_dim] and tokens [batch, token_dim]."""
        ...


class SavedTowers:
    """The towers of a release; safe to call from several threads."""

    def __init__(self, loaded: Any, history: int, token_dim: int) -> None:
        """Raises ValueError where a signature, one of its names, or the width of the tokens is another."""
        self._loaded = loaded  # the signatures do not keep the variables alive
        for name, outputs in OUTPUTS.items():
            if name not in loaded.signatures:
                raise ValueError(f"has no signature {name!r}, only {sorted(loaded.signatures)}")
            missing = outputs - set(loaded.signatures[name].structured_outputs)
            if missing:
                raise ValueError(f"signature {name!r} has no output {sorted(missing)}")
        self._user, self._article = loaded.signatures["user"], loaded.signatures["article"]
        if unknown := set(self._article.structured_input_signature[1]) - set(ARTICLE_INPUTS):
            raise ValueError(f"signature 'article' takes {sorted(unknown)}, there are {list(ARTICLE_INPUTS)}")
        inputs = self._user.structured_input_signature[1]
        if set(inputs) != USER_INPUTS:
            raise ValueError(f"signature 'user' takes {sorted(inputs)}, needs {sorted(USER_INPUTS)}")
        if not inputs["tokens"].shape.is_compatible_with([None, history, token_dim]):
            raise ValueError(f"tokens have shape {inputs['tokens'].shape}, needs [batch, {history}, {token_dim}]")

    def user_vectors(
        self, tokens: Floats, lengths: npt.NDArray[np.int32], regions: Sequence[str], times: npt.NDArray[np.int64]
    ) -> Floats:
        """See Towers. Raises ArithmeticError when a vector is not finite."""
        import tensorflow as tf

        answer = self._user(
            tokens=tf.constant(tokens, tf.float32),
            length=tf.constant(lengths, tf.int32),
            region_id=tf.constant(list(regions), tf.string),
            time=tf.constant(times, tf.int64),
        )
        vectors = np.asarray(answer["vector"].numpy(), dtype=np.float32)
        if not np.isfinite(vectors).all():
            raise ArithmeticError(f"the user tower gave a vector that is not finite for regions {list(regions)}")
        return vectors

    def article_vectors(self, articles: Mapping[str, Sequence[Any]]) -> tuple[Floats, Floats]:
        """See Towers. Raises ArithmeticError when a vector is not finite."""
        import tensorflow as tf

        inputs = self._article.structured_input_signature[1]
        answer = self._article(**{name: tf.constant(articles[name], spec.dtype) for name, spec in inputs.items()})
        vectors, tokens = (np.asarray(answer[name].numpy(), np.float32) for name in ("vector", "token"))
        if not (np.isfinite(vectors).all() and np.isfinite(tokens).all()):
            raise ArithmeticError("the article tower gave a vector that is not finite")
        return vectors, tokens


def read(folder: pathlib.Path, history: int, token_dim: int) -> SavedTowers:
    """Opens the SavedModel in `folder`; raises ValueError or OSError where it is none with the two signatures."""
    import tensorflow as tf

    return SavedTowers(tf.saved_model.load(str(folder)), history, token_dim)
