import numpy as np
import pytest

from preprocessing.simulate.appeal import Moment, Offer, appeal, click_probability, examination, feed_weights, on_offer
from preprocessing.simulate.world import NEVER_US, Parameters

DAY = 86_400_000_000
RULES = Parameters(
    taste_weight=2, intent_weight=3, price_weight=0.5, distance_weight=0.1, feed_sharpness=1, feed_popularity=2,
    recency_weight=0.5, click_bias=0, feed_personal=2, feed_popular=1, feed_random=1, position_exponent=0.5,
)  # fmt: skip


def offer() -> Offer:
    """Two articles in two dimensions; the first gets a price cut on day 2, the second is sold on day 3."""
    return Offer(
        rows=np.array([0, 1]),
        created_us=np.array([0, DAY]),
        removed_us=np.array([NEVER_US, 3 * DAY]),
        cut_us=np.array([2 * DAY, NEVER_US]),
        quality=np.array([0.0, 1.0], dtype=np.float32),
        price_level=np.array([[1, -1], [0, 0]], dtype=np.float32),
        latent=np.array([[1, 0], [0, 1]], dtype=np.float32),
    )


def moment(day: int) -> Moment:
    taste, intent = np.array([[1, 0]], dtype=np.float32), np.array([[0, 1]], dtype=np.float32)
    return Moment(np.array([day * DAY]), taste, intent, np.array([-1], dtype=np.float32))


@pytest.mark.parametrize(
    ("day", "offered"), [(0, [False, False]), (1, [True, False]), (2, [True, True]), (3, [True, False])]
)
def test_on_offer_strictly_between_creation_and_sale(day: int, offered: list[bool]) -> None:
    assert on_offer(offer(), np.array([day * DAY])).tolist() == [offered]


def test_appeal_by_hand_before_and_after_a_price_cut() -> None:
    distance = np.array([[0, 4]], dtype=np.float32)
    # first: 2*1 + 0 - 0.5*(1 - -1)^2 = 0, after its cut 2 - 0.5*(-1 - -1)^2 = 2; second: 3*1 + 1 - 0.1*4 - 0.5*1 = 3.1
    assert appeal(moment(1), offer(), distance, RULES).tolist() == [pytest.approx([0, 3.1])]
    assert appeal(moment(2), offer(), distance, RULES).tolist() == [pytest.approx([2, 3.1])]


def test_feed_weights_by_hand() -> None:
    value = np.array([[1, 2]], dtype=np.float32)
    personal, popular = feed_weights(value, moment(2), offer(), RULES)
    # ages 2 and 1 days: exp(1 - 0.5*2) = 1, exp(2 - 0.5*1) = exp(1.5); exp(0 - 1), exp(2*1 - 0.5) = exp(1.5)
    assert personal.tolist() == [pytest.approx([1, 4.481689])]
    assert popular.tolist() == [pytest.approx([0.36787944, 4.481689])]


def test_click_and_examination_by_hand() -> None:
    assert click_probability(np.array([0, 1.0986123], dtype=np.float32), RULES).tolist() == pytest.approx([0.5, 0.75])
    # 1, 2, 3, 4 to the power of -1/2
    assert examination(RULES).tolist() == pytest.approx([1, 0.7071068, 0.5773503, 0.5])
