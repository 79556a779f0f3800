"""Decides how a dataset that is being written is reached by workers on other machines."""

import fsspec

from preprocessing import artifact
from preprocessing.artifact import Draft


def is_elsewhere(draft: Draft) -> bool:
    """False where workers write to the draft's own folder."""
    return draft.shared != str(draft.folder)


def share(draft: Draft, *names: str) -> None:
    """Makes files of the draft's folder readable at its `shared` path."""
    if is_elsewhere(draft):
        for name in names:
            artifact.put(draft.folder, draft.shared, name)


def collect(draft: Draft, folder: str) -> None:
    """Takes what workers wrote below a subfolder of `shared` into the draft's folder."""
    if not is_elsewhere(draft):
        return
    filesystem, root = fsspec.url_to_fs(draft.shared)
    for path in filesystem.find(artifact.join(root, folder)):
        target = draft.folder / path.removeprefix(root.rstrip("/") + "/")
        target.parent.mkdir(parents=True, exist_ok=True)
        filesystem.get_file(path, str(target))


def remove(path: str) -> None:
    """Removes a folder, local or remote, with all that is in it; a missing one is fine."""
    filesystem, root = fsspec.url_to_fs(path)
    if filesystem.exists(root):
        filesystem.rm(root, recursive=True)
