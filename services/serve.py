"""Decides how the service runs as a process: one server, logging to stderr."""

import argparse
import sys
import time

from services import logs
from services.settings import Settings
from services.sources import PRESETS
from services.times import micros_of

# The thread that answers and the one that speaks HTTP take turns so often at least (seconds): after the 5 ms that are
# usual an answer of 4 ms is late.
TURN_SECONDS = 0.0005
FLAGS = (
    "releases", "release", "store", "preset", "rules", "host", "port", "threads", "keys", "no_keys", "protect_metrics",
    "log_format",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `serve`; what is not given comes from NEARFEED_ variables, then from the defaults."""
    parser.add_argument("--releases", metavar="DIR", help="folder or URL with releases and CURRENT")
    parser.add_argument("--release", metavar="PATH", help="serve this release, whatever CURRENT says")
    parser.add_argument("--store", metavar="URL", help="log and histories: sqlite:///FILE or redis://HOST:PORT/NUMBER")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="kind of logs (that of the release)")
    parser.add_argument("--rules", metavar="PATH", help="rules, slots of the feed and experiments, TOML or JSON")
    parser.add_argument("--as-of", metavar="TIME", help="the time to begin at (ISO): to serve logs of the past")
    parser.add_argument("--host", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on (8080); 0 takes a free one")
    parser.add_argument("--threads", type=int, help="threads of TensorFlow and of faiss (half of the cores available)")
    parser.add_argument("--keys", metavar="PATH", help="file of API keys, TOML or JSON")
    _add_switch(parser, "--no-keys", "answer everybody, also on an address that others reach")
    _add_switch(parser, "--protect-metrics", "/metrics needs a key too")
    parser.add_argument("--log-format", choices=("json", "text"), help="lines of the log on stderr (text)")


def run(args: argparse.Namespace) -> int:
    """Serves until told to stop."""
    import uvicorn

    from services.app import create_app
    from services.connections import Connection

    given = {flag: getattr(args, flag) for flag in FLAGS if getattr(args, flag) is not None}
    settings = Settings(**given)
    logs.configure(settings.log_format)
    ago = 0.0 if args.as_of is None else time.time() - micros_of("--as-of", args.as_of) / 1e6

    def clock() -> float:
        return time.time() - ago

    sys.setswitchinterval(TURN_SECONDS)
    uvicorn.run(
        create_app(settings, clock),
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )
    return 0


def _add_switch(parser: argparse.ArgumentParser, flag: str, meaning: str) -> None:
    """A flag that is None, not false, where it is not given: then the environment decides."""
    parser.add_argument(flag, action="store_true", default=None, help=meaning)
