"""Decides which BigQuery is talked to: Google's, or an emulator where an endpoint is set."""

import argparse
import dataclasses
import os
import re
import socket
import urllib.parse

import google.auth
import google.auth.exceptions
import grpc
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryReadClient
from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

LOCAL_PROJECT = "nearfeed-local"
CONNECT_SECONDS = 5.0
GIGABYTE = 10**9
DEFAULT_GIGABYTES = 1000
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")


class BigQueryError(ValueError):
    """The connection's settings contradict each other, or nothing answers there; the message names the setting."""


@dataclasses.dataclass(frozen=True)
class Connection:
    """One dataset of one project. Both endpoints set: an emulator, without credentials; none: Google's service.

    No query may read more than `max_bytes_billed`.
    """

    project: str
    dataset: str
    location: str = "US"
    endpoint: str | None = None
    storage_endpoint: str | None = None
    max_bytes_billed: int = DEFAULT_GIGABYTES * GIGABYTE

    def __post_init__(self) -> None:
        if bool(self.endpoint) != bool(self.storage_endpoint):
            raise BigQueryError(
                f"--endpoint is {self.endpoint!r} and --storage-endpoint is {self.storage_endpoint!r}: set both or none"
            )
        if not _DATASET.fullmatch(self.dataset):
            raise BigQueryError(f"--dataset is {self.dataset!r}: letters, digits and _ are allowed")
        if self.max_bytes_billed < 1:
            raise BigQueryError(f"--max-gigabytes-billed gives {self.max_bytes_billed} bytes, at least 1 is needed")

    def table(self, name: str) -> str:
        """`project.dataset.name`."""
        return f"{self.project}.{self.dataset}.{name}"

    def client(self) -> bigquery.Client:
        """A client for tables and queries; with Google's it uses application-default credentials.

        Raises BigQueryError when nothing listens at the endpoint, or there are no credentials.
        """
        if self.endpoint is None:
            try:
                return bigquery.Client(project=self.project, location=self.location)
            except google.auth.exceptions.DefaultCredentialsError as error:
                raise BigQueryError(_NO_CREDENTIALS) from error
        _check_listening(self.endpoint)
        return bigquery.Client(
            project=self.project,
            location=self.location,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=self.endpoint),
        )

    def read_client(self) -> BigQueryReadClient:
        """A client of the Storage Read API that takes messages of any size."""
        if self.storage_endpoint is None:
            return BigQueryReadClient()
        channel = grpc.insecure_channel(self.storage_endpoint, options=[("grpc.max_receive_message_length", -1)])
        return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


_NO_CREDENTIALS = (
    "no Google credentials were found and no --endpoint is set: make application-default credentials "
    "(gcloud auth application-default login), or name an emulator with --endpoint and --storage-endpoint"
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of a connection; each falls back to an environment variable."""
    group = parser.add_argument_group("BigQuery")
    environment = os.environ.get
    group.add_argument(
        "--project",
        default=environment("NEARFEED_PROJECT"),
        help=f"[NEARFEED_PROJECT, else that of the credentials, or {LOCAL_PROJECT} with an endpoint]",
    )
    group.add_argument("--dataset", default=environment("NEARFEED_DATASET", "nearfeed"), help="[NEARFEED_DATASET]")
    group.add_argument("--location", default=environment("NEARFEED_LOCATION", "US"), help="[NEARFEED_LOCATION]")
    group.add_argument(
        "--endpoint",
        default=environment("NEARFEED_BIGQUERY_ENDPOINT"),
        help="an emulator's, as in http://127.0.0.1:9050 [NEARFEED_BIGQUERY_ENDPOINT]",
    )
    group.add_argument(
        "--storage-endpoint",
        default=environment("NEARFEED_BIGQUERY_STORAGE_ENDPOINT"),
        help="an emulator's Storage API, as in 127.0.0.1:9060 [NEARFEED_BIGQUERY_STORAGE_ENDPOINT]",
    )
    group.add_argument(
        "--max-gigabytes-billed",
        type=float,
        default=environment("NEARFEED_MAX_GIGABYTES_BILLED", str(DEFAULT_GIGABYTES)),
        help="no query may read more [NEARFEED_MAX_GIGABYTES_BILLED, else %(default)s]",
    )


def from_args(args: argparse.Namespace) -> Connection:
    """The connection that the flags of `add_flags` describe; raises BigQueryError where they do not suffice."""
    endpoint, storage_endpoint = args.endpoint or None, args.storage_endpoint or None
    project = args.project or (LOCAL_PROJECT if endpoint else _credentials_project())
    most = int(args.max_gigabytes_billed * GIGABYTE)
    return Connection(project, args.dataset, args.location, endpoint, storage_endpoint, most)


def _credentials_project() -> str:
    try:
        _, project = google.auth.default()
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise BigQueryError(_NO_CREDENTIALS) from error
    if not project:
        raise BigQueryError("the Google credentials name no project: set --project")
    return str(project)


def _check_listening(endpoint: str) -> None:
    """The client repeats a refused connection for ten minutes, which looks like a hang: look before."""
    parts = urllib.parse.urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BigQueryError(f"--endpoint is {endpoint!r}: a URL is expected, as in http://127.0.0.1:9050")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise BigQueryError(f"nothing answers at --endpoint {endpoint}: {error}") from error
