"""Decides how what is viewed now survives the process: as bytes in the store, from which the next one goes on.

Articles are named by their ids: rows are others in another process.
"""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from services.candidates import Mask, Rows, Scores
from services.live import KINDS, TRENDS, WINDOWS, Parts
from services.pairs import Pairs
from services.registry import Registry
from services.state import State
from services.store import BEGINNING
from services.transitions import Transitions
from services.windows import Events

FORMAT = 1
_NEVER = np.iinfo(np.int64).min
Arrays = dict[str, npt.NDArray[Any]]


class SnapshotError(ValueError):
    """Bytes that no state can be made of; the message says why."""


class Taken(NamedTuple):
    """A copy of a state: its live signals; what followed what; last views by user; what it is made for; and the
    position of the log up to which it was told."""

    parts: Parts
    transitions: Transitions
    lately: Mapping[str, tuple[int, ...]]
    kind: Mapping[str, Any]
    position: str


def taken(state: State) -> Taken:
    """Called on the thread that owns the state; the copy may go to any other."""
    return Taken(state.live.parts(), state.transitions.copy(), state.lately(), _kind(state), state.position)


def encoded(taken: Taken, article_ids: Sequence[str]) -> bytes:
    """`article_ids` by row."""
    parts, (befores, afters, weights, origin) = taken.parts, taken.transitions.all()
    regions, slots = parts.region_slots.all()
    region_rows = parts.region_slots.chains.seconds[slots]
    place_of = np.zeros(parts.region_slots.room, np.int64)
    place_of[slots] = np.arange(len(slots))
    region_events = parts.region_events._replace(slots=place_of[parts.region_events.slots])
    arrays: Arrays = {"before": befores, "after": afters, "weight": weights}
    for kind, events in parts.events.items():
        arrays |= _of_events(kind, events)
    for name, sums in parts.sums.items():
        arrays |= _sparse(f"trend_{name}", sums, sums != 0)
    arrays |= _sparse("last_view", parts.last_view, parts.last_view != _NEVER)
    arrays |= {"region": regions, "region_row": region_rows} | _of_events("region", region_events)
    arrays |= {f"region_trend_{name}": _at(sums, slots) for name, sums in parts.region_sums.items()}
    arrays["lately_row"] = np.array([row for rows in taken.lately.values() for row in rows], np.int64)
    arrays["lately_count"] = np.array([len(rows) for rows in taken.lately.values()], np.int64)
    # All rows that occur, once: what is written is the place among these.
    named = _rows_of(arrays)
    used = np.unique(np.concatenate([np.empty(0, np.int64), *(arrays[name] for name in named)]))
    for name in named:
        arrays[name] = np.searchsorted(used, arrays[name])
    header = {
        **taken.kind,
        "origin": origin,
        "origins": dict(parts.origins),
        "region_origins": dict(parts.region_origins),
        "latest": {kind: events.latest for kind, events in (*parts.events.items(), ("region", parts.region_events))},
        "newest": parts.latest,
        "applied": parts.applied,
        "articles": [article_ids[row] for row in used.tolist()],
        "regions": list(parts.region_ids),
        "users": list(taken.lately),
    }
    out = io.BytesIO()
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(out, allow_pickle=False, header=text, **arrays)
    return out.getvalue()


