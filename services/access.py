"""Decides which permission a call needs: one table for the whole service."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from starlette.routing import compile_path

from services.keys import Permission


class Rule(NamedTuple):
    """A call, named as its route is, and what it needs: None is open to everybody and has no limit."""

    method: str
    template: str
    needs: Permission | None


RULES: Sequence[Rule] = (
    Rule("POST", "/v1/recommendations", "read"),
    Rule("POST", "/v1/feed", "read"),
    Rule("GET", "/v1/articles/{article_id:path}/similar", "read"),
    Rule("POST", "/v1/events", "write"),
    Rule("PUT", "/v1/articles/{article_id:path}", "write"),
    Rule("DELETE", "/v1/articles/{article_id:path}", "write"),
    Rule("DELETE", "/v1/users/{user_id:path}", "admin"),
    Rule("POST", "/v1/admin/rollback", "admin"),
    Rule("GET", "/version", "read"),
    Rule("GET", "/metrics", None),
    Rule("GET", "/healthz", None),
    Rule("GET", "/readyz", None),
    Rule("GET", "/docs", None),
    Rule("GET", "/docs/oauth2-redirect", None),
    Rule("GET", "/openapi.json", None),
    Rule("GET", "/static-offline-docs/{path:path}", None),
)
METRICS = "/metrics"
# What no rule names is closed to all but administrators: a new call is never open by oversight.
UNNAMED = Rule("", "unmatched", "admin")


class Access:
    """The table in force."""

    def __init__(self, protect_metrics: bool = False) -> None:
        """With `protect_metrics`, /metrics needs `read`."""
        rules = [_protected(rule) if protect_metrics and rule.template == METRICS else rule for rule in RULES]
        self._fixed = {(rule.method, rule.template): rule for rule in rules if "{" not in rule.template}
        self._varying = [(_pattern(rule), rule) for rule in rules if "{" in rule.template]

    def rule(self, method: str, path: str) -> Rule:
        """The rule for a call. HEAD is judged as GET."""
        method = "GET" if method == "HEAD" else method
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed
        return next((rule for pattern, rule in self._varying if rule.method == method and pattern.match(path)), UNNAMED)


def methods(path: str) -> set[str]:
    """Of all calls that a path may be."""
    return {rule.method for rule in RULES if _pattern(rule).match(path)}


def _protected(rule: Rule) -> Rule:
    return rule._replace(needs="read")


@functools.cache
def _pattern(rule: Rule) -> re.Pattern[str]:
    pattern: re.Pattern[str] = compile_path(rule.template)[0]
    return pattern
