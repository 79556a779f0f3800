"""Decides what a retraining builds on: the release in service, and the newest logs and dataset that are there."""

import argparse
import datetime
import json

import fsspec

from preprocessing import artifact
from training import promote


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--releases", required=True, metavar="FOLDER", help="folder of releases with CURRENT")
    argument("--artifacts", required=True, metavar="FOLDER", help="folder that has logs/ and datasets/")
    argument("--to", default="", metavar="TIME", help="where all data ends (ISO) [the full hour before now]")
    argument("--days", type=float, default=28.0, help="how many days of events are looked at [%(default)s]")
    argument("--hours", type=float, default=6.0, help="the newest hours, which the gate asks about [%(default)s]")
    argument("--anew", type=int, default=7, help="so many retrainings go on from the release before [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints the window, `{"start", "until", "to"}`, and `{"champion", "champion_id", "warm", "logs", "dataset"}`:
    paths, empty where there is nothing yet; `warm` also where it is time to begin anew."""
    start, until, to = window(args.to, args.days, args.hours, datetime.datetime.now(datetime.UTC))
    named = promote.pointer(args.releases)
    champion = str(named["id"]) if named else ""
    path = artifact.join(args.releases, champion) if champion else ""
    told = {
        "start": start.isoformat(),
        "until": until.isoformat(),
        "to": to.isoformat(),
        "champion": path,
        "champion_id": champion,
        "warm": path if path and goes_on(path, args.anew) else "",
        "logs": newest(artifact.join(args.artifacts, "logs"), "logs", to),
        "dataset": newest(artifact.join(args.artifacts, "datasets"), "dataset", until),
    }
    print(json.dumps(told))
    return 0


def goes_on(release: str, most: int) -> bool:
    """Whether fewer than `most` trainings led to this release since the last that began anew; raises ArtifactError."""
    generation = artifact.read_manifest(release, "release").contents.get("generation")
    return generation is not None and int(generation) < most


def window(
    to: str, days: float, hours: float, now: datetime.datetime
) -> tuple[datetime.datetime, datetime.datetime, datetime.datetime]:
    """Where the data begins (at midnight), where training ends, and where all ends. Raises ValueError for a time
    without a zone or an empty window."""
    end = now.replace(minute=0, second=0, microsecond=0)
    if to:
        end = datetime.datetime.fromisoformat(to)
        if end.tzinfo is None:
            raise ValueError(f"--to is {to!r}, a time with a zone is needed, such as 2025-03-01T00:00:00Z")
    end = end.astimezone(datetime.UTC)
    until, first = end - datetime.timedelta(hours=hours), end - datetime.timedelta(days=days)
    start = first.replace(hour=0, minute=0, second=0, microsecond=0)
    if not start < until < end:
        raise ValueError(f"--hours is {hours:g}, it must be above 0 and less than --days, which is {days:g}")
    return start, until, end


def newest(folder: str, kind: str, latest: datetime.datetime) -> str:
    """Path of the artifact of a kind that ends last, at or before `latest`; empty where there is none.

    Raises ArtifactError for one of another kind or format.
    """
    filesystem, local = fsspec.url_to_fs(folder)
    found = []
    for path in sorted(filesystem.glob(f"{local}/*/{artifact.MANIFEST}")):
        where = artifact.join(folder, path.split("/")[-2])
        end = datetime.datetime.fromisoformat(artifact.read_manifest(where, kind).contents["until"])
        if end <= latest:
            found.append((end, where))
    return max(found, default=(latest, ""))[1]
