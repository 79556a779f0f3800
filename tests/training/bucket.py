"""Decides how a bucket is played: objects with generations, and uploads that ask for one, over the JSON API of Google
Cloud Storage, to the real client."""

import email
import http.server
import json
import threading
import urllib.parse
from typing import Any


class Bucket:
    """`objects`: name -> (content, generation); `port` on 127.0.0.1."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, int]] = {}
        self._lock, self._generations = threading.Lock(), 100
        bucket = self

        class Handler(_Handler):
            played = bucket

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "Bucket":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, content: bytes, wanted: int | None) -> int | None:
        """The new generation, None where the present one (0: there is none) is not `wanted`."""
        with self._lock:
            if wanted is not None and self.objects.get(name, (b"", 0))[1] != wanted:
                return None
            self._generations += 1
            self.objects[name] = content, self._generations
            return self._generations


class _Handler(http.server.BaseHTTPRequestHandler):
    played: Bucket

    def do_GET(self) -> None:
        path, asked = self._split()
        name = urllib.parse.unquote(path.rpartition("/o/")[2])
        content, generation = self.played.objects.get(name, (b"", 0))
        wanted = asked.get("ifGenerationMatch")
        if not generation:
            self._answer(404, {"error": {"code": 404, "message": "No such object"}})
        elif wanted is not None and int(wanted) != generation:
            self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        elif asked.get("alt") == "media":
            self._send(200, content, "application/octet-stream")
        else:
            self._answer(200, self._described(name, generation))

    def do_POST(self) -> None:
        _, asked = self._split()
        length = int(self.headers["Content-Length"])
        body = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode() + self.rfile.read(length)
        described, content = (part.get_payload(decode=True) for part in email.message_from_bytes(body).walk()
                              if not part.is_multipart())  # fmt: skip
        assert isinstance(described, bytes)
        assert isinstance(content, bytes)
        name, wanted = json.loads(described)["name"], asked.get("ifGenerationMatch")
        made = self.played.put(name, content, None if wanted is None else int(wanted))
        if made is None:
            self._answer(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        else:
            self._answer(200, self._described(name, made))

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def _described(self, name: str, generation: int) -> dict[str, str]:
        return {"kind": "storage#object", "name": name, "bucket": "feed", "generation": str(generation)}

    def _split(self) -> tuple[str, dict[str, str]]:
        parts = urllib.parse.urlsplit(self.path)
        return parts.path, dict(urllib.parse.parse_qsl(parts.query))

    def _answer(self, code: int, body: dict[str, Any]) -> None:
        self._send(code, json.dumps(body).encode(), "application/json")

    def _send(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
