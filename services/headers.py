"""Decides which headers every answer carries for the browser's sake, whoever made the answer."""

import base64
import hashlib
import re
from collections.abc import Sequence

from fastapi.openapi.docs import get_swagger_ui_html

Headers = Sequence[tuple[bytes, bytes]]

ALWAYS: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
POLICY = b"content-security-policy"
NOTHING = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
CACHE = b"cache-control"
NO_STORE = (CACHE, b"no-store")
# The same for everybody, and large.
CACHEABLE = ("/docs", "/openapi.json", "/static-offline-docs/")


class SecurityHeaders:
    """Headers by path. An answer's own Content-Security-Policy and Cache-Control stay."""

    def __init__(self, docs_policy: bytes) -> None:
        """`docs_policy` is the Content-Security-Policy of /docs."""
        self._personal = (*ALWAYS, (POLICY, NOTHING), NO_STORE)
        self._static = (*ALWAYS, (POLICY, NOTHING))
        self._docs = (*ALWAYS, (POLICY, docs_policy))

    def added(self, path: str, own: Headers) -> Headers:
        """What to add to an answer that has the headers `own`."""
        headers = self._for(path)
        names = {name for name, _ in own}
        if POLICY in names or CACHE in names:
            return [header for header in headers if header[0] not in names]
        return headers

    def _for(self, path: str) -> Headers:
        if path.startswith(CACHEABLE):
            return self._docs if path == "/docs" else self._static
        return self._personal


def docs_policy(page: str) -> bytes:
    """A policy that lets this page run its own scripts, named by their hashes, and load from this service only.

    Swagger UI sets styles on elements and carries its pictures as data, which is all that is allowed beyond.
    """
    scripts = " ".join(f"'sha256-{_hash(text)}'" for text in re.findall(r"<script>(.*?)</script>", page, re.DOTALL))
    return (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ).encode()


def docs_page() -> str:
    """The page that FastAPI makes for /docs; only its inline scripts matter here."""
    page = get_swagger_ui_html(
        openapi_url="/openapi.json", title="", oauth2_redirect_url="/docs/oauth2-redirect", swagger_ui_parameters=None
    )
    return bytes(page.body).decode()


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
