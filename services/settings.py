"""Decides what can be set from outside: every setting of the service, from NEARFEED_ variables or flags."""

import ipaddress
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.cores import model_threads
from services.logs import LogFormat


class Settings(BaseSettings):
    """What one process of the service is told. A value given in code or by a flag wins over the environment.

    `releases` is the folder that holds CURRENT; `release` names one bundle and wins over it. `threads` sizes the pools
    of TensorFlow and faiss. Up to `batch` requests are answered together; who would wait for more than `patience_ms` is
    refused, and whose ranking would end after `deadline_ms` gets the candidates in their order. `store` is the URL of
    the log and the histories, without which there are no events and no ranking; `log_answers` is the share of the
    answers that are kept in it with their features, `snapshot_seconds` and `snapshot_records` say when a snapshot of
    what is viewed now is due. `preset` is the kind of logs, that of the release when not given, `rules` the rules file.
    CURRENT is looked at every `poll_seconds`. `compile_ranking`: the ranking model is compiled by XLA,
    that of the first release once it answers, that of a later one before.
    `keys` is the key file; `per_second` and `burst` limit each key that has
    no limit of its own, or each client address where there are no keys. `trusted_proxies` are the addresses, by commas,
    whose X-Forwarded-For is believed.

    Raises ValidationError (a ValueError) for a missing release, a value out of range, or an address that is open to
    others without a decision about keys.
    """

    model_config = SettingsConfigDict(
        env_prefix="NEARFEED_", env_ignore_empty=True, extra="forbid", hide_input_in_errors=True
    )

    releases: str | None = None
    release: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default_factory=model_threads, ge=1)
    commit: str | None = None
    retry_after_seconds: int = Field(default=5, ge=1)
    max_body_bytes: int = Field(default=4 * 1024 * 1024, ge=1024)
    shutdown_seconds: int = Field(default=10, ge=1)
    batch: int = Field(default=32, ge=1, le=256)
    patience_ms: float = Field(default=250, gt=0, allow_inf_nan=False)
    poll_seconds: float = Field(default=10, gt=0, allow_inf_nan=False)
    deadline_ms: float = Field(default=50, gt=0, allow_inf_nan=False)
    compile_ranking: bool = False
    log_answers: float = Field(default=0.01, ge=0, le=1)
    snapshot_seconds: float = Field(default=300, gt=0, allow_inf_nan=False)
    snapshot_records: int = Field(default=100_000, ge=1)
    store: str | None = None
    preset: Literal["marketplace", "news", "shop-history"] | None = None

    rules: str | None = None

    keys: str | None = None
    no_keys: bool = False
    protect_metrics: bool = False
    per_second: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    burst: int | None = Field(default=None, ge=1)
    max_buckets: int = Field(default=10_000, ge=1)
    trusted_proxies: str | None = None
    log_format: LogFormat = "text"
    access_log: bool = True
    otlp_endpoint: str | None = None
    trace_ratio: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _names_a_release(self) -> Self:
        if self.releases is None and self.release is None:
            raise ValueError("neither a folder of releases nor a release is given: one of the two is needed")
        return self

    @model_validator(mode="after")
    def _decides_about_keys(self) -> Self:
        if self.keys is not None and self.no_keys:
            raise ValueError("a key file is given and --no-keys too: one of the two")
        if self.keys is None and not self.no_keys and not _is_loopback(self.host):
            raise ValueError(
                f"--host {self.host} can be reached by others, and there is no key file: "
                "name one with --keys, or let everybody in with --no-keys"
            )
        if self.keys is None and self.protect_metrics:
            raise ValueError("--protect-metrics needs a key file: name one with --keys")
        if self.burst is not None and self.per_second is None:
            raise ValueError("burst is given without per_second")
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who can reach it is not known
        return False
