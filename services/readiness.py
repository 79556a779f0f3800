"""Decides whether the service may answer: one reference, replaced as a whole, to what answers or to a reason."""

import dataclasses
import logging

from services import logs, release, warmup
from services.engine import Engine
from services.follower import Follower
from services.recommender import Recommender
from services.release import Release
from services.settings import Settings
from services.sources import PRESETS
from services.state import State
from services.store import BEGINNING, Store, StoreError
from services.users import StoredUsers

LOGGER = logging.getLogger(__name__)
# What is viewed most may be as it was half a second ago (microseconds).
FRESH_FOR = 500_000


@dataclasses.dataclass(frozen=True)
class NotReady:
    """Nothing can be answered yet, for this reason."""

    reason: str


class Readiness:
    """Holds what answers at present; readers take `state` once and keep it for the length of a request."""

    def __init__(self) -> None:
        self.state: Engine | NotReady = NotReady("the release is being loaded")
        self.follower: Follower | None = None

    def load(self, settings: Settings, store: Store | None = None) -> None:
        """Loads the release that the settings name, and lets the log of `store` have its effect on it; any error is
        logged and becomes the reason for not being ready."""
        try:
            recommender = recommender_of(open_release(settings), settings, store)
            warmup.answer_once(recommender)
            engine = Engine(recommender, settings.batch, settings.patience_ms / 1_000)
            if store is not None:
                self._follow(store, engine)
            self.state = engine
        except Exception as error:
            with logs.without_input():
                LOGGER.exception("the release cannot be served")
            self.state = NotReady(str(error) or type(error).__name__)

    def _follow(self, store: Store, engine: Engine) -> None:
        """Where the store is away for now, the service answers without it, and follows the log when it is back."""
        self.follower = Follower(store, BEGINNING, engine.tell)
        try:
            self.follower.catch_up()
        except StoreError as error:
            LOGGER.warning("the log cannot be read yet: %s", error)
        self.follower.start()

    def close(self) -> None:
        """Follows the log no more, answers what waits."""
        if self.follower is not None:
            self.follower.close()
        if isinstance(self.state, Engine):
            self.state.close()


def open_release(settings: Settings) -> Release:
    """The release given, or else the one in service, verified.

    Raises ArtifactError or ReleaseError (both ValueError), naming the file.
    """
    path = settings.release or release.current(settings.releases or "")
    loaded = release.load(path, settings.threads)
    warmup.check(loaded)
    LOGGER.info("release %s from %s is ready: %d articles", loaded.id, path, len(loaded.catalogue))
    return loaded


def recommender_of(loaded: Release, settings: Settings, store: Store | None) -> Recommender:
    """With a store there is a state, what is viewed now and the ranking; without one the two towers alone."""
    if store is None:
        return Recommender(loaded)
    preset = PRESETS[settings.preset]
    state = State(preset.half_life, preset.reach, StoredUsers(store, loaded.catalogue.rows))
    return Recommender(loaded, state, preset, fresh_for=FRESH_FOR)
