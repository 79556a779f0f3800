import numpy as np

from preprocessing.simulate import Events, Requests, World
from preprocessing.simulate.world import Ints

IMPRESSION, VIEW = 0, 1


def history(events: Events) -> tuple[Ints, Ints]:
    """Users and articles of all views, by user, then time."""
    views = events.kind == VIEW
    order = np.argsort(events.user[views], kind="stable")
    return events.user[views][order], events.article[views][order]


def test_position_bias_shows(world: tuple[World, Requests, Events]) -> None:
    events = world[2]
    shown = np.bincount(events.position[events.kind == IMPRESSION], minlength=17)
    viewed = np.bincount(events.position[events.kind == VIEW], minlength=17)
    # Looked at with p^-0.35: position 1 always, 13 to 16 with 0.407, 0.397, 0.388, 0.379, on average 0.393.
    ratio = (viewed[13:].sum() / shown[13:].sum()) / (viewed[1] / shown[1])
    assert 0.33 < ratio < 0.46


def test_views_follow_taste(world: tuple[World, Requests, Events]) -> None:
    truth, _, events = world
    user, article = history(events)
    liked = truth.people.taste[:, 0] @ truth.catalogue.cells.mean(axis=1).T
    best = np.argsort(-liked, axis=1)[:, :6]
    share = (best[user] == truth.catalogue.category[article][:, None]).any(axis=1).mean()
    # Evenly spread views would be in 6 of 24 categories in a quarter of the cases.
    assert share > 0.4


def test_the_last_view_tells_more_than_an_older_one(world: tuple[World, Requests, Events]) -> None:
    truth, _, events = world
    user, article = history(events)
    category = truth.catalogue.category[article]

    def agreement(lag: int) -> float:
        return float((category[lag:] == category[:-lag])[user[lag:] == user[:-lag]].mean())

    assert agreement(1) > 1.15 * agreement(20)
    # 24 categories by chance: 0.042
    assert agreement(20) > 1.5 / 24


def test_views_follow_the_intent(world: tuple[World, Requests, Events]) -> None:
    truth, requests, events = world
    views = events.kind == VIEW
    same = truth.catalogue.category[events.article[views]] == requests.category[events.request[views]]
    assert same.mean() > 4 / 24


def test_articles_are_rarely_viewed_again(world: tuple[World, Requests, Events]) -> None:
    pairs = np.stack(history(world[2]))
    assert np.unique(pairs, axis=1).shape[1] / pairs.shape[1] > 0.95


def test_popularity_and_activity_have_long_tails(world: tuple[World, Requests, Events]) -> None:
    user, article = history(world[2])
    for rows, least in ((user, 0.25), (article, 0.2)):
        counts = np.sort(np.bincount(rows))[::-1]
        assert counts[: len(counts) // 10].sum() / counts.sum() > least


def test_most_late_views_are_of_articles_from_earlier_days(world: tuple[World, Requests, Events]) -> None:
    truth, _, events = world
    day = truth.size.end_us - 86_400_000_000
    late = events.article[(events.kind == VIEW) & (events.time_us >= day)]
    assert (truth.catalogue.created_us[late] < day).mean() > 0.7
