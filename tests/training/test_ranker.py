"""Parts of the ranking model: losses by hand, positions that are neutral, histories and padding that are not seen."""

import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from training.ranker import listwise_loss, pointwise_loss
from training.scorer import RankerConfig, Scorer, Seen, TargetAttention

NAMES, TOKEN = 3, 4
MOMENTS = (np.array([1.0, 0, 0], np.float32), np.array([2.0, 1, 1], np.float32))


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    config = RankerConfig(attention=2, experts=2, hidden=8, expert=4, positions=5)
    made = Scorer(config, MOMENTS, Seen(np.ones(3, np.float32)), history=6)
    made(**lists())
    made.bias.assign([0.5, 0.25, 0, 0, -1.0])
    assert made.attention is not None
    made.attention.recency.assign([1.0, 0.5, 0, 0, 0, 0])
    return made


def lists(count: int = 2, articles: int = 5, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, articles, NAMES)).astype(np.float32)
    return {
        "features": tf.constant(features),
        "list_mean": tf.constant(features.mean(axis=1)),
        "list_size": tf.constant([articles] * count),
        "candidates": tf.constant(random.normal(size=(count, articles, TOKEN)), tf.float32),
        "history": tf.constant(random.normal(size=(count, 6, TOKEN)), tf.float32),
        "length": tf.constant([[articles, 3]] * count, tf.int32),
        "position": tf.zeros([count, articles], tf.int32),
    }


def logits(scorer: Scorer, asked: dict[str, Any]) -> tf.Tensor:
    """[lists, articles, goals]"""
    return scorer(**asked)[0]


