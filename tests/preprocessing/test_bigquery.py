"""Which BigQuery is meant follows from flags and environment; what cannot work is said at once."""

import argparse
import pathlib
import socket

import pytest

from preprocessing.bigquery import BigQueryError, Connection, add_flags, from_args

ENVIRONMENT = (
    "NEARFEED_PROJECT", "NEARFEED_DATASET", "NEARFEED_LOCATION", "NEARFEED_BIGQUERY_ENDPOINT",
    "NEARFEED_BIGQUERY_STORAGE_ENDPOINT", "NEARFEED_MAX_GIGABYTES_BILLED", "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
)  # fmt: skip
LOCAL = ("--endpoint", "http://127.0.0.1:9050", "--storage-endpoint", "127.0.0.1:9060")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


def _parse(*arguments: str) -> Connection:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return from_args(parser.parse_args(arguments))


def test_with_an_endpoint_the_project_has_a_name_of_its_own() -> None:
    assert _parse(*LOCAL) == Connection(
        project="nearfeed-local", dataset="nearfeed", location="US", endpoint="http://127.0.0.1:9050",
        storage_endpoint="127.0.0.1:9060",
    )  # fmt: skip


def test_flags_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARFEED_PROJECT", "of-environment")
    monkeypatch.setenv("NEARFEED_DATASET", "of_environment")
    monkeypatch.setenv("NEARFEED_BIGQUERY_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("NEARFEED_BIGQUERY_STORAGE_ENDPOINT", "127.0.0.1:2")
    assert _parse("--dataset", "of_flag") == Connection(
        "of-environment", "of_flag", endpoint="http://127.0.0.1:1", storage_endpoint="127.0.0.1:2"
    )


def test_tables_have_full_names() -> None:
    assert Connection("my-project", "logs").table("events") == "my-project.logs.events"


@pytest.mark.parametrize("flags", [LOCAL[:2], LOCAL[2:]])
def test_one_endpoint_without_the_other_is_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(BigQueryError, match="set both or none"):
        _parse("--project", "p", *flags)


def test_a_dataset_that_could_not_be_one_is_refused() -> None:
    with pytest.raises(BigQueryError, match=r"'a\.b; DROP'"):
        Connection("p", "a.b; DROP")


def test_an_endpoint_where_nothing_listens_is_named_at_once() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    connection = Connection("p", "d", endpoint=f"http://127.0.0.1:{port}", storage_endpoint="127.0.0.1:1")
    with pytest.raises(BigQueryError, match=f"nothing answers at --endpoint http://127.0.0.1:{port}"):
        connection.client()


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    with pytest.raises(BigQueryError, match="a URL is expected"):
        Connection("p", "d", endpoint="127.0.0.1:9050", storage_endpoint="127.0.0.1:1").client()


def test_without_endpoint_and_credentials_both_ways_out_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "missing.json"))
    with pytest.raises(BigQueryError, match=r"application-default credentials .* --endpoint"):
        _parse()
    with pytest.raises(BigQueryError, match=r"application-default credentials .* --endpoint"):
        Connection("p", "d").client()


def test_the_limit_of_bytes_is_given_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _parse(*LOCAL).max_bytes_billed == 10**12
    monkeypatch.setenv("NEARFEED_MAX_GIGABYTES_BILLED", "20")
    assert _parse(*LOCAL).max_bytes_billed == 20 * 10**9
    assert _parse(*LOCAL, "--max-gigabytes-billed", "0.5").max_bytes_billed == 500_000_000
    with pytest.raises(BigQueryError, match="--max-gigabytes-billed gives 0 bytes, at least 1 is needed"):
        _parse(*LOCAL, "--max-gigabytes-billed", "0")
