"""Decides how a test meets a download that stands still: a real HTTP server that sends half of a file."""

import contextlib
import functools
import http.server
import pathlib
import threading
from collections.abc import Iterator

PATIENCE_SECONDS = 60
STALLED = "tokens.npy"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files of a folder; of STALLED half, and then nothing, while its server is stalled."""

    server: "Stalling"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path.endswith(STALLED) and self.server.is_stalled.is_set():
            content = pathlib.Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.is_half.set()
            self.server.may_end.wait(PATIENCE_SECONDS)
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        del format, args


class Stalling(http.server.ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1; `asked` are the paths."""

    daemon_threads = True

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.asked: list[str] = []
        self.is_stalled, self.is_half, self.may_end = threading.Event(), threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def stalling(folder: pathlib.Path) -> Iterator[Stalling]:
    """Serves a folder meanwhile."""
    with Stalling(folder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.may_end.set()
        server.shutdown()
        thread.join()
