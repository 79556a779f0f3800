"""Decides what a retraining does: its steps in order, each one command whose last line of output is a JSON object.

The same list is run by `python -m training retrain` and compiled for Kubeflow by `training/pipeline.py`. A command may
name what earlier steps told, as `{dataset[path]}`, and what the run was asked for, as `{run[releases]}`.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from training.presets import PRESETS

# What a run is asked for. The window is worked out by the first step, and named by every later one, so that none is
# taken for that of another window.
PARAMETERS: Mapping[str, str] = {
    "tables": "name of the BigQuery dataset",
    "artifacts": "folder of datasets, models and what else is made, local or a URL",
    "releases": "folder of releases with CURRENT, local or a URL",
    "work": "local folder for checkpoints",
    "to": "where all data ends (ISO), the full hour before now where it is empty",
    "days": "how many days of events are looked at",
    "hours": "the newest hours, which nothing is trained on and the gate asks about",
    "sample": "share of the views that are asked about",
    "lists": "from about how many lists the ranking learns",
    "anew": "after how many retrainings that went on from the release before the towers begin anew; 0: they always do",
    "thresholds": "file of the gate's thresholds, those of training/gate.toml where it is empty",
    "who": "told in the history of releases",
    "notify": "address that is told how the run ended, as JSON; nobody is where it is empty",
    "keep": "how many of the releases that were last in service are kept with all that they were made from",
}
# A ranking is learned from at least so many lists.
LEAST_LISTS = 200
# Standard errors of its gain on the newest tenth of them. None: the gate asks more questions than there are lists, and
# two would drop a ranking worth a third of NDCG@10 every few days.
SURE = 0


class Step(NamedTuple):
    """`command` without `python -m`; where `needs` is given and comes out empty, the step is left out, and tells
    nothing but empty texts. `image`: the folder whose image runs it. `gigabytes` of memory at most."""

    name: str
    image: str
    command: str
    needs: str | None = None
    gigabytes: int = 4

    @property
    def asks(self) -> Sequence[str]:
        """The steps whose words it needs, in the order of the graph."""
        texts = (self.command, self.needs or "")
        return [name for name in NAMES if any(f"{{{name}[" in text for text in texts)]


def graph(preset: str) -> Sequence[Step]:
    """The steps for a kind of logs; raises ValueError for one that there is not."""
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}, only {', '.join(PRESETS)}")
    chosen = PRESETS[preset]
    candidate, ranking = shlex.join(chosen.candidate), shlex.join(chosen.ranking)
    folders = "--out {run[artifacts]}/models --work {run[work]}"
    parts = "--dataset {dataset[path]} --candidate {candidate[path]} --index {index[path]}"
    publish = f"training publish {parts} --releases {{run[releases]}} --preset {preset} --no-current"
    questions = "--from {plan[until]} --to {plan[to]} --sample {run[sample]}"
    ask = f"services replay --logs {{clean[path]}} {questions} --preset {preset} --candidates {chosen.candidates}"
    learn = f"services replay --logs {{clean[path]}} --release {{bundle[path]}} --preset {preset}"
    learn += " --from {candidate[trained_until]} --to {plan[until]} --lists {run[lists]} --seed 1"
    learn += f" --candidates {chosen.candidates} --examples {{run[artifacts]}}/examples"
    judge = "training gate --logs {clean[path]} --from {plan[until]} --to {plan[to]} --rate {run[sample]}"
    judge += " --release {release[path]} --predictions {answers[out]} --per-second {answers[answers_per_second]}"
    judge += " --champion '{plan[champion]}' --champion-predictions '{champion[out]}'"
    judge += " --thresholds '{run[thresholds]}' --verdicts {run[artifacts]}/verdicts"
    return [
        Step(
            "plan",
            "training",
            "training plan --releases {run[releases]} --artifacts {run[artifacts]} --to '{run[to]}'"
            " --days {run[days]} --hours {run[hours]} --anew {run[anew]}",
        ),
        Step(
            "logs",
            "preprocessing",
            "preprocessing export --dataset {run[tables]} --start {plan[start]} --until {plan[to]}"
            " --out {run[artifacts]}/logs --base '{plan[logs]}'",
        ),
        Step(
            "check",
            "training",
            "training check --logs {logs[path]} --to {plan[to]} --thresholds '{run[thresholds]}'",
        ),
        Step(
            "clean",
            "preprocessing",
            "preprocessing export --dataset {run[tables]} --start {plan[start]} --until {plan[to]}"
            " --out {run[artifacts]}/logs --base {logs[path]} --left-out '{check[left_out]}'",
        ),
        Step(
            "dataset",
            "preprocessing",
            "preprocessing run --dataset {run[tables]} --start {plan[start]} --until {plan[until]}"
            " --out {run[artifacts]}/datasets --base '{plan[dataset]}' --left-out '{check[left_out]}'",
        ),
        Step(
            "candidate",
            "training",
            f"training candidate --dataset {{dataset[path]}} {folders} --warm '{{plan[warm]}}'"
            f" --eval-share {chosen.ranking_share} --eval-views {{run[lists]}} {candidate}",
            gigabytes=8,
        ),
        Step(
            "index",
            "training",
            "training index --dataset {dataset[path]} --candidate {candidate[path]} --out {run[artifacts]}/indices",
        ),
        Step("bundle", "training", publish),
        Step("examples", "services", learn),
        Step(
            "ranking",
            "training",
            f"training ranking --examples {{examples[path]}} {folders} --least-lists {LEAST_LISTS} --sure {SURE}"
            f" {ranking}",
            gigabytes=8,
        ),
        Step("release", "training", f"{publish} --ranking '{{ranking[chosen]}}'"),
        Step(
            "answers",
            "services",
            f"{ask} --release {{release[path]}} --out {{run[artifacts]}}/answers/{{release[id]}}.parquet",
        ),
        Step(
            "champion",
            "services",
            f"{ask} --release {{plan[champion]}} --out {{run[artifacts]}}/answers/champion-{{release[id]}}.parquet",
            needs="{plan[champion]}",
        ),
        Step("gate", "training", judge),
        Step(
            "promote",
            "training",
            "training promote --releases {run[releases]} --release {release[id]} --verdict {gate[path]}"
            " --expect '{plan[champion_id]}' --who '{run[who]}' --why 'passed the gate with data until {plan[to]}'",
        ),
        Step(
            "retain",
            "training",
            "training retain --releases {run[releases]} --artifacts {run[artifacts]} --work {run[work]}"
            " --keep {run[keep]}",
        ),
        Step(
            "notify",
            "training",
            "training notify --url {run[notify]} --release {promote[id]} --previous '{promote[previous]}'"
            " --verdict {gate[path]}",
            needs="{run[notify]}",
        ),
    ]


NAMES = (
    "plan", "logs", "check", "clean", "dataset", "candidate", "index", "bundle", "examples", "ranking", "release",
    "answers", "champion", "gate", "promote", "retain", "notify",
)  # fmt: skip


def filled(text: str, told: dict[str, dict[str, object]]) -> str:
    """A word of a command, or a condition, with what the run and the steps have told; a step that was left out tells
    empty texts. Raises ValueError for a step or a word that is not there.

    Stands for itself, with nothing from outside: Kubeflow takes its source along.
    """
    import re

    def word(place: "re.Match[str]") -> str:
        step, key = place.groups()
        if step not in told or (told[step] and key not in told[step]):
            raise ValueError(f"{text!r} names {key!r} of {step!r}, which was not told")
        found = told[step].get(key)
        return "" if found is None else str(found)

    return re.sub(r"\{(\w+)\[(\w+)\]\}", word, text)
