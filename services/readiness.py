"""Decides whether the service may answer: one reference, replaced as a whole, to what answers or to a reason."""

import dataclasses
import logging
import threading

from services import keeper, logs, runtime, warmup
from services.answered import AnswerLog
from services.engine import Engine
from services.follower import Follower
from services.keeper import Keeper
from services.metrics import Metrics
from services.registry import Registry
from services.rollout import LONGEST_PAUSE_SECONDS, Rollout
from services.settings import Settings
from services.store import BEGINNING, Store, StoreError

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class NotReady:
    """Nothing can be answered yet, for this reason."""

    reason: str


class Readiness:
    """Holds what answers at present; readers take `state` once and keep it for the length of a request."""

    rollout: Rollout

    def __init__(self, metrics: Metrics | None = None) -> None:
        """`metrics` are told of releases."""
        self._metrics = metrics or Metrics()
        self.state: Engine | NotReady = NotReady("the release is being loaded")
        self.follower: Follower | None = None
        self.answers: AnswerLog | None = None
        self.keeper: Keeper | None = None
        self._ended = threading.Event()

    def run(self, settings: Settings, store: Store | None = None) -> None:
        """Loads the release that the settings name, then looks for another one in CURRENT until `end`; while none can
        be served, tries again, ever later."""
        runtime.settle()
        self.load(settings, store)
        self._compile(settings)
        pause = settings.poll_seconds
        while not self._ended.wait(pause):
            if isinstance(self.state, NotReady):
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
                self.load(settings, store)
                self._compile(settings)
                continue
            pause = settings.poll_seconds
            try:
                if self.rollout.look(self.state):
                    self._answers_now(self.state)
            except Exception:
                self._metrics.release_refused()
                with logs.without_input():
                    LOGGER.exception("what CURRENT names cannot be served, the release before it goes on")

    def _compile(self, settings: Settings) -> None:
        """While the service answers: it does so by the plain model until each size has been compiled."""
        if not settings.compile_ranking or isinstance(self.state, NotReady):
            return
        warmup.compile_ranking(self.state.recommender, settings.batch, self._ended.is_set)

    def load(self, settings: Settings, store: Store | None = None) -> None:
        """Loads the release that the settings name, and lets the log of `store` have its effect on it; any error is
        logged and becomes the reason for not being ready."""
        self.rollout = Rollout(settings, store, Registry(), is_ended=self._ended.is_set)
        try:
            serving = self.rollout.first()
            warmup.answer_once(serving.recommender)
            engine = Engine(
                serving.recommender,
                settings.batch,
                settings.patience_ms / 1_000,
                serving.carried,
                settings.deadline_ms / 1_000,
                self.answers,
            )
            if store is not None:
                self._follow(store, engine, settings)
            self.state = engine
            self._answers_now(engine)
        except Exception as error:
            with logs.without_input():
                LOGGER.exception("the release cannot be served")
            self._metrics.release_refused()
            self.state = NotReady(str(error) or type(error).__name__)

    def _answers_now(self, engine: Engine) -> None:
        release = engine.recommender.release
        self._metrics.release_loaded(release.id, release.created_time)

    def _follow(self, store: Store, engine: Engine, settings: Settings) -> None:
        """Where the store is away for now, the service answers without it, and follows the log when it is back."""
        recommender, after = engine.recommender, BEGINNING
        assert recommender.state is not None
        registry = recommender.release.catalogue.registry
        # What the log says of articles before a snapshot is not read again: it must have been carried over.
        if self.rollout.has_carried:
            after = keeper.resume(store, engine, recommender.state, registry)
        self.keeper = Keeper(store, engine, registry.names, settings.snapshot_seconds, settings.snapshot_records)
        self.follower = Follower(store, after, engine.tell)
        try:
            self.follower.catch_up()
        except StoreError as error:
            LOGGER.warning("the log cannot be read yet: %s", error)
        self.follower.start()
        self.keeper.start()

    def end(self) -> None:
        """Looks for no further release."""
        self._ended.set()

    def close(self) -> None:
        """Follows the log no more, answers what waits; after `run` has returned."""
        if self.keeper is not None:
            self.keeper.close()
        if self.follower is not None:
            self.follower.close()
        if isinstance(self.state, Engine):
            self.state.close()
            if self.state.recommender.state is not None:
                self.state.recommender.state.users.close()
        if self.answers is not None:
            self.answers.close()
