"""Decides what can be set from outside: every setting of the service, from NEARFEED_ variables or flags."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.cores import available_cores


class Settings(BaseSettings):
    """What one process of the service is told. A value given in code or by a flag wins over the environment.

    `releases` is the folder that holds CURRENT; `release` names one bundle and wins over it. `threads` sizes the pools
    of TensorFlow and faiss. Raises ValidationError (a ValueError) for a missing release or a value out of range.
    """

    model_config = SettingsConfigDict(env_prefix="NEARFEED_", env_ignore_empty=True, extra="forbid")

    releases: str | None = None
    release: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    threads: int = Field(default_factory=available_cores, ge=1)
    commit: str | None = None
    retry_after_seconds: int = Field(default=5, ge=1)
    max_body_bytes: int = Field(default=16 * 1024 * 1024, ge=1024)
    shutdown_seconds: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _names_a_release(self) -> Self:
        if self.releases is None and self.release is None:
            raise ValueError("neither a folder of releases nor a release is given: one of the two is needed")
        return self
