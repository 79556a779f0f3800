"""Decides whether a request is let in: by its key, by what the key permits, by how many came before it."""

import dataclasses
import math
from collections.abc import Mapping

from starlette.types import ASGIApp, Receive, Scope, Send

from services.access import Access, Rule
from services.errors import error_response
from services.keys import Key, Keys, Permission
from services.limits import Limits, Rate, neighbourhood
from services.metrics import Metrics

BEARER = b"bearer "
POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why a request is not let in; `reason` is the label under which it is counted."""

    status: int
    reason: str
    error: str
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)


NO_KEY = Refusal(401, "no_key", "an API key is needed", {"WWW-Authenticate": "Bearer"})
WRONG_KEY = Refusal(401, "wrong_key", "the API key is not valid", {"WWW-Authenticate": 'Bearer error="invalid_token"'})


class Guard:
    """Answers 401, 403 and 429 in place of the application. Leaves `state.key_id` and `state.template` behind."""

    def __init__(
        self, app: ASGIApp, access: Access, keys: Keys | None, limits: Limits, rate: Rate | None, metrics: Metrics
    ) -> None:
        """Without `keys` everybody may do everything, and `rate` holds for a client address; with them it holds for
        each key that has none of its own."""
        self._app, self._access, self._keys = app, access, keys
        self._limits, self._rate, self._metrics = limits, rate, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        rule = self._access.rule(scope["method"], scope["path"])
        state = scope["state"]
        state["template"] = rule.template
        refusal = self._refusal(rule, scope)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        self._metrics.refused(refusal.reason)
        answer = error_response(state["request_id"], refusal.status, refusal.error, headers=refusal.headers)
        await answer(scope, receive, send)

    def _refusal(self, rule: Rule, scope: Scope) -> Refusal | None:
        if rule.needs is None:
            return None
        if self._keys is None:
            return self._too_many(_address(scope), self._rate)
        presented = _presented(scope)
        if presented is None:
            return NO_KEY
        key = self._keys.find(presented)
        if key is None:
            return WRONG_KEY
        scope["state"]["key_id"] = key.id
        return self._of_key(key, rule.needs)

    def _of_key(self, key: Key, needed: Permission) -> Refusal | None:
        if not key.permits(needed):
            return Refusal(403, "scope", f"API key {key.id} lacks the scope {needed}")
        return self._too_many(key.id, key.rate or self._rate)

    def _too_many(self, caller: str, rate: Rate | None) -> Refusal | None:
        wait_seconds = 0.0 if rate is None else self._limits.take(caller, rate)
        if not wait_seconds:
            return None
        headers = {"Retry-After": str(max(1, math.ceil(wait_seconds)))}
        return Refusal(429, "rate", "too many requests, see Retry-After", headers)


def _presented(scope: Scope) -> bytes | None:
    """The key of the request; a Bearer token goes before X-API-Key."""
    headers = dict(scope["headers"])
    authorization: bytes = headers.get(b"authorization", b"")
    if authorization[: len(BEARER)].lower() == BEARER:
        return authorization[len(BEARER) :].strip() or None
    return headers.get(b"x-api-key") or None


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return neighbourhood(client[0]) if client else "unknown"
