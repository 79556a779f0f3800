"""Decides how the graph of a retraining becomes a Kubeflow pipeline: one component for all steps, a task for each.

`python -m training pipeline` compiles it. Kubeflow Pipelines, Vertex AI Pipelines and `kfp.local` run the same file.
"""

import argparse
import json
import pathlib
import shlex
import shutil
import warnings
from collections.abc import Mapping
from typing import Any

from kfp import compiler, components, dsl, local

from training.graph import PARAMETERS, Step, filled, graph
from training.presets import PRESETS

NAME = "nearfeed-retraining"
# How many earlier steps one may name.
MOST_ASKED = 6
RETRIES = 2
IMAGES = "nearfeed/{image}:latest"
DEFAULTS = {
    "to": "",
    "days": "28",
    "hours": "6",
    "sample": "0.2",
    "anew": "7",
    "thresholds": "",
    "who": "pipeline",
    "notify": "",
    "keep": "3",
}
# What decides where it builds on must be looked at anew.
NEVER_CACHED = ("plan", "promote", "retain", "notify")


class RunError(RuntimeError):
    """A task of the pipeline failed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    argument = parser.add_argument
    argument("--out", type=pathlib.Path, required=True, metavar="FILE", help="the compiled pipeline, YAML")
    argument("--preset", choices=sorted(PRESETS), default="marketplace", help="kind of logs [%(default)s]")
    argument("--images", default=IMAGES, help="how the images of the folders are named [%(default)s]")


def run(args: argparse.Namespace) -> int:
    """Prints `{"path", "steps"}`."""
    compile_to(args.out, args.preset, args.images)
    print(json.dumps({"path": str(args.out), "steps": len(graph(args.preset))}))
    return 0


def stage(
    name: str,
    command: list,  # type: ignore[type-arg]
    needs: str,
    asks: list,  # type: ignore[type-arg]
    measures: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    tables: str = "",
    artifacts: str = "",
    releases: str = "",
    work: str = "",
    to: str = "",
    days: str = "",
    hours: str = "",
    sample: str = "",
    lists: str = "",
    anew: str = "",
    thresholds: str = "",
    who: str = "",
    notify: str = "",
    keep: str = "",
    told_1: str = "",
    told_2: str = "",
    told_3: str = "",
    told_4: str = "",
    told_5: str = "",
    told_6: str = "",
) -> str:
    """Runs `python -m` with the words of `command`, which name parameters and what the steps `asks` have told; returns
    the JSON object of its last line. Its numbers become metrics, its report an artifact."""
    import json
    import pathlib
    import subprocess
    import sys
    import urllib.request

    texts = [told_1, told_2, told_3, told_4, told_5, told_6]
    told = {name: json.loads(text) for name, text in zip(asks, texts, strict=False)}
    told["run"] = {
        "tables": tables, "artifacts": artifacts, "releases": releases, "work": work, "to": to, "days": days,
        "hours": hours, "sample": sample, "lists": lists, "anew": anew, "thresholds": thresholds, "who": who,
        "notify": notify, "keep": keep,
    }  # fmt: skip
    if needs and not filled(needs, told):
        return "{}"
    words = [filled(word, told) for word in command]
    print("python -m", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode and notify:
        # Not by `training notify`: an image has one folder.
        facts = {"moved": False, "failed": name, "code": done.returncode}
        text = f"The retraining ended at step {name} with {done.returncode}: CURRENT stays."
        request = urllib.request.Request(notify, json.dumps({"text": text, **facts}).encode())
        request.add_header("Content-Type", "application/json")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            print(f"{notify} was not told: {error}", flush=True)
    if done.returncode:
        raise RuntimeError(f"python -m {' '.join(words)} ended with exit code {done.returncode}")
    line = done.stdout.strip().splitlines()[-1]
    spoken = json.loads(line)
    for name, value in spoken.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            measures.log_metric(name, value)
    page = pathlib.Path(str(spoken.get("path", "")), "report.html")
    if page.is_file():
        pathlib.Path(report.path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(report.path).write_text(page.read_text(encoding="utf-8"), encoding="utf-8")
    return line


def run_here(preset: str, asked: Mapping[str, str]) -> None:
    """Compiles the pipeline and runs what came of it on this machine, each task in a process of its own.

    Raises RunError where a task fails.
    """
    folder = pathlib.Path(asked["work"]) / "kubeflow"
    compile_to(folder / "pipeline.yaml", preset, IMAGES)
    # Its own folders of earlier runs are not looked at again: what lasts is among the artifacts.
    shutil.rmtree(folder / "outputs", ignore_errors=True)
    local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(folder / "outputs"))
    compiled = components.load_component_from_file(str(folder / "pipeline.yaml"))
    with warnings.catch_warnings():
        # What the images hold is in the environment of this process.
        warnings.filterwarnings("ignore", "You may be attemping to run a task that uses custom", RuntimeWarning)
        try:
            compiled(**asked)
        except RuntimeError as error:
            raise RunError(str(error)) from error


def compile_to(path: pathlib.Path, preset: str, images: str) -> None:
    """Writes the pipeline as YAML, the same bytes for the same graph."""
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(pipeline(preset, images), package_path=str(path))


def pipeline(preset: str, images: str = IMAGES) -> Any:
    """The pipeline of a kind of logs; in `images` the folder of an image stands as `{image}`."""
    steps = graph(preset)
    components = {image: _component(images.format(image=image)) for image in {step.image for step in steps}}

    @dsl.pipeline(name=NAME, description="From the tables to a release in service, or a refusal.")
    def retraining(
        tables: str,
        artifacts: str,
        releases: str,
        work: str,
        to: str = DEFAULTS["to"],
        days: str = DEFAULTS["days"],
        hours: str = DEFAULTS["hours"],
        sample: str = DEFAULTS["sample"],
        lists: str = str(PRESETS[preset].lists),
        anew: str = DEFAULTS["anew"],
        thresholds: str = DEFAULTS["thresholds"],
        who: str = DEFAULTS["who"],
        notify: str = DEFAULTS["notify"],
        keep: str = DEFAULTS["keep"],
    ) -> None:
        values = (
            tables, artifacts, releases, work, to, days, hours, sample, lists, anew, thresholds, who, notify, keep,
        )  # fmt: skip
        asked = dict(zip(PARAMETERS, values, strict=True))
        tasks: dict[str, Any] = {}
        for step in steps:
            task = _task(step, components[step.image], asked, tasks)
            # One after the other, as on one machine: nothing is learned from what the check has not let through.
            tasks[step.name] = task.after(*list(tasks.values())[-1:])

    return retraining


def _component(image: str) -> Any:
    return dsl.component(base_image=image, install_kfp_package=False, additional_funcs=[filled])(stage)


def _task(step: Step, component: Any, asked: dict[str, Any], tasks: dict[str, Any]) -> Any:
    text = f"{step.command} {step.needs or ''}"
    given = {name: value for name, value in asked.items() if f"{{run[{name}]}}" in text}
    # Every step is to tell when it fails.
    given["notify"] = asked["notify"]
    told = {f"told_{place}": tasks[name].outputs["Output"] for place, name in enumerate(step.asks, start=1)}
    words = {"name": step.name, "command": shlex.split(step.command), "needs": step.needs or ""}
    task = component(**words, asks=list(step.asks), **given, **told)
    task.set_display_name(step.name)
    task.set_caching_options(step.name not in NEVER_CACHED)
    task.set_retry(RETRIES)
    task.set_cpu_request("1").set_cpu_limit("4")
    task.set_memory_request("1G").set_memory_limit(f"{step.gigabytes}G")
    return task
