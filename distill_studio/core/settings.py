"""Settings from the environment (prefix `DISTILL_STUDIO_`), built once in `bootstrap.py`."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK_HOSTS = {"127.0.0.1", "localhost", "::1"}


class Settings(BaseSettings):
    """Everything that can be set from outside."""

    model_config = SettingsConfigDict(env_prefix="DISTILL_STUDIO_", extra="ignore", frozen=True)

    home: Path = Field(
        default_factory=lambda: Path.home() / ".distill_studio",
        description="Data folder: workspaces, caches, server.json.",
    )
    host: str = Field(
        default_factory=lambda: "0.0.0.0" if "SPACE_ID" in os.environ else "127.0.0.1",
        description="Address the app listens on.",
    )
    port: int = Field(default=7860, ge=0, le=65535, description="Port; 0 picks a free one.")
    password: SecretStr | None = Field(
        default=None, description="Asked for at log-in; needed on any host but loopback."
    )
    user: str = Field(default="owner", description="Your name on this machine (no password set).")
    workspace: str = Field(default="main", description="Workspace opened first.")
    max_upload_mib: int = Field(default=512, ge=1, description="Largest file taken by upload.")
    cache: Path | None = Field(
        default=None, description="Where models made here are kept; default <home>/cache."
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    vllm_python: Path | None = Field(
        default=None, description="Python that has vLLM; default .venv-vllm, made by make vllm."
    )

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can reach the app. A Space never counts as loopback."""
        return self.host in LOOPBACK_HOSTS and "SPACE_ID" not in os.environ

    @property
    def is_locked(self) -> bool:
        """True when strangers could reach the app and nothing keeps them out."""
        return not self.is_loopback and not self.has_password

    @property
    def has_password(self) -> bool:
        """True when a password is set; an empty one counts as none."""
        return self.password is not None and bool(self.password.get_secret_value())

    @property
    def cache_folder(self) -> Path:
        """Where de-quantised and pruned models are kept."""
        return self.cache or self.home / "cache"
