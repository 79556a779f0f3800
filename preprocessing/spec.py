"""Decides how one sees what another engine would be sent: the pipelines of a dataset, built without a network."""

import argparse
import json
import pathlib
from collections.abc import Sequence

from google.protobuf import json_format

from preprocessing import catalogue, count, execution, views
from preprocessing.bigquery import Connection
from preprocessing.job import Job, Part
from preprocessing.plan import Piece

# Looks at flags and credentials of Dataflow, but sends nothing.
DRY = ("--dry_run=True", "--no_auth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--out", type=pathlib.Path, required=True, metavar="FOLDER", help="gets a file for each pipeline")
    argument(
        "--datasets", required=True, metavar="URL", help="where datasets are written, such as gs://bucket/datasets"
    )
    argument("--pieces", type=int, default=3, metavar="N", help="units of work of the views [%(default)s]")
    argument("beam", nargs="*", metavar="-- BEAM", help="Beam's own flags, with --runner=DataflowRunner")


def run(args: argparse.Namespace) -> int:
    """Writes `count.json`, `catalogue.json` and `views.json`, Beam's portable description of each pipeline; prints
    stage -> `{"path", "transforms", "images", "bytes"}`. Raises ValueError for another runner than Dataflow's: only
    that one builds a pipeline without running it."""
    if "--runner=DataflowRunner" not in args.beam:
        raise ValueError(f"the flags behind -- are {args.beam}, --runner=DataflowRunner is needed among them")
    if args.pieces < 1:
        raise ValueError(f"--pieces is {args.pieces}, at least 1 is needed")
    flags = [*args.beam, *(flag for flag in DRY if flag not in args.beam)]
    args.out.mkdir(parents=True, exist_ok=True)
    job = Job(Connection("p", "d"), args.datasets, f"{args.datasets}/.work", 2, 100, tuple(flags))
    pieces = [Piece(number, "p.d.views", number, number + 1, 10) for number in range(args.pieces)]
    stages: dict[str, tuple[execution.Stage, Sequence[Piece | Part]]] = {
        "count": (count.Count(job), pieces),
        "catalogue": (catalogue.Catalogue(job), [Part(0, 10)]),
        "views": (views.Views(job), pieces),
    }
    told = {}
    for name, (stage, units) in stages.items():
        pipeline = execution.build(stage, units, flags)
        pipeline.run()
        whole, path = pipeline.runner.proto_pipeline, args.out / f"{name}.json"
        path.write_text(json_format.MessageToJson(whole), encoding="utf-8")
        told[name] = {
            "path": str(path),
            "transforms": sorted(transform.unique_name for transform in whole.components.transforms.values()),
            "images": [one.payload.decode("latin-1") for one in whole.components.environments.values()],
            "bytes": whole.ByteSize(),
        }
    print(json.dumps(told))
    return 0
