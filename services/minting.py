"""Decides what a new API key looks like, and prints it once."""

import argparse
import datetime
import hashlib
import secrets
from collections.abc import Sequence

from services.keys import Key

RANDOM_BYTES = 32
PREFIX = "nearfeed_"  # so that scanners for leaked secrets can know one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `key`."""
    parser.add_argument("--id", required=True, metavar="NAME", help="how logs and limits name the key; no secret")
    parser.add_argument("--scopes", required=True, metavar="SCOPE,...", help="of read, write and admin")
    parser.add_argument("--not-after", metavar="TIME", help="when it ends, as 2027-01-31T00:00:00Z (never)")


def run(args: argparse.Namespace) -> int:
    """Prints a new key and its entry for a key file in TOML; nothing is stored. Raises ValueError for a bad flag."""
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    ends = None if args.not_after is None else datetime.datetime.fromisoformat(args.not_after)
    lines = entry(args.id, secret, args.scopes.split(","), ends)
    print(f"The key, shown this once: {secret}\n\nIts entry in the key file:\n", *lines, sep="\n")
    return 0


def entry(name: str, secret: str, scopes: Sequence[str], not_after: datetime.datetime | None) -> Sequence[str]:
    """The lines of TOML that make a key valid. Raises ValidationError (a ValueError) where the key file would refuse
    them."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    key = Key.model_validate({"id": name, "sha256": digest, "scopes": scopes, "not_after": not_after})
    named = ", ".join(f'"{scope}"' for scope in sorted(key.scopes))
    lines = ["[[keys]]", f'id = "{key.id}"', f'sha256 = "{key.sha256}"', f"scopes = [{named}]"]
    return lines if key.not_after is None else [*lines, f"not_after = {key.not_after.isoformat()}"]