def test_the_loss_of_a_list_is_the_cross_entropy_of_its_right_articles() -> None:
    # Softmax of log 1, log 2, log 3 (the fourth is padding): 1/6, 2/6, 3/6; right are the first and the last.
    logits = tf.constant([[0.0, math.log(2), math.log(3), 50.0], [1.0, 2.0, 3.0, 4.0]])
    labels = tf.constant([[1.0, 0.0, 1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    inside = tf.sequence_mask([3, 4], 4)
    expected = -(math.log(1 / 6) + math.log(3 / 6)) / 2
    # The second list has nothing right and does not count.
    assert float(listwise_loss(logits, labels, inside)) == pytest.approx(expected, abs=1e-6)


def test_the_loss_of_articles_leaves_out_what_is_not_known() -> None:
    logits = tf.constant([[0.0, 0.0, 9.0], [9.0, 9.0, 9.0]])
    labels = tf.constant([[1.0, 0.0, -1.0], [-1.0, -1.0, -1.0]])
    assert float(pointwise_loss(logits, labels)) == pytest.approx(2 * math.log(2), abs=1e-6)


def test_noise_of_0_changes_nothing() -> None:
    """With a seed the layers are applied one after the other, without one what is the same of a list comes first."""
    config = RankerConfig(attention=2, experts=2, hidden=8, expert=4, positions=5, dropout=0.0)
    for attention in (True, False):
        made = Scorer(config, MOMENTS, Seen(np.array([1, 0, 1], np.float32), attention), history=6)
        asked = lists()
        np.testing.assert_allclose(made(**asked)[0], made(**asked, seed=tf.constant([1, 2]))[0], atol=1e-6)


def test_experts_are_mixed_for_each_goal() -> None:
    """One list of one article: two experts of two units, gates of each goal by hand in NumPy."""
    made = Scorer(RankerConfig(experts=2, hidden=2, expert=3), MOMENTS, Seen(np.ones(3, np.float32), False), history=6)
    made(**lists(1, 1))
    units = np.random.default_rng(1).normal(size=(1, 1, 4 + 4 * 2)).astype(np.float32)
    hidden, gates = units[0, 0, :4].reshape(2, 2), units[0, 0, 4:].reshape(4, 2)
    shares = np.exp(gates) / np.exp(gates).sum(axis=1, keepdims=True)
    inner = hidden / (1 + np.exp(-hidden))
    outer = np.array([inner[e] @ made.experts[e].numpy() + made.expert_offsets[e].numpy() for e in range(2)])
    experts = outer / (1 + np.exp(-outer))
    mixture = shares @ experts
    expected = (mixture * made.heads.numpy().T).sum(axis=1) + made.head_offsets.numpy()
    parts = tf.split(tf.constant(units), [2, 2, 8], axis=-1)
    np.testing.assert_allclose(made._mixed(parts)[0, 0], expected, rtol=1e-5, atol=1e-6)


def test_position_zero_is_neutral_and_the_others_move_the_view_only(scorer: Scorer) -> None:
    asked = lists()
    plain = logits(scorer, asked)
    moved = logits(scorer, {**asked, "position": tf.constant([[1, 2, 3, 5, 99]] * 2)})
    difference = (moved - plain).numpy()
    assert difference[..., 0].tolist() == [pytest.approx([0.5, 0.25, 0, -1, -1], abs=1e-6)] * 2
    assert np.abs(difference[..., 1:]).max() < 1e-6


def test_the_level_is_one_number_a_list_and_teaches_the_order_nothing(scorer: Scorer) -> None:
    asked = lists()
    with tf.GradientTape() as tape:
        _, level = scorer(**asked)
        learned = tf.reduce_sum(level)
    assert level.shape == (2, 1)
    moved = [
        variable.path
        for variable, gradient in zip(
            scorer.trainable_variables,
            tape.gradient(learned, [one.value for one in scorer.trainable_variables]),
            strict=True,
        )
        if gradient is not None
    ]
    assert moved
    assert all("level" in path for path in moved)


def test_the_level_of_a_part_of_a_list_is_that_of_the_whole(scorer: Scorer) -> None:
    """A list in which every article stands four times, and the same of which each is here once."""
    once = lists()
    whole = {**once, **{name: tf.tile(once[name], [1, 4, 1]) for name in ("features", "candidates")}}
    whole |= {"position": tf.tile(once["position"], [1, 4]), "list_size": tf.constant([20, 20])}
    whole["length"] = tf.constant([[20, 3]] * 2, tf.int32)
    part = {**once, "list_size": tf.constant([20, 20])}
    assert np.allclose(scorer(**part)[1], scorer(**whole)[1], atol=1e-5)
    assert not np.allclose(scorer(**once)[1], scorer(**whole)[1], atol=1e-3)


def test_padding_changes_no_score(scorer: Scorer) -> None:
    asked = lists()
    padded = dict(asked)
    for name in ("features", "candidates"):
        padded[name] = tf.pad(asked[name], [[0, 0], [0, 3], [0, 0]], constant_values=7.0)
    padded["position"] = tf.pad(asked["position"], [[0, 0], [0, 3]])
    assert np.allclose(logits(scorer, padded)[:, :5], logits(scorer, asked), atol=1e-5)


def test_views_behind_the_length_are_not_seen(scorer: Scorer) -> None:
    asked = lists()
    other = tf.concat([asked["history"][:, :3], -asked["history"][:, 3:]], axis=1)
    assert np.allclose(logits(scorer, {**asked, "history": other}), logits(scorer, asked), atol=1e-5)
    changed = tf.concat([-asked["history"][:, :3], asked["history"][:, 3:]], axis=1)
    assert not np.allclose(logits(scorer, {**asked, "history": changed}), logits(scorer, asked), atol=1e-3)


def test_no_history_attends_to_nothing() -> None:
    attention = TargetAttention(2, 6)
    asked = lists()
    found = attention(asked["candidates"], asked["history"], tf.constant([0, 3])).numpy()
    assert np.abs(found[0]).max() == 0
    assert np.abs(found[1]).min() > 0


def test_recent_views_can_count_more() -> None:
    """With a large bias for distance 0 all attention is on the last view."""
    attention = TargetAttention(2, 6)
    asked = lists(1)
    attention(asked["candidates"], asked["history"], tf.constant([3]))
    attention.recency.assign([50.0, 0, 0, 0, 0, 0])
    whole = attention(asked["candidates"], asked["history"], tf.constant([3]))
    last = attention(asked["candidates"], asked["history"][:, 2:3], tf.constant([1]))
    assert np.allclose(whole[..., 0], last[..., 0], atol=1e-5)


EXAMPLES = {"features": ["a", "b", "c"], "groups": {"both": ["a", "b"], "last": ["c"]}}


@pytest.mark.parametrize(
    ("without", "features", "attention"),
    [("", [1, 1, 1], True), ("both", [0, 0, 1], True), ("last,a,attention", [0, 1, 0], False)],
)
def test_what_is_left_out_is_not_seen(without: str, features: list[int], attention: bool) -> None:
    seen = Seen.of(EXAMPLES, without)
    assert (seen.features.tolist(), seen.attention) == (features, attention)
    config = RankerConfig(hidden=8, expert=4, attention=2)
    scorer, asked = Scorer(config, MOMENTS, seen, history=6), lists()
    before = logits(scorer, asked)
    hidden = tf.constant([[[1.0 - number for number in features]]])
    moved = logits(scorer, {**asked, "features": asked["features"] + hidden})
    assert np.allclose(moved, before, atol=1e-5)
    other = logits(scorer, {**asked, "candidates": -asked["candidates"]})
    assert np.allclose(other, before, atol=1e-5) is not attention


def test_an_unknown_group_is_named() -> None:
    with pytest.raises(ValueError, match="without is mood: expected of both, last, attention, a, b, c"):
        Seen.of(EXAMPLES, "mood")
