"""Decides which verb of training runs: `python -m training <verb>`."""

import argparse
import importlib
import sys

COMMANDS = {
    "bench-input": ("training.bench_input", "measure how fast batches reach training"),
    "bench-towers": ("training.bench_towers", "compare ways to read a history by quality and cost of a call"),
    "bench-release": ("training.bench_release", "make a release of made-up articles, to measure the service by"),
    "bench-retrain": ("training.bench_retrain", "tell whether a daily retraining costs more after a longer history"),
    "bench-train": ("training.bench_train", "measure training steps in catalogues of several sizes"),
    "bench-peer": ("training.bench_peer", "measure training beside the SASRec of RecTools"),
    "candidate": ("training.candidate", "train the two towers of the candidate model"),
    "ranking": ("training.ranking", "train the ranking model on what replay wrote"),
    "index": ("training.index", "make the article vectors and their faiss index"),
    "publish": ("training.publish", "bundle a release and make it the current one"),
    "gate": ("training.gate", "decide whether a release may take the place of the one in service"),
    "notify": ("training.notify", "tell people how a retraining ended"),
    "plan": ("training.plan", "tell what a retraining builds on"),
    "check": ("training.check", "compare the newest day of logs with those before it"),
    "retrain": ("training.retrain", "everything from the tables to a release in service, once"),
    "retain": ("training.retain", "delete what no release in service needs any more"),
    "schedule": ("training.schedule", "retrain regularly on this machine"),
    "rehearsal": ("training.rehearsal", "retrain day by day on simulated logs, with days that must be refused"),
    "frequency": ("training.frequency", "tell how often a retraining is worth its cost"),
    "both": ("training.both", "hold what Kubeflow's runner makes against what the plain commands make"),
    "killed": ("training.killed", "kill retrainings at random moments and see that all is well after"),
    "pipeline": ("training.pipeline", "compile the retraining for Kubeflow"),
    "submit": ("training.submit", "hand the retraining to Kubeflow, once or again and again"),
    "promote": ("training.promote", "put a release into service, or go back to one that was"),
    "targets": ("training.targets", "choose the views that are to be predicted"),
    "experiment": ("training.experiment", "tell what the arms of an experiment are worth"),
    "ab-test": ("training.ab_test", "put simulated users through experiments whose truth is known"),
    "evaluate": ("training.evaluate", "score predictions, beside popularity and the oracle's"),
    "preset": ("training.kinds", "tell what kind of logs a dataset is made of"),
    "quality": ("training.quality", "make every stage on some logs, play the past again, score and report"),
    "ablation": ("training.ablation", "tell what each group of features and each source is worth"),
    "demo": ("training.demo", "the whole road: logs in, an answer out"),
}


def main(arguments: list[str]) -> int:
    """Runs one verb and returns its exit code; what the user can mend is told in one line, with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb, (_, purpose) in COMMANDS.items():
        verbs.add_parser(verb, help=purpose, add_help=False)
    known, rest = parser.parse_known_args(arguments[:1])
    module = importlib.import_module(COMMANDS[known.verb][0])
    command = argparse.ArgumentParser(prog=f"python -m training {known.verb}", description=module.__doc__)
    module.add_arguments(command)
    try:
        return int(module.run(command.parse_args([*rest, *arguments[1:]])))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
