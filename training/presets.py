"""Decides how a kind of logs is trained on and answered from; training.kinds says which kind a dataset's are.

Nothing heavy is imported: the graph of a retraining is made of it, and whoever runs that computes nothing himself.
"""

import dataclasses
from collections.abc import Mapping, Sequence

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Preset:
    """Flags of `training candidate` and of `training ranking`, and further ones of that where it learns from lists that
    were shown; how many candidates are ranked, which newest part of the views the ranking learns from, and about how
    many lists of it. How they were chosen: docs/decisions/0008-ranking.md."""

    candidate: Sequence[str] = ()
    ranking: Sequence[str] = ()
    shown: Sequence[str] = ("--dropout", "0.2", "--eval-share", "0.15")
    candidates: int = 200
    ranking_share: float = 0.034
    lists: int = 30_000


PRESETS: Mapping[str, Preset] = {
    "marketplace": Preset(ranking_share=0.25),
    "news": Preset(ranking=("--without", "attention"), candidates=300, ranking_share=0.14),
    "shop-history": Preset(
        candidate=(
            "--dim", "128", "--blocks", "2", "--dropout", "0.5", "--negatives", "1024", "--id-dropout", "0",
            "--min-views", "1", "--learning-rate", "0.002", "--epochs", "40", "--eval-every", "660", "--patience", "5",
            "--eval-queries", "25000", "--metric", "NDCG@10",
        ),
    ),
}  # fmt: skip
