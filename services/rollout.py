"""Decides when another release takes over: CURRENT is looked at again and again; what it names is verified, loaded
beside the release at work, warmed up, told of all that came since it was built, and then answers."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from services import arrivals, release, warmup
from services.arrivals import Carried
from services.cautious import CautiousUsers
from services.engine import Engine, Serving
from services.recommender import Recommender
from services.registry import Registry
from services.release import Release
from services.settings import Settings
from services.sources import PRESETS, Preset
from services.state import State
from services.store import Record, Store, StoreError
from services.users import StoredUsers

LOGGER = logging.getLogger(__name__)
# What is viewed most may be as it was half a second ago (microseconds).
FRESH_FOR = 500_000
HOUR = 3_600_000_000
# What was told so long before the data of a release ended is in the release.
DELIVERED_WITHIN = HOUR
# Articles that a release has are kept in the store for so long, for those who go back to an earlier one.
KEPT_FOR = 7 * 24 * HOUR
AT_ONCE = 2_000
# A release that was refused is tried again after so long, and ever later.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 600.0


class Rollout:
    """Loads releases, and lets them answer. `has_carried`: the first was told of what the store knows of
    articles."""

    def __init__(
        self,
        settings: Settings,
        store: Store | None,
        registry: Registry,
        clock: Callable[[], float] = time.monotonic,
        is_ended: Callable[[], bool] = lambda: False,
    ) -> None:
        """Nothing is compiled any more once it `is_ended`."""
        self._is_ended = is_ended
        self._settings, self._store, self._registry, self._clock = settings, store, registry, clock
        # Nobody moves CURRENT or the release at work meanwhile.
        self._deciding = threading.Lock()
        self._refused: str | None = None
        self._again_at, self._pause = 0.0, FIRST_PAUSE_SECONDS
        self.has_carried = True

    def first(self) -> Serving:
        """What is to answer first. Raises ArtifactError or ReleaseError (both ValueError), naming the file."""
        path = self._settings.release or release.current(self._settings.releases or "")
        loaded = open_release(path, self._settings.threads, self._registry)
        recommender = recommender_of(loaded, self._settings, self._new_state(loaded))
        try:
            serving = Serving(recommender, self._carry(recommender))
            self._drop(loaded)
        except StoreError as error:
            LOGGER.warning("articles that came lately cannot be read yet, the log will tell of them: %s", error)
            self.has_carried = False
            return Serving(recommender, Carried([]))
        return serving

    def look(self, engine: Engine) -> bool:
        """Lets the release that CURRENT names answer, where it is another one; returns whether one took over.

        A release that cannot be served is refused: the error is raised, and the release is tried again later. So it is
        while the store is away: nothing else would tell the release of articles that came before.
        """
        if self._settings.release is not None or self._settings.releases is None:
            return False
        with self._deciding:
            named = release.pointed(self._settings.releases)
            if named == engine.recommender.release.id:
                return False
            if engine.previous is not None and named == engine.previous.release.id:
                engine.go_back()
                LOGGER.info("release %s answers again", named)
                return True
        if named == self._refused and self._clock() < self._again_at:
            return False
        try:
            return self._take_over(engine, self._settings.releases)
        except Exception:
            self._pause = FIRST_PAUSE_SECONDS if named != self._refused else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._refused, self._again_at = named, self._clock() + self._pause
            raise

    def go_back(self, engine: Engine) -> str:
        """Points CURRENT at the release that was served before, and lets it answer at once; its id.

        Raises LookupError where there is none, or where the service does not follow CURRENT, and OSError where CURRENT
        cannot be written: then nothing changes.
        """
        releases, previous = self._settings.releases, engine.previous
        if self._settings.release is not None or releases is None:
            raise LookupError("this service was told which release to serve, it does not follow CURRENT")
        if previous is None:
            raise LookupError("no release was served before this one since the process started")
        with self._deciding:
            release.point(releases, previous.release.id)
            engine.go_back()
        LOGGER.info("went back to release %s", previous.release.id)
        return previous.release.id

    def _take_over(self, engine: Engine, releases: str) -> bool:
        since, path = engine.position, release.current(releases)
        loaded = open_release(path, self._settings.threads, self._registry)
        _warm(loaded, self._settings)
        recommender = recommender_of(loaded, self._settings, engine.recommender.state)
        if self._settings.compile_ranking:
            warmup.compile_ranking(recommender, self._settings.batch, self._is_ended)
        serving = Serving(recommender, self._carry(recommender))
        with self._deciding:
            if release.pointed(releases) != loaded.id:
                LOGGER.info("CURRENT moved on while release %s was loaded", loaded.id)
                return False
            engine.replace(serving, lambda: self._articles_between(since, engine))
        LOGGER.info("release %s answers", loaded.id)
        try:
            self._drop(loaded)
        except StoreError as error:
            LOGGER.warning("articles that release %s has are kept until the next one: %s", loaded.id, error)
        return True

    def _new_state(self, loaded: Release) -> State | None:
        """With a store there is a state, what is viewed now and the ranking; without one the two towers alone. It lives
        as long as the process."""
        if self._store is None:
            return None
        preset = _preset(loaded, self._settings)
        users = CautiousUsers(StoredUsers(self._store, self._registry))
        return State(preset.half_life, preset.reach, users)

    def _carry(self, recommender: Recommender) -> Carried:
        """Tells a recommender that nobody asks yet of the articles that came since its release was built. Raises
        StoreError."""
        if self._store is None:
            return Carried([])
        loaded, records = recommender.release, self._store.articles()
        wanted = [record for record in records if not _has(loaded, record)]
        for start in range(0, len(wanted), AT_ONCE):
            came = arrivals.of_records(loaded, wanted[start : start + AT_ONCE])
            self._registry.publish()
            loaded.fit(len(self._registry))
            arrivals.put(recommender, came)
        LOGGER.info("release %s knows of %d articles that came or went since", loaded.id, len(wanted))
        return Carried(records)

    def _drop(self, loaded: Release) -> None:
        """Has the store forget articles that a release at work has for long. Raises StoreError."""
        if self._store is not None:
            self._store.drop_articles(loaded.until - KEPT_FOR)

    def _articles_between(self, since: str, engine: Engine) -> Sequence[Record]:
        """Those records behind a position, and up to that of the engine."""
        found: list[Record] = []
        while self._store is not None and since != engine.position:
            logged = self._store.read(since, AT_ONCE)
            if not logged:
                break
            for since, record in logged:
                if record.kind in {"article", "removal"}:
                    found.append(record)
                if since == engine.position:
                    break
        return found


def open_release(path: str, threads: int, registry: Registry | None = None) -> Release:
    """A release, verified and checked against its own answers.

    Raises ArtifactError or ReleaseError (both ValueError), naming the file.
    """
    loaded = release.load(path, threads, registry)
    warmup.check(loaded)
    LOGGER.info("release %s from %s is ready: %d articles", loaded.id, path, len(loaded.catalogue))
    return loaded


def recommender_of(loaded: Release, settings: Settings, state: State | None) -> Recommender:
    """What answers from a release and a state."""
    if state is None:
        return Recommender(loaded)
    return Recommender(loaded, state, _preset(loaded, settings), fresh_for=FRESH_FOR)


def _warm(loaded: Release, settings: Settings) -> None:
    """Every part answers once, with a state of its own: that of the service belongs to another thread."""
    preset = _preset(loaded, settings)
    warmup.answer_once(recommender_of(loaded, settings, State(preset.half_life, preset.reach)))


def _preset(loaded: Release, settings: Settings) -> Preset:
    return PRESETS[settings.preset or loaded.preset]


def _has(loaded: Release, record: Record) -> bool:
    """A removal is told again, at no cost."""
    return (
        record.kind == "article"
        and record.time < loaded.until - DELIVERED_WITHIN
        and loaded.catalogue.row(record.fields["article_id"]) is not None
    )
