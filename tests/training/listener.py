"""Decides how a test hears what is sent to an address."""

import http.server
import json
from typing import Any

from tests.served import Served


class Listener(Served):
    """`heard`: the bodies of all POSTs to `url`, in their order; answered with `status`."""

    def __init__(self, status: int = 200) -> None:
        self.heard = list[Any]()
        listener = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                listener.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        super().__init__(Handler)
        self.url += "/hook"