def restored(content: bytes, state: State, registry: Registry) -> Taken:
    """What `encoded` wrote, for a process whose registry numbers articles; what is known of others is left out. `state`
    says what it must be made for. The position is not in the bytes. Raises SnapshotError."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as opened:
            arrays: Arrays = {name: opened[name] for name in opened.files}
        header = json.loads(arrays.pop("header").tobytes())
        wanted = _kind(state)
        found = {name: header.get(name) for name in wanted}
        if found != wanted:
            raise SnapshotError(f"it was made for {found}, this is {wanted}")
        return _restored(arrays, header, wanted, registry)
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise SnapshotError(f"{type(error).__name__}: {error}") from error


def put(taken: Taken, state: State, position: str) -> None:
    """Lets a state be that of the copy, which ends at a position of the log; called on the thread that owns it."""
    state.live.put(taken.parts)
    state.transitions.take(taken.transitions)
    state.put_lately(taken.lately)
    state.position = position


def _restored(arrays: Arrays, header: Mapping[str, Any], kind: Mapping[str, Any], registry: Registry) -> Taken:
    found = [registry.row(name) for name in header["articles"]]
    rows = np.array([-1 if row is None else row for row in found], np.int64)
    for name in _rows_of(arrays):
        arrays[name] = rows[arrays[name]]
    pairs = arrays["region_row"] >= 0
    place_of = np.where(pairs, np.cumsum(pairs) - 1, -1)
    region_events = _events(arrays, "region", header)
    parts = Parts(
        events={kind: _known(_events(arrays, kind, header)) for kind in KINDS},
        sums={name: _dense(arrays, f"trend_{name}", 0.0) for name in TRENDS},
        origins=header["origins"],
        region_ids=header["regions"],
        region_slots=Pairs.of_all(arrays["region"][pairs], arrays["region_row"][pairs]),
        region_events=_known(region_events._replace(slots=place_of[region_events.slots])),
        region_sums={name: arrays[f"region_trend_{name}"][pairs] for name in TRENDS},
        region_origins=header["region_origins"],
        last_view=_dense(arrays, "last_view", _NEVER),
        latest=header["newest"],
        applied=header["applied"],
    )
    followed = (arrays["before"] >= 0) & (arrays["after"] >= 0)
    transitions = Transitions(kind["half_life"])
    transitions.put(arrays["before"][followed], arrays["after"][followed], arrays["weight"][followed], header["origin"])
    views = np.split(arrays["lately_row"], np.cumsum(arrays["lately_count"])[:-1]) if header["users"] else []
    lately = {user: tuple(own[own >= 0].tolist()) for user, own in zip(header["users"], views, strict=True)}
    return Taken(parts, transitions, {user: own for user, own in lately.items() if own}, kind, BEGINNING)


def _kind(state: State) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "half_life": state.half_life,
        "reach": state.reach,
        "kinds": list(KINDS),
        "windows": dict(WINDOWS),
        "trends": dict(TRENDS),
    }


def _rows_of(arrays: Arrays) -> list[str]:
    """Names of those that hold rows."""
    rows = ("before", "after", "region_row", "lately_row", *(f"{kind}_slots" for kind in KINDS))
    return [*rows, *(name for name in arrays if name.endswith("_at"))]


def _of_events(name: str, events: Events) -> Arrays:
    """Times as differences, which take less room."""
    steps = np.diff(events.times, prepend=np.int64(0))
    return {f"{name}_steps": steps, f"{name}_slots": events.slots, f"{name}_heads": events.heads}


def _events(arrays: Arrays, name: str, header: Mapping[str, Any]) -> Events:
    times = np.cumsum(arrays[f"{name}_steps"])
    return Events(times, arrays[f"{name}_slots"], arrays[f"{name}_heads"], header["latest"][name])


def _known(events: Events) -> Events:
    """Without those whose slot is -1."""
    kept: Mask = events.slots >= 0
    before = np.concatenate([[0], np.cumsum(kept)])
    return Events(events.times[kept], events.slots[kept], before[events.heads], events.latest)


def _sparse(name: str, values: npt.NDArray[Any], is_told: Mask) -> Arrays:
    rows = np.flatnonzero(is_told)
    return {f"{name}_at": rows, f"{name}_values": values[rows]}


def _dense(arrays: Arrays, name: str, missing: float) -> npt.NDArray[Any]:
    rows, values = arrays[f"{name}_at"], arrays[f"{name}_values"]
    known = rows >= 0
    whole = np.full(int(rows.max(initial=-1)) + 1, missing, values.dtype)
    whole[rows[known]] = values[known]
    return whole


def _at(sums: Scores, slots: Rows) -> Scores:
    """Sums [slots] grow when one is added to."""
    padded = np.zeros(max(int(slots.max(initial=-1)) + 1, len(sums)))
    padded[: len(sums)] = sums
    return padded[slots]
