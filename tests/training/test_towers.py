"""Checks what a position of the user tower can see, and how articles without an id are told apart."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from training.towers import ArticleEncoder, AttentionBlock, ContextEncoder, MovingMean, StatelessDropout, UserTower

DIM, HISTORY, WIDTH = 8, 6, 3
HOUR = 3_600_000_000
DAY = 24 * HOUR
Floats = npt.NDArray[np.float32]


def normal(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.random.stateless_normal(shape, [seed, 5])


@pytest.fixture(scope="module", params=[0.0, 0.6])
def tower(request: pytest.FixtureRequest) -> UserTower:
    """With and without a moving mean. All weights, the distance biases included, drawn from a normal distribution:
    nothing cancels by chance."""
    made = UserTower(DIM, heads=2, blocks=2, history=HISTORY, dropout=0.4, smoothing=request.param)
    made(normal(1, HISTORY, DIM), normal(1, HISTORY, WIDTH))
    for number, variable in enumerate(made.trainable_variables):
        variable.assign(0.5 * normal(*variable.shape, seed=number))
    return made


def changed(tensor: tf.Tensor, position: int) -> tf.Tensor:
    values = tensor.numpy()
    # Not all of its entries: what is added to all of them, normalising takes away again.
    values[:, position, 0] += 1.0
    return tf.constant(values)


def moved(before: tf.Tensor, after: tf.Tensor) -> list[bool]:
    """Which positions differ."""
    return list((np.abs(before - after) > 1e-5).any(axis=(0, 2)))


@pytest.mark.parametrize("position", range(5))
def test_a_later_token_or_context_changes_nothing_before_it(tower: UserTower, position: int) -> None:
    tokens, context = normal(2, 5, DIM, seed=1), normal(2, 5, WIDTH, seed=2)
    before = tower(tokens, context)
    assert before.shape == (2, 5, DIM)
    assert moved(before, tower(changed(tokens, position), context)) == [place >= position for place in range(5)]
    # The context of a position is that of the view after it, and no other position's business.
    assert moved(before, tower(tokens, changed(context, position))) == [place == position for place in range(5)]


def test_padding_behind_and_other_rows_are_never_seen(tower: UserTower) -> None:
    tokens, context = normal(2, HISTORY, DIM, seed=1), normal(2, HISTORY, WIDTH, seed=2)
    alone = tower(tokens[:1, :3], context[:1, :3])
    np.testing.assert_allclose(tower(tokens, context)[:1, :3], alone, atol=1e-5)


def test_the_order_of_the_history_matters(tower: UserTower) -> None:
    tokens, context = normal(1, 3, DIM, seed=1), tf.repeat(normal(1, 1, WIDTH), 3, axis=1)
    swapped = tf.gather(tokens, [1, 0, 2], axis=1)
    assert moved(tower(tokens, context)[:, 2:], tower(swapped, context)[:, 2:]) == [True]


def attention(block: AttentionBlock, tokens: list[float]) -> list[float]:
    """What attention adds to each of a row of tokens that carry one number, its first entry."""
    hidden = np.zeros((1, len(tokens), 2), np.float32)
    hidden[0, :, 0] = tokens
    return list((block(tf.constant(hidden)) - hidden)[0, :, 0].numpy())


def test_a_distance_has_its_own_bias() -> None:
    block = AttentionBlock(dim=2, heads=1, history=3, dropout=0.0, smoothing=0.0, salt=0)
    block(tf.zeros([1, 1, 2]))
    for variable in block.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    # Normalised, (t, 0) is (1, -1) for t > 0 and (-1, 1) for t < 0. Values are the first entry, keys and queries 0:
    # the weights are a softmax of the distance biases alone.
    block.attention_norm.gamma.assign([1.0, 1.0])
    kernel = np.zeros((2, 6), np.float32)
    kernel[0, 4] = 1.0
    block.qkv.kernel.assign(kernel)
    block.merge.kernel.assign([[1.0, 0.0], [0.0, 0.0]])
    tokens = [50.0, -50.0, -50.0]
    # Equal weights: 1, (1 - 1) / 2, (1 - 1 - 1) / 3
    np.testing.assert_allclose(attention(block, tokens), [1, 0, -1 / 3], atol=1e-4)
    # e^bias is 1 at distance 0, 3 at 1, 4 at 2: 1, (3 - 1) / 4, (4 - 3 - 1) / 8
    block.bias.assign(np.log([[1.0, 3.0, 4.0]]))
    np.testing.assert_allclose(attention(block, tokens), [1, 0.5, 0], atol=1e-4)


def test_a_moving_mean_and_what_a_token_differs_from_it_by() -> None:
    """Of the last 8 tokens; a share of 0.25 of the difference is added."""
    mean = MovingMean(1)
    tokens = tf.constant([2.0, 4.0, 0.0, 0, 0, 0, 0, 2, 10])[tf.newaxis, :, tf.newaxis]
    mean(tokens)
    mean.root.assign([-0.5])
    means = np.array([2, 3, 2, 1.5, 1.2, 1, 6 / 7, 1, 2])
    expected = means + 0.25 * (tokens.numpy()[0, :, 0] - means)
    np.testing.assert_allclose(mean(tokens).numpy()[0, :, 0], expected, atol=1e-6)


def test_dropout_depends_on_the_seed_alone(tower: UserTower) -> None:
    tokens, context = normal(2, 4, DIM, seed=1), normal(2, 4, WIDTH, seed=2)

    def call(*seed: int) -> Floats:
        given = tf.constant(seed, tf.int32) if seed else None
        values: Floats = tower(tokens, context, given).numpy()
        return values

    np.testing.assert_array_equal(call(3, 7), call(3, 7))
    np.testing.assert_array_equal(call(), call())
    for other in (call(), call(3, 8), call(4, 7)):
        assert np.abs(call(3, 7) - other).max() > 1e-3


def test_dropout_scales_what_it_keeps() -> None:
    layer = StatelessDropout(0.2, salt=1)
    dropped = layer(tf.ones([10_000]), tf.constant([0, 1], tf.int32)).numpy()
    np.testing.assert_allclose(np.unique(dropped), [0.0, 1.25], rtol=1e-6)
    # 10,000 draws: five standard deviations are 5 sqrt(0.2 * 0.8 / 10000) = 0.02.
    assert abs((dropped == 0).mean() - 0.2) < 0.02
    other = StatelessDropout(0.2, salt=2)(tf.ones([10_000]), tf.constant([0, 1], tf.int32)).numpy()
    assert (dropped != other).any()
    np.testing.assert_array_equal(layer(tf.ones([9])), np.ones(9))
    np.testing.assert_array_equal(StatelessDropout(0.0, 1)(tf.ones([9]), tf.constant([0, 1])), np.ones(9))


def articles(titles: list[list[int]], **columns: Any) -> dict[str, Any]:
    count = len(titles)
    features: dict[str, Any] = {name: tf.zeros([count], tf.int64) for name in ("slot", "region", "category")}
    features |= {name: tf.zeros([count]) for name in ("price", "has_price")}
    features["title"] = tf.ragged.constant(titles, ragged_rank=1, dtype=tf.int64, row_splits_dtype=tf.int64)
    return {**features, **columns}


def encoder() -> ArticleEncoder:
    return ArticleEncoder(slots=4, regions=2, categories=2, title_buckets=10, dim=DIM)


def test_unknown_articles_are_told_apart_by_their_content() -> None:
    made = encoder()
    # All of slot 0: the same title twice, another title, none, and the first title at a price.
    found = made(articles([[1, 2], [1, 2], [3], [], [1, 2]], has_price=tf.constant([0.0, 0, 0, 0, 1]))).numpy()
    assert found.shape == (5, DIM)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    for one, other in [(0, 2), (0, 3), (2, 3), (0, 4)]:
        assert np.abs(found[one] - found[other]).max() > 1e-4


def test_an_article_is_its_id_plus_its_content() -> None:
    made = encoder()
    pair = made(articles([[1], [1]], slot=tf.constant([2, 3], tf.int64)))
    table = made.ids.table.value.numpy()
    np.testing.assert_allclose(pair[1] - pair[0], table[3] - table[2], atol=1e-6)


@pytest.mark.parametrize("name", ["region", "category"])
def test_region_and_category_count(name: str) -> None:
    pair = encoder()(articles([[1], [1]], **{name: tf.constant([0, 1], tf.int64)})).numpy()
    assert np.abs(pair[0] - pair[1]).max() > 1e-4


def test_no_articles_and_only_empty_titles() -> None:
    made = encoder()
    assert made(articles([[], []])).shape == (2, DIM)
    assert made(articles([[1]]) | {name: value[:0] for name, value in articles([[1]]).items()}).shape == (0, DIM)


def test_a_title_is_the_mean_of_its_ngrams() -> None:
    made = encoder()
    made(articles([[1]]))
    # Content is the first of 32 numbers of the title alone: the title's follow 16 of the region and 16 of the
    # category. Row i of the titles' table is i; a large x has gelu(x) = x.
    for variable in made.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    made.titles.table.assign(np.tile(np.arange(10.0)[:, None], 32))
    made.hidden.kernel.assign(np.eye(66, DIM, -32))
    made.content.kernel.assign(np.eye(DIM))
    found = made(articles([[9, 9, 6], [8], [], [7, 8, 9, 6]]))[:, 0]
    # Means of three, of one, of none and of four: 24 / 3, 8, 0 and 30 / 4.
    np.testing.assert_allclose(found, [8, 8, 0, 7.5], atol=1e-5)


def test_a_supplied_embedding_counts() -> None:
    made = encoder()
    pair = made(articles([[1], [1]], embedding=tf.constant([[1.0, 0.0], [0.0, 1.0]]))).numpy()
    assert np.abs(pair[0] - pair[1]).max() > 1e-4


@pytest.fixture
def context() -> ContextEncoder:
    """Regions are 0, hour h is h and weekday d is 100 + d in all of their columns."""
    made = ContextEncoder(2)
    made.regions.table.assign(np.array([[0.5] * 16, [1.5] * 16]))
    made.hours.table.assign(np.tile(np.arange(24.0)[:, None], 8))
    made.weekdays.table.assign(100 + np.tile(np.arange(7.0)[:, None], 8))
    return made


@pytest.mark.parametrize(
    ("time", "hour", "weekday"),
    [
        (0, 0, 3),  # 1970-01-01 was a Thursday, 3 from Monday on
        (HOUR - 1, 0, 3),
        (HOUR, 1, 3),
        (DAY - 1, 23, 3),
        (3 * DAY, 0, 6),  # Sunday
        (4 * DAY + 5 * HOUR, 5, 0),  # Monday
        (-1, 23, 2),  # the last moment of Wednesday, 1969-12-31
        (-DAY, 0, 2),
        (-4 * DAY + 2 * HOUR, 2, 6),  # Sunday, 1969-12-28
        (1_577_836_800_000_000 + 7 * HOUR, 7, 2),  # 2020-01-01 was a Wednesday
    ],
)
def test_hour_and_weekday_of_a_time(context: ContextEncoder, time: int, hour: int, weekday: int) -> None:
    found = context(tf.constant([1], tf.int64), tf.constant([time], tf.int64), tf.constant([0.0])).numpy()
    assert found.tolist() == [[1.5] * 16 + [float(hour)] * 8 + [100.0 + weekday] * 8 + [0.0]]


def test_age_counts_by_its_logarithm_and_shapes_are_kept(context: ContextEncoder) -> None:
    zeros = tf.zeros([1, 2], tf.int64)
    found = context(zeros, zeros, tf.constant([[0.0, 1.718281828]]))
    assert found.shape == (1, 2, 33)
    np.testing.assert_allclose(found[0, :, 32], [0, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UserTower(7, 2, 1, HISTORY, 0.0), "dim is 7, which 2 heads do not divide"),
        (lambda: UserTower(DIM, 2, 1, HISTORY, 1.0), "dropout is 1.0: expected a number from 0 to below 1"),
        (lambda: StatelessDropout(-0.1, 0), "dropout is -0.1: expected a number from 0 to below 1"),
        (lambda: ContextEncoder(0), "rows of an embedding table is 0: expected at least 1"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make: Callable[[], keras.layers.Layer], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
