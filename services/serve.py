"""Decides how the service runs as a process: one server, logging to stderr."""

import argparse

from services.settings import Settings

FLAGS = ("releases", "release", "host", "port", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `serve`; what is not given comes from NEARFEED_ variables, then from the defaults."""
    parser.add_argument("--releases", metavar="DIR", help="folder or URL with releases and CURRENT")
    parser.add_argument("--release", metavar="PATH", help="serve this release, whatever CURRENT says")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8080); 0 takes a free one")
    parser.add_argument("--threads", type=int, help="threads of TensorFlow and of faiss (the cores available)")


def run(args: argparse.Namespace) -> int:
    """Serves until told to stop."""
    import uvicorn

    from services.app import create_app

    given = {flag: getattr(args, flag) for flag in FLAGS if getattr(args, flag) is not None}
    settings = Settings(**given)
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    return 0
