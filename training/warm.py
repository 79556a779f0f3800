"""Decides what training takes over from a release: what it knew keeps its row, what is new begins as what stood for
it."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from preprocessing import artifact
from training.dataset import Dataset
from training.network import CandidateNetwork, NetworkConfig

SLOTS, ATTRIBUTE = "slots", "/.ATTRIBUTES/VARIABLE_VALUE"
# Tables with a row for each word of a vocabulary, and one for what is outside it.
TABLES = {"region_id": ("encoder/regions", "context/regions"), "category_id": ("encoder/categories",)}
OF_NETWORK = ("dim", "heads", "blocks", "history", "smoothing")
OF_DATASET = ("embedding_dim", "title_buckets", "oov_article_buckets")
Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Start:
    """The release that training goes on from: its `towers` in a local folder, `trained_until` (microseconds: no view at
    or after it trained them), and how many trainings have gone on from another one since the last that began anew."""

    release_id: str
    towers: pathlib.Path
    trained_until: int
    generation: int


@contextlib.contextmanager
def open_start(path: str, dataset: Dataset, config: NetworkConfig) -> Iterator[Start | None]:
    """None, and a line on stderr that says why, where the towers of that release are of another kind. Raises
    ArtifactError where it is not whole."""
    with artifact.open_artifact(path, "release") as (folder, manifest):
        contents = manifest.contents
        if difference := _difference(contents, description(config, dataset)):
            print(f"training begins anew: release {manifest.id} has {difference}", file=sys.stderr, flush=True)
            yield None
        else:
            yield Start(manifest.id, folder / "towers", int(contents["trained_until"]), int(contents["generation"]))


def take_over(network: CandidateNetwork, dataset: Dataset, start: Start) -> None:
    """Gives a built network the weights of `start`.

    An article with an id of its own keeps its vector; one that had none begins with that which it shared, so that its
    place in the index is where its content had put it. A region or category that is new begins as the unknown one.
    """
    weights = _Weights(start.towers)
    rows: dict[str, Array] = {"encoder/ids": _earlier_slots(weights, dataset, network)}
    for name, tables in TABLES.items():
        before = weights.vocabulary(name)
        places = _places(dataset.vocabulary(name), before)
        rows |= dict.fromkeys(tables, np.append(np.where(places < 0, len(before), places), len(before)))
    waiting = {id(variable): variable.path for variable in network.trainable_variables}
    for path in weights.paths():
        value, variable = weights.read(path), _at(network, path)
        table = path.removesuffix("/table")
        variable.assign(value[rows[table]] if table in rows else value)
        del waiting[id(variable)]
    if waiting:
        raise ValueError(f"{start.towers} has no {', '.join(waiting.values())}")


def _earlier_slots(weights: "_Weights", dataset: Dataset, network: CandidateNetwork) -> Array:
    """[slot rows] the slot from which each one takes over, by the article whose own it is."""
    articles = network.articles
    rows = _places(dataset.vocabulary("article_id"), weights.vocabulary("article_id"))
    before, now = weights.read(SLOTS), articles.slots.numpy()[: len(rows)]
    shared = np.arange(len(rows)) % articles.oov
    slots = np.arange(articles.slot_rows)
    # Rows that share a slot come to one of the shared, which are as many and the same before and now.
    own = now >= articles.oov
    slots[now[own]] = np.where(rows < 0, shared, before[rows])[own]
    return slots


class _Weights:
    """What the SavedModel of two towers holds: variables by their path, and the words that its tables are rows of."""

    def __init__(self, towers: pathlib.Path) -> None:
        self._towers = towers
        self._reader = tf.train.load_checkpoint(str(towers / "variables" / "variables"))

    def paths(self) -> Sequence[str]:
        """Of all that the network learns."""
        names = (name.partition(ATTRIBUTE) for name in self._reader.get_variable_to_shape_map())
        return sorted(path for path, attribute, _ in names if attribute and path != SLOTS)

    def read(self, path: str) -> Array:
        return np.asarray(self._reader.get_tensor(path + ATTRIBUTE))

    def vocabulary(self, name: str) -> Sequence[str]:
        return (self._towers / "assets" / f"{name}.txt").read_bytes().decode().split("\n")[:-1]


def _at(network: CandidateNetwork, path: str) -> Any:
    """The variable that a SavedModel keeps under a path such as `tower/blocks/0/bias`."""
    found: Any = network
    for name in path.split("/"):
        found = found[int(name)] if name.isdigit() else getattr(found, name)
    return found


def description(config: NetworkConfig, dataset: Dataset) -> dict[str, object]:
    """What two networks must have in common for the weights of one to mean anything in the other."""
    return {name: getattr(config, name) for name in OF_NETWORK} | {name: dataset.contents[name] for name in OF_DATASET}


def _difference(contents: artifact.Json, here: Mapping[str, object]) -> str | None:
    """What keeps a release from being a start, in words."""
    if "network" not in contents:
        return "towers of an earlier form"
    there = contents["network"]
    unlike = [f"{name} {there.get(name)}, not {value}" for name, value in here.items() if there.get(name) != value]
    return "; ".join(unlike) or None


def _places(names: Sequence[str], before: Sequence[str]) -> Array:
    """[names] where each stands among those before, -1 where it does not."""
    place = {name: number for number, name in enumerate(before)}
    return np.fromiter((place.get(name, -1) for name in names), np.int64, len(names))
