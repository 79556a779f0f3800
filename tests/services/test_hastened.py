"""Compiled for a few sizes, the ranking model gives what it gave before."""

import types
from typing import Any, cast

import numpy as np
import pytest
import tensorflow as tf

from services import hastened, warmup
from services.ranker import SavedRanker, ToRank
from services.recommender import Recommender

ARTICLES, VIEWS, DIM, NAMES = 50, 3, 2, ("one", "other")
TOKENS = np.random.default_rng(0).normal(size=(60, DIM)).astype(np.float32)


class Model(tf.Module):
    """A view is as likely as the first feature and the mean of the history say; counts the lists of its last call."""

    def __init__(self) -> None:
        super().__init__()
        self.called = tf.Variable(0)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, len(NAMES)], tf.float32, "features"),
            tf.TensorSpec([None, None, DIM], tf.float32, "candidates"),
            tf.TensorSpec([None, VIEWS, DIM], tf.float32, "history"),
            tf.TensorSpec([None, 2], tf.int32, "length"),
            tf.TensorSpec([None, None], tf.int32, "position"),
        ]
    )
    def rank(
        self, features: tf.Tensor, candidates: tf.Tensor, history: tf.Tensor, length: tf.Tensor, position: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        self.called.assign(tf.shape(features)[0])
        views = tf.cast(tf.maximum(length[:, 1:], 1), tf.float32)
        taste = tf.reduce_sum(history, axis=1) / views
        logits = features[..., 0] + tf.einsum("lad,ld->la", candidates, taste) + tf.cast(position, tf.float32)
        return {"probabilities": tf.repeat(tf.sigmoid(logits)[..., tf.newaxis], 4, axis=-1)}


@pytest.fixture
def ranker(tmp_path: object) -> SavedRanker:
    model = Model()
    tf.saved_model.save(model, f"{tmp_path}/model", signatures={"rank": model.rank})
    return SavedRanker(tf.saved_model.load(f"{tmp_path}/model"), NAMES, VIEWS, DIM)


def asked(*sizes: int) -> ToRank:
    random = np.random.default_rng(sum(sizes))
    features = random.normal(size=(sum(sizes), len(NAMES))).astype(np.float32)
    histories = [random.integers(len(TOKENS), size=number % (VIEWS + 1)).tolist() for number in range(len(sizes))]
    rows = random.integers(len(TOKENS), size=sum(sizes))
    return ToRank(features, rows, np.cumsum(sizes).tolist(), histories, TOKENS)


def recommender_with(ranker: SavedRanker) -> Recommender:
    made = Recommender.__new__(Recommender)
    made.release, made.candidates, made._ranking = (
        cast(Any, types.SimpleNamespace(ranking=ranker)),
        ARTICLES,
        cast(Any, True),
    )
    return made


def lists_of_a_call(ranker: SavedRanker, given: ToRank) -> int:
    ranker.probabilities(given)
    return int(ranker._loaded.called.numpy())


@pytest.mark.parametrize("sizes", [(50,), (50, 7), (1, 50, 20), (40, 50, 50, 50), (30, 20, 10, 50, 50)])
def test_answers_stay_the_same(ranker: SavedRanker, sizes: tuple[int, ...]) -> None:
    before = ranker.probabilities(asked(*sizes))
    assert list(ranker.compile(4, ARTICLES)) == [1, 2, 4]
    after = ranker.probabilities(asked(*sizes))
    assert [len(one) for one in after] == list(sizes)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_has_a_fixed_size_goes_there_and_the_rest_stays(ranker: SavedRanker) -> None:
    sizes = ranker.compile(8, ARTICLES)
    assert [next(sizes), next(sizes), next(sizes)] == [1, 2, 4]
    assert lists_of_a_call(ranker, asked(*[50] * 3)) == 4
    assert lists_of_a_call(ranker, asked(*[50] * 5)) == 5
    assert next(sizes) == 8
    assert lists_of_a_call(ranker, asked(*[50] * 5)) == 8
    assert lists_of_a_call(ranker, asked(*[50] * 9)) == 9
    # Longer lists than those it was compiled for.
    assert lists_of_a_call(ranker, asked(51, 50, 50)) == 3


def test_compiling_ends_with_the_service(ranker: SavedRanker) -> None:
    warmup.compile_ranking(recommender_with(ranker), 8, is_ended=lambda: True)
    assert [lists_of_a_call(ranker, asked(*[50] * lists)) for lists in (1, 3)] == [1, 3]
    warmup.compile_ranking(recommender_with(ranker), 8, is_ended=lambda: False)
    assert lists_of_a_call(ranker, asked(*[50] * 3)) == 4


def test_where_it_fails_the_plain_model_goes_on(
    ranker: SavedRanker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("no compiler here")

    monkeypatch.setattr(hastened, "compiled", fail)
    warmup.compile_ranking(recommender_with(ranker), 8, is_ended=lambda: False)
    assert "the ranking model cannot be compiled" in caplog.text
    assert lists_of_a_call(ranker, asked(*[50] * 3)) == 3


def test_a_model_that_answers_otherwise_each_time_is_refused() -> None:
    class Wavering(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int32, "length")])
        def rank(self, length: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.cast(length, tf.float32) + self.calls.assign_add(1.0)}

    model = Wavering()

    def call(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return model.rank(**inputs)

    call.structured_input_signature = ((), {"length": tf.TensorSpec([None, 2], tf.int32, "length")})  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="away from itself, at most"):
        hastened.compiled(call, {"length": (1, 2)}, (1, 1))
