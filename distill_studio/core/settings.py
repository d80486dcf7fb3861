"""Settings from the environment (prefix `DISTILL_STUDIO_`), built once in `bootstrap.py`."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from distill_studio.core.reach import HUB_NAMES, Reach, checked_entries

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
    port: int = Field(
        default_factory=lambda: (
            int(os.environ.get("GRADIO_SERVER_PORT") or 7860) if "SPACE_ID" in os.environ else 7860
        ),
        ge=0,
        le=65535,
        description="Port; 0 picks a free one.",
    )
    password: SecretStr | None = Field(
        default=None, description="Asked for at log-in; needed on any host but loopback."
    )
    user: str = Field(default="owner", description="Your name on this machine (no password set).")
    owners: str = Field(
        default="",
        description="Who may come in as owner of those whom Hugging Face or the proxy vouches for:"
        " names and org:names, with commas.",
    )
    reviewers: str = Field(default="", description="The same for reviewers.")
    viewers: str = Field(default="", description="The same for viewers.")
    contact: str = Field(
        default="", description="Whom somebody may ask who is signed in and not on the list."
    )
    proxy_header: str = Field(
        default="", description="Header in which a proxy names the person it has let through."
    )
    proxy_groups_header: str = Field(
        default="", description="Header in which it names their groups, with commas."
    )
    proxy_addresses: str = Field(
        default="", description="Addresses or networks (CIDR) of that proxy, with commas."
    )
    workspace: str = Field(default="main", description="Workspace opened first.")
    max_upload_mib: int = Field(default=512, ge=1, description="Largest file taken by upload.")
    cache: Path | None = Field(
        default=None, description="Where models made here are kept; default <home>/cache."
    )
    store_memory_mib: int | None = Field(
        default=None,
        ge=64,
        description="What a workspace's database may hold in memory, beyond which it works on"
        " disk; default a twentieth of the machine's, 1 to 8 GiB.",
    )
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    vllm_python: Path | None = Field(
        default=None, description="Python that has vLLM; default .venv-vllm, made by make vllm."
    )

    lm_eval_python: Path | None = Field(
        default=None,
        description="Python that has lm-evaluation-harness; default .venv-lm-eval, made by make"
        " lm-eval.",
    )

    backup: str = Field(
        default="",
        description="Where people's decisions and the whole workspace are backed up:"
        " hf://datasets/user/name (a private dataset repository), or a folder.",
    )
    backup_every_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds between two backups of decisions; default 3 in a folder, 25 on the"
        " Hub, which counts commits.",
    )
    backup_whole_every_s: float = Field(
        default=300.0, gt=0, description="Seconds between two backups of the whole workspace."
    )
    backup_model_mib: int = Field(
        default=1024, ge=0, description="Largest model of a run that is backed up."
    )

    allow_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Private hosts, addresses or networks that teachers' URLs may reach where the"
        " app is not on loopback; separated by commas, * for all.",
    )

    @field_validator("allow_hosts", mode="before")
    @classmethod
    def _entries(cls, value: object) -> object:
        return checked_entries(value) if isinstance(value, str) else value

    @property
    def reach(self) -> Reach:
        """What users' URLs may reach: everything on one's own machine, else the internet."""
        hub = HUB_NAMES if "SPACE_ID" in os.environ else ()
        is_open = self.is_loopback and not self.allow_hosts
        return Reach(is_open=is_open, allowed=(*self.allow_hosts, *hub))

    @property
    def is_loopback(self) -> bool:
        """True when only this machine can reach the app. A Space never counts as loopback."""
        return self.host in LOOPBACK_HOSTS and "SPACE_ID" not in os.environ

    @property
    def is_space(self) -> bool:
        """True on a Hugging Face Space."""
        return "SPACE_ID" in os.environ

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
