"""Run a Python program that a model wrote. Start from `Sandbox`.

No network, no files but the interpreter's (read-only) and an own scratch folder, no environment,
no view of other processes, and limits on time, memory, processes, files and output.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from distill_studio.core.errors import InvalidInput
from distill_studio.sandbox.isolation import isolation
from distill_studio.sandbox.launch import launch
from distill_studio.sandbox.limits import Limits, NoIsolation, SandboxResult


class Sandbox:
    """Runs programs under the same limits; any number of threads may use one.

    Args:
        limits: The most that one run may use.
        hidden: Folders that must not be seen even if they lie below the interpreter's or /usr.
    """

    def __init__(self, limits: Limits | None = None, hidden: Sequence[Path] = ()) -> None:
        self.limits = limits or Limits()
        self.hidden = tuple(hidden)

    def run(
        self,
        code: str,
        files: Mapping[str, str] | None = None,
        stdin: str = "",
        arguments: Sequence[str] = (),
    ) -> SandboxResult:
        """Run `code` as `main.py` in the scratch folder and wait for its end.

        Args:
            code: Python source.
            files: Further files of the scratch folder by their relative names.
            stdin: What the program reads from its standard input.
            arguments: Its command line.

        Raises:
            NoIsolation: This machine cannot run foreign code safely; it is not run.
            SandboxBroken: Setting up failed this time; it is not run.
            InvalidInput: A file name that leaves the scratch folder.
        """
        found = isolation()
        if found.kind is None:
            raise NoIsolation(
                f"This machine cannot run a model's code safely: {found.detail}.",
                "Nothing was run. Allow unprivileged user namespaces or install bubblewrap, or use"
                " a recipe that runs no code.",
            )
        everything = {**(files or {}), "main.py": code}
        for name in everything:
            _check_name(name)
        return launch(found.kind, self.limits, everything, stdin, arguments, self.hidden)


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
        raise InvalidInput(
            f"{name!r} is no file name inside the scratch folder.",
            "Use relative names without `..`.",
        )
