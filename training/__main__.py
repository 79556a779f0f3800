"""Decides which verb of training runs: `python -m training <verb>`."""

import argparse
import importlib
import sys

COMMANDS = {
    "candidate": ("training.candidate", "train the two towers of the candidate model"),
    "index": ("training.index", "make the article vectors and their faiss index"),
    "publish": ("training.publish", "bundle a release and make it the current one"),
    "evaluate": ("training.evaluate", "score predictions, beside popularity and the oracle's"),
    "demo": ("training.demo", "the whole road: logs in, an answer out"),
}
