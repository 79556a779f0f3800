"""Decides whether the service may answer: one reference, replaced as a whole, to what answers or to a reason."""

import dataclasses
import logging

from services import logs, release, warmup
from services.engine import Engine
from services.recommender import Recommender
from services.settings import Settings

LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class NotReady:
    """Nothing can be answered yet, for this reason."""

    reason: str


class Readiness:
    """Holds what answers at present; readers take `state` once and keep it for the length of a request."""

    def __init__(self) -> None:
        self.state: Engine | NotReady = NotReady("the release is being loaded")

    def load(self, settings: Settings) -> None:
        """Loads the release that the settings name; any error is logged and becomes the reason for not being ready."""
        try:
            self.state = Engine(open_recommender(settings), settings.batch, settings.patience_ms / 1_000)
        except Exception as error:
            with logs.without_input():
                LOGGER.exception("the release cannot be served")
            self.state = NotReady(str(error) or type(error).__name__)


def open_recommender(settings: Settings) -> Recommender:
    """The recommender over the release given, or else over the one in service, verified and warmed up.

    Raises ArtifactError or ReleaseError (both ValueError), naming the file.
    """
    path = settings.release or release.current(settings.releases or "")
    loaded = release.load(path, settings.threads)
    warmup.check(loaded)
    LOGGER.info("release %s from %s is ready: %d articles", loaded.id, path, len(loaded.catalogue))
    return Recommender(loaded)
