"""Make a Hugging Face Space of this app, or bring one up to date. Start at `make_space`.

Doing it twice changes nothing the second time. Secrets, variables and the volume are set before the
files go up, so that the first start has them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, StudioError, Unavailable
from distill_studio.services import space_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi, Volume
    from huggingface_hub.errors import HfHubHTTPError

BACKUP, OWNERS = "DISTILL_STUDIO_BACKUP", "DISTILL_STUDIO_OWNERS"
DATASET_SCHEME = "hf://datasets/"
MOUNT = "/data"
_RIGHTS = "It needs a token that may write there: hf auth login, or HF_TOKEN."


@dataclass(frozen=True)
class SpacePlan:
    """What is wanted.

    Attributes:
        repo_id: `user/name`.
        is_public: Whether strangers may see it; private by default.
        hardware: cpu-basic, zero-a10g, t4-small and so on.
        sleep_s: Seconds without visitors until paid hardware sleeps; None leaves it.
        secrets: Name -> value; never shown.
        variables: Name -> value; anybody who sees the Space sees them.
        bucket: A storage bucket `user/name`, mounted at /data; '' for none.
    """

    repo_id: str
    is_public: bool = False
    hardware: str = "cpu-basic"
    sleep_s: int | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    variables: Mapping[str, str] = field(default_factory=dict)
    bucket: str = ""

    @property
    def backup_dataset(self) -> str:
        """The dataset repository that backups go to; '' for none."""
        target = self.variables.get(BACKUP, "")
        return target.removeprefix(DATASET_SCHEME) if target.startswith(DATASET_SCHEME) else ""


@dataclass
class SpaceReport:
    """What was done, a line each, and where the Space is."""

    url: str
    is_dry_run: bool
    done: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_plan(plan: SpacePlan) -> None:
    """Refuse what cannot work before anything is made.

    Raises:
        InvalidInput: Says what is missing.
    """
    owner, slash, name = plan.repo_id.partition("/")
    if not (owner and slash and name) or "/" in name:
        raise InvalidInput(f"'{plan.repo_id}' is no Space.", "Give user/name.")
    both = set(plan.secrets) & set(plan.variables)
    if both:
        raise InvalidInput(f"{min(both)} is given as a secret and as a variable.", "Choose one.")
    open_ones = [n for n in plan.variables if n.endswith(("PASSWORD", "TOKEN", "KEY", "SECRET"))]
    if open_ones:
        raise InvalidInput(
            f"{open_ones[0]} as a variable would be seen by everybody who sees the Space.",
            "Give it with --secret.",
        )
    if plan.backup_dataset and "HF_TOKEN" not in plan.secrets:
        raise InvalidInput(
            "Backups to a dataset need a token that may write to it.",
            "Name the variable that holds one: --hf-token-from HF_TOKEN.",
        )


def make_space(
    plan: SpacePlan, api: "HfApi", *, root: Path = space_files.ROOT, is_dry_run: bool = False
) -> SpaceReport:
    """Make the Space, or bring it up to date.

    Args:
        plan: What is wanted.
        api: A client with a token that may write there.
        root: This repository.
        is_dry_run: Only look and say what would be done.

    Raises:
        InvalidInput: The plan cannot work.
        Conflict: A Space of that name exists and is something else.
        NotAllowed: The token may not do this.
        Unavailable: The Hub cannot be reached, or wants a payment method.
    """
    # The Hub's client loads only where a Space is made.
    import httpx2  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        HfHubHTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
    )

    check_plan(plan)
    try:
        return _Maker(plan, api, root, is_dry_run).make()
    except LocalTokenNotFoundError as err:
        raise NotAllowed("You are not logged in to the Hub.", _RIGHTS) from err
    except HfHubHTTPError as err:
        raise _told(err, plan) from err
    except OfflineModeIsEnabled as err:
        raise Unavailable("HF_HUB_OFFLINE is set, so the Hub is not asked.", "Unset it.") from err
    except httpx2.TransportError as err:
        raise Unavailable(
            f"The Hub at {api.endpoint} cannot be reached: {err}",
            "Check the network and do it again; it goes on from there.",
        ) from err


class _Maker:
    """One run over a plan."""

    def __init__(self, plan: SpacePlan, api: "HfApi", root: Path, is_dry_run: bool) -> None:
        self.plan, self.api, self.root = plan, api, root
        url = f"{api.endpoint}/spaces/{plan.repo_id}"
        self.report = SpaceReport(url=url, is_dry_run=is_dry_run)
        self._exists = False

    def make(self) -> SpaceReport:
        """All steps in their order."""
        person = self.api.whoami()["name"]
        self._repository()
        self._backup_dataset()
        self._variables({OWNERS: person} | dict(self.plan.variables))
        self._secrets()
        self._volume()
        self._files()
        self._hardware()
        return self.report

    # -- steps ----------------------------------------------------------------------------

    def _repository(self) -> None:
        from huggingface_hub.errors import RepositoryNotFoundError  # noqa: PLC0415

        repo_id = self.plan.repo_id
        visibility: Literal["public", "private"] = "public" if self.plan.is_public else "private"
        try:
            info = self.api.space_info(repo_id)
        except RepositoryNotFoundError:
            self._do(
                f"Make the {visibility} Space {repo_id}",
                lambda: self.api.create_repo(
                    repo_id, repo_type="space", space_sdk="gradio", visibility=visibility
                ),
            )
            return
        self._exists = True
        if info.sdk not in (None, "gradio"):
            raise Conflict(
                f"{repo_id} exists and is a Space of another kind ({info.sdk}).",
                "Choose another name.",
            )
        self.report.unchanged.append(f"The Space {repo_id} is there")
        if info.private == self.plan.is_public:
            now = "private" if info.private else "public"
            self.report.notes.append(f"It is {now} and stays so: its settings page changes that.")

    def _backup_dataset(self) -> None:
        repo_id = self.plan.backup_dataset
        if not repo_id:
            return
        if self.api.repo_exists(repo_id, repo_type="dataset"):
            if not self.api.dataset_info(repo_id).private:
                raise Conflict(
                    f"The dataset {repo_id} is public, and backups hold everything.",
                    "Make it private, or name another.",
                )
            self.report.unchanged.append(f"The dataset {repo_id} is there")
            return
        self._do(
            f"Make the private dataset {repo_id} for backups",
            lambda: self.api.create_repo(
                repo_id, repo_type="dataset", visibility="private", exist_ok=True
            ),
        )

    def _variables(self, wanted: Mapping[str, str]) -> None:
        there = self.api.get_space_variables(self.plan.repo_id) if self._exists else {}
        now = {name: variable.value for name, variable in there.items()}
        if OWNERS in now and OWNERS not in self.plan.variables:
            wanted = {name: value for name, value in wanted.items() if name != OWNERS}
        for name, value in wanted.items():
            if now.get(name) == value:
                self.report.unchanged.append(f"{name} is {value}")
                continue
            self._do(
                f"Set the variable {name} to {value}",
                partial(self.api.add_space_variable, self.plan.repo_id, name, value),
            )

    def _secrets(self) -> None:
        for name, value in self.plan.secrets.items():  # they cannot be read, so they are set anew
            self._do(
                f"Set the secret {name}",
                partial(self.api.add_space_secret, self.plan.repo_id, name, value),
            )

    def _volume(self) -> None:
        if not self.plan.bucket:
            return
        volumes = self._runtime("volumes") or []
        if any(v.mount_path == MOUNT and v.source == self.plan.bucket for v in volumes):
            self.report.unchanged.append(f"{self.plan.bucket} is mounted at {MOUNT}")
            return
        others = [volume for volume in volumes if volume.mount_path != MOUNT]
        self._do(
            f"Mount the bucket {self.plan.bucket} at {MOUNT}",
            lambda: self.api.set_space_volumes(self.plan.repo_id, [*others, self._bucket()]),
        )

    def _files(self) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete  # noqa: PLC0415

        files = space_files.files(self.root)
        there = (
            self.api.list_repo_files(self.plan.repo_id, repo_type="space") if self._exists else []
        )
        gone = [name for name in there if space_files.is_ours(name) and name not in files]
        what = f"Upload {len(files)} files" + (f", delete {len(gone)}" if gone else "")
        if self.report.is_dry_run:
            self.report.done.append(what)
            return
        before = self.api.space_info(self.plan.repo_id).sha
        operations: list[Any] = [CommitOperationDelete(path_in_repo=name) for name in gone]
        operations += [CommitOperationAdd(name, path) for name, path in files.items()]
        self.api.create_commit(
            self.plan.repo_id, operations, repo_type="space", commit_message="Distill Studio"
        )
        if self.api.space_info(self.plan.repo_id).sha == before:
            self.report.unchanged.append(f"{len(files)} files are as they were")
        else:
            self.report.done.append(what)

    def _hardware(self) -> None:
        wanted = self.plan.hardware
        now = (self._runtime("requested_hardware") or self._runtime("hardware")) or "cpu-basic"
        if str(getattr(now, "value", now)) == wanted:
            self.report.unchanged.append(f"The hardware is {wanted}")
            if self.plan.sleep_s is None or self._runtime("sleep_time") == self.plan.sleep_s:
                return
        self._do(
            f"Ask for the hardware {wanted}",
            lambda: self.api.request_space_hardware(
                self.plan.repo_id,
                wanted,  # type: ignore[arg-type]
                sleep_time=self.plan.sleep_s,
            ),
        )

    # -- inside ---------------------------------------------------------------------------

    def _do(self, what: str, action: Callable[[], object]) -> None:
        if not self.report.is_dry_run:
            action()
        self.report.done.append(what)

    def _runtime(self, name: str) -> Any:  # noqa: ANN401  (a field of SpaceRuntime)
        if self.report.is_dry_run and not self._exists:
            return None
        return getattr(self.api.get_space_runtime(self.plan.repo_id), name, None)

    def _bucket(self) -> "Volume":
        from huggingface_hub import Volume  # noqa: PLC0415

        return Volume(type="bucket", source=self.plan.bucket, mount_path=MOUNT)


def value_from(variable: str) -> str:
    """What an environment variable of this machine holds: a secret never stands on a command line.

    Raises:
        InvalidInput: It is empty.
    """
    value = os.environ.get(variable, "")
    if not value:
        raise InvalidInput(f"The variable {variable} is empty.", "Set it, then try again.")
    return value


def _told(err: "HfHubHTTPError", plan: SpacePlan) -> StudioError:
    status = err.response.status_code
    said = err.server_message or str(err).splitlines()[0]
    if status == 401:
        return NotAllowed("The Hub does not take your token.", _RIGHTS)
    if status == 402:
        return Unavailable(
            f"The Hub wants a payment method or a subscription: {said}",
            f"See to it on {err.response.url.scheme}://{err.response.url.host}/settings/billing, or"
            " choose other hardware; then do this again.",
        )
    if status == 403:
        return NotAllowed(f"You may not change {plan.repo_id}: {said}", _RIGHTS)
    return Unavailable(f"The Hub answered {status}: {said}", "Do it again; it goes on from there.")
