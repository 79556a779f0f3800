"""Decides how a retraining is handed to Kubeflow: once, or again and again, one at a time, none made up for later."""

import argparse
import json
import os
import pathlib
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import kfp
import kfp_server_api
import urllib3

from training import pipeline
from training.graph import PARAMETERS
from training.presets import PRESETS
from training.schedule import seconds_of

NEEDED = ("tables", "artifacts", "releases", "work")
TOKEN = "NEARFEED_KUBEFLOW_TOKEN"
CRON_FIELDS = 6
Client = Any  # kfp.Client has no types


class SubmitError(ValueError):
    """Nothing was handed over; the message says what to change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--host", required=True, metavar="URL", help="of Kubeflow Pipelines")
    argument("--namespace", help="of a Kubeflow for several users")
    argument("--experiment", default="nearfeed", help="[%(default)s]")
    argument("--name", default=pipeline.NAME, help="of the run; a recurring one of this name is replaced [%(default)s]")
    argument("--every", metavar="6h", help="a recurring run: a number and s, m, h or d")
    argument("--cron", metavar="'0 0 */6 * * *'", help="a recurring run: six fields, seconds first")
    argument("--preset", choices=sorted(PRESETS), default="marketplace", help="kind of logs [%(default)s]")
    argument("--images", default=pipeline.IMAGES, help="how the images of the folders are named [%(default)s]")
    argument("asked", nargs="*", metavar="NAME=VALUE", help=f"parameters: {', '.join(PARAMETERS)}")


def run(args: argparse.Namespace) -> int:
    """Prints `{"run"}` or `{"recurring_run", "replaced"}`: ids. NEARFEED_KUBEFLOW_TOKEN is sent where it is set."""
    asked = parameters(args.asked)
    if args.every and args.cron:
        raise SubmitError(f"--every is {args.every} and --cron is {args.cron!r}: one of them is enough")
    if args.cron and len(args.cron.split()) != CRON_FIELDS:
        raise SubmitError(f"--cron is {args.cron!r}, six fields are needed, seconds first, such as '0 0 */6 * * *'")
    if args.every:
        seconds_of(args.every)
    with tempfile.TemporaryDirectory() as folder:
        compiled = pathlib.Path(folder) / "pipeline.yaml"
        pipeline.compile_to(compiled, args.preset, args.images)
        try:
            told = hand_over(client_of(args), args, str(compiled), asked)
        except (kfp_server_api.exceptions.OpenApiException, urllib3.exceptions.HTTPError) as error:
            raise SubmitError(f"{args.host} did not take it: {error}") from error
    print(json.dumps(told))
    return 0


def parameters(texts: Sequence[str]) -> Mapping[str, str]:
    """`NAME=VALUE` texts -> parameters of the graph; raises SubmitError for one that there is not, that is given twice,
    or that is needed and missing."""
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in PARAMETERS or name in found:
            raise SubmitError(f"{text!r} was given: expected NAME=VALUE, each of {', '.join(PARAMETERS)} once at most")
        found[name] = value
    if missing := [name for name in NEEDED if not found.get(name)]:
        raise SubmitError(f"{', '.join(f'{name}=...' for name in missing)} is missing: there is no default")
    return found


def hand_over(client: Client, args: argparse.Namespace, compiled: str, asked: Mapping[str, str]) -> dict[str, Any]:
    """Starts one run, or puts a recurring one in place of those of the same name; returns what `run` prints."""
    experiment = client.create_experiment(args.experiment, namespace=args.namespace).experiment_id
    if not (args.every or args.cron):
        made = client.create_run_from_pipeline_package(
            compiled, dict(asked), run_name=args.name, experiment_id=experiment
        )
        return {"run": made.run_id}
    earlier = _of_name(client, experiment, args.name)
    recurring = client.create_recurring_run(
        experiment,
        args.name,
        interval_second=seconds_of(args.every) if args.every else None,
        cron_expression=args.cron,
        max_concurrency=1,
        no_catchup=True,
        params=dict(asked),
        pipeline_package_path=compiled,
    )
    # Only now: better two of them than none.
    for recurring_id in earlier:
        client.delete_recurring_run(recurring_id)
    return {"recurring_run": recurring.recurring_run_id, "replaced": earlier}


def client_of(args: argparse.Namespace) -> Client:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This client only works", FutureWarning)
        return kfp.Client(host=args.host, existing_token=os.environ.get(TOKEN))


def _of_name(client: Client, experiment: str, name: str) -> list[str]:
    found, page = list[str](), ""
    while True:
        answer = client.list_recurring_runs(page_token=page, page_size=100, experiment_id=experiment)
        runs = answer.recurring_runs or []
        found += [str(one.recurring_run_id) for one in runs if one.display_name == name]
        page = answer.next_page_token
        if not page:
            return found
