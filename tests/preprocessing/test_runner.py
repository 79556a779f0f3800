"""The runner is always named, and one that loses outputs is refused."""

import pytest

from preprocessing import runner


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], None),
        (["--project=p"], None),
        (["--runner=DataflowRunner", "--project=p"], "DataflowRunner"),
        (["--project", "p", "--runner", "PortableRunner"], "PortableRunner"),
    ],
)
def test_the_named_runner_is_found(arguments: list[str], name: str | None) -> None:
    assert runner.named(arguments) == name


def test_without_one_the_local_runner_is_named() -> None:
    assert runner.explicit(["--job_name=x"]) == ["--runner=FnApiRunner", "--job_name=x"]
    assert runner.explicit(["--runner=DataflowRunner"]) == ["--runner=DataflowRunner"]


@pytest.mark.parametrize("arguments", [["--runner=DaskRunner"], ["--runner", "apache_beam.runners.dask.DaskRunner"]])
def test_dask_is_refused(arguments: list[str]) -> None:
    with pytest.raises(runner.RunnerError, match="is refused: Beam's Dask runner loses all outputs"):
        runner.explicit(arguments)
