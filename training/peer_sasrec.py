"""Decides how another library's SASRec is measured: RecTools, in a virtual environment of its own (.venv-peer).

`python training/peer_sasrec.py VIEWS.npz` prints a JSON line an epoch: `epoch`, `seconds` of training so far,
`views_per_second`, and HR@10 and NDCG@10 of the held out views over the whole catalogue, without each user's history.
"""

import argparse
import json
import os
import pathlib
import sys
import time
from typing import Any

import numpy as np
import pandas as pd

K = 10


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("views", type=pathlib.Path, help="arrays user, article (training), asked, target, in order")
    parser.add_argument("--loss", default="softmax", help="of RecTools' SASRecModel [%(default)s]")
    parser.add_argument("--negatives", type=int, default=256, help="for losses that sample [%(default)s]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch [%(default)s]")
    parser.add_argument("--seconds", type=float, default=1200, help="training ends after so many [%(default)s]")
    parser.add_argument("--patience", type=int, default=5, help="or so many epochs without a better one [%(default)s]")
    parser.add_argument("--sizes", type=json.loads, required=True, help="further arguments of SASRecModel, as JSON")
    args = parser.parse_args()
    measure(args)
    return 0


def measure(args: argparse.Namespace) -> None:
    import torch
    from pytorch_lightning import Trainer, seed_everything
    from rectools.dataset import Dataset
    from rectools.models import SASRecModel

    torch.set_num_threads(args.threads)
    seed_everything(0, verbose=False)
    views = np.load(args.views)
    dataset = Dataset.construct(_interactions(views["user"], views["article"]))
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    model = SASRecModel(
        **args.sizes,
        loss=args.loss,
        n_negatives=args.negatives,
        deterministic=False,
        get_trainer_func=lambda: Trainer(max_epochs=1, min_epochs=1, accelerator="cpu", **quiet),
    )
    spent, best, stale, epoch = 0.0, 0.0, 0, 0
    while spent < args.seconds and stale < args.patience:
        epoch += 1
        begun = time.perf_counter()
        model.fit_partial(dataset, min_epochs=1, max_epochs=1)
        spent += time.perf_counter() - begun
        found = _evaluate(model, dataset, views["asked"], views["target"])
        stale = 0 if found["NDCG@10"] > best else stale + 1
        best = max(best, found["NDCG@10"])
        told = {
            "epoch": epoch,
            "seconds": round(spent, 1),
            "views_per_second": round(epoch * len(views["user"]) / spent),
        }
        print(json.dumps({**told, **found}), flush=True)


def _interactions(users: Any, articles: Any) -> pd.DataFrame:
    order = pd.to_datetime(np.arange(len(users)), unit="s")
    return pd.DataFrame({"user_id": users, "item_id": articles, "datetime": order, "weight": 1.0})


def _evaluate(model: Any, dataset: Any, asked: Any, target: Any) -> dict[str, float]:
    found = model.recommend(users=asked, dataset=dataset, k=K, filter_viewed=True)
    right = found.merge(pd.DataFrame({"user_id": asked, "item_id": target}), on=["user_id", "item_id"])
    ranks = right["rank"].to_numpy()
    return {
        "HR@10": round(len(ranks) / len(asked), 5),
        "NDCG@10": round(float((1 / np.log2(ranks + 1)).sum()) / len(asked), 5),
    }


if __name__ == "__main__":
    sys.exit(main())
