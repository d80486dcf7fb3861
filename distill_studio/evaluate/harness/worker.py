"""The child process of a public benchmark: lm-evaluation-harness, run as `run.json` says.

    .venv-lm-eval/bin/python -I worker.py FOLDER

It runs with the harness's own Python and imports nothing of the app but one file that needs
nothing else, `core/reach.py`. It reads FOLDER/run.json
(`HarnessRun` in `command.py`), appends what happens to events.jsonl, keeps answers in answers*.db
so that a run that was stopped goes on with what is missing, and ends with results.json. A key, if
there is one, comes by the environment. Code from the Hub or from task files never runs.
"""

import difflib
import hashlib
import importlib.util
import json
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

_EVERY_S = 0.5
_BOOTSTRAPS = 1000  # for metrics without a formula; the error of the standard error is about 2%
_SHORT = 3  # characters; no key, and a word of what is printed
_LONGEST = 400  # characters of an error that is not ours
_PACKAGES = ("lm_eval", "transformers", "torch", "datasets", "peft", "tokenizers")
_WEIGHTS = ("*.safetensors", "*.bin", "config.json", "adapter_config.json")
_GENERATED = "generate_until"
_REACH = Path(__file__).resolve().parents[2] / "core" / "reach.py"
_CODE = "Use a suite scored by unit tests instead: it runs code in the sandbox."


class Refused(Exception):
    """What cannot be done, and the way out."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint


class Events:
    """Appends to events.jsonl; the app reads on from where it was."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, kind: str, **fields: object) -> None:
        """One line, never with the key in it."""
        line = json.dumps({"kind": kind, **fields}, ensure_ascii=False)
        key = os.environ.get("OPENAI_API_KEY", "")
        with self._path.open("a", encoding="utf-8") as file:
            file.write((line.replace(key, "***") if len(key) > _SHORT else line) + "\n")


class Masked:
    """An output that never says the key: the harness prints errors with the headers it sent."""

    def __init__(self, stream: TextIO, key: str) -> None:
        self._stream, self._key = stream, key

    def write(self, text: str) -> int:
        """What is written, `***` in place of the key."""
        return self._stream.write(text.replace(self._key, "***"))

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (the stream's)
        return getattr(self._stream, name)


def main(folder: Path) -> int:
    """Run to the end; 0 when results.json is written."""
    if len(key := os.environ.get("OPENAI_API_KEY", "")) > _SHORT:
        sys.stdout, sys.stderr = Masked(sys.stdout, key), Masked(sys.stderr, key)
    events = Events(folder / "events.jsonl")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    try:
        events.write("note", message="Loading lm-evaluation-harness.")
        if run["is_guarded"]:
            stay_outside(run["allow_hosts"], run["own_ports"])
        close_doors()
        report_progress(events)
        found = evaluate(run, folder, events)
        draft = folder / "results.json.part"
        draft.write_text(json.dumps(found, ensure_ascii=False, default=str), encoding="utf-8")
        draft.replace(folder / "results.json")
    except Refused as err:
        events.write("failed", message=err.message, hint=err.hint)
        return 1
    except Exception as err:  # the edge: the app hears of everything
        traceback.print_exc()
        message = f"{type(err).__name__}: {str(err) or 'no more is known'}"
        events.write("failed", message=message[:_LONGEST], hint="Its log says more.")
        return 1
    events.write("done")
    return 0


def evaluate(run: Mapping[str, Any], folder: Path, events: Events) -> dict[str, Any]:
    """Tasks first (they fail soonest), then the model, then all requests."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    class Once(TaskManager):  # type: ignore[misc]
        """Loads its tasks a single time: they are looked at before the harness takes them."""

        kept: Any = None

        def load(self, task_list: Any) -> Any:  # noqa: ANN401
            if self.kept is None:
                self.kept = super().load(task_list)
            return self.kept

    manager = Once(include_path=run["own_tasks"] or None)
    check_names(run["tasks"], manager.all_tasks)
    events.write("note", message="Loading the tasks and their data sets.")
    loaded = manager.load(list(run["tasks"]))
    check_tasks(loaded["tasks"], run["backend"])
    events.write("note", message="Loading the model.")
    began = time.monotonic()
    found = simple_evaluate(
        model=run["backend"],
        model_args=dict(run["model_args"]),
        tasks=list(run["tasks"]),
        task_manager=manager,
        num_fewshot=run["shots"],
        limit=run["limit"] or None,
        batch_size=run["batch_size"],
        device=run["device"],
        use_cache=str(folder / "answers"),
        apply_chat_template=run["chat_template"],
        fewshot_as_multiturn=run["chat_template"],
        bootstrap_iters=_BOOTSTRAPS,
        random_seed=run["seed"],
        numpy_random_seed=run["seed"],
        torch_random_seed=run["seed"],
        fewshot_random_seed=run["seed"],
        confirm_run_unsafe_code=False,
    )
    kept = ("results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better")
    config = found.get("config", {})
    return {
        **{name: found.get(name, {}) for name in (*kept, "n-samples")},
        "fingerprints": {name: fingerprint(of) for name, of in found["samples"].items()},
        "packages": {name: _version(name) for name in _PACKAGES},
        "model": {
            "sha256": weights_hash(run["weights"]),
            "parameters": config.get("model_num_parameters"),
            "dtype": str(config.get("model_dtype") or "").removeprefix("torch."),
        },
        "seconds": time.monotonic() - began,
    }


def check_names(names: Sequence[str], known: Sequence[str]) -> None:
    """Raises Refused for a name that is no task."""
    for name in names:
        if name not in known:
            near = ", ".join(difflib.get_close_matches(name, known, n=3))
            raise Refused(
                f"lm-evaluation-harness knows no task '{name}'.",
                f"Did you mean {near}?" if near else "Add a task file of your own of that name.",
            )


def check_tasks(tasks: Mapping[str, Any], backend: str) -> None:
    """Raises Refused for tasks that run code, or that need what the model does not tell."""
    for name, task in tasks.items():
        if getattr(task, "UNSAFE_CODE", False) or getattr(task.config, "unsafe_code", False):
            raise Refused(f"{name} runs code that models write, outside the sandbox.", _CODE)
        if backend == "local-chat-completions" and task.OUTPUT_TYPE != _GENERATED:
            raise Refused(
                f"{name} weighs how likely given answers are, and a chat server does not tell.",
                "Choose tasks that are answered in text (gsm8k, ifeval), reach the model by"
                " completions, or take a model of this machine.",
            )


def close_doors() -> None:
    """No code from the Hub, no templates that reach Python, data sets that say what they miss."""
    import datasets
    import evaluate as metrics
    import lm_eval.utils
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    def refuse_code(name: str, *_: object, **__: object) -> None:
        raise Refused(
            f"This task wants the code of '{name}' from the Hub, and that is not run.",
            _CODE if name == "code_eval" else "Choose another task.",
        )

    metrics.load = refuse_code
    safe = SandboxedEnvironment(
        loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True
    )
    safe.filters.update(lm_eval.utils.env.filters)
    lm_eval.utils.env = safe
    datasets.load_dataset = _naming_what_is_missing(datasets.load_dataset)


def stay_outside(allow_hosts: Sequence[str], own_ports: Sequence[int]) -> None:
    """From here on no socket connects to a private address, whichever library opens it.

    Args:
        allow_hosts: Names, addresses and networks that may be reached all the same.
        own_ports: Of this machine's servers that the app started.
    """
    spec = importlib.util.spec_from_file_location("reach", _REACH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    ports = set(own_ports)
    reach = module.Reach(is_open=False, allowed=tuple(allow_hosts), own_ports=lambda: ports)
    resolve = socket.getaddrinfo
    trusted: set[tuple[Any, ...]] = set()

    def getaddrinfo(host: Any, port: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401
        found = resolve(host, port, *rest, **options)
        name = host.decode() if isinstance(host, bytes) else host
        if name and reach.trusts(name, found[0][4][1]):
            trusted.update(each[4][:2] for each in found)
        return found

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6):
            host, port = args[1][:2]
            if (host, port) not in trusted:
                reach.check(str(host), str(host), port)

    socket.getaddrinfo = getaddrinfo
    sys.addaudithook(hook)


def _naming_what_is_missing(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:  # noqa: ANN401
        try:
            return load(path, name, **options)
        except Exception as err:
            traceback.print_exc()
            which = f"{path} ({name})" if name else path
            if "/" not in path and options.get("data_files"):
                raise Refused(
                    f"The rows in {options['data_files']} cannot be read: {_brief(err)}",
                    "Check the data file and the names of its columns.",
                ) from err
            hint = "Connect to the Hub once; it is kept then."
            if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
                hint = "HF_HUB_OFFLINE is set, so no download is tried: unset it once."
            raise Refused(
                f"The data set {which} is not on this machine and could not be downloaded:"
                f" {_brief(err)}",
                f"{hint} A gated one needs its terms accepted and HF_TOKEN.",
            ) from err

    return load_dataset


def _brief(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:200]


def report_progress(events: Events) -> None:
    """Every progress bar of the harness is an event as well, twice a second at most."""
    from tqdm import std

    plain = std.tqdm.update
    last = 0.0

    def update(bar: Any, n: float | None = 1) -> Any:  # noqa: ANN401
        nonlocal last
        shown = plain(bar, n)
        now = time.monotonic()
        if bar.total and (now - last >= _EVERY_S or bar.n >= bar.total):
            last = now
            what = (getattr(bar, "desc", "") or "").strip(": ")  # a disabled bar has none
            events.write("progress", done=int(bar.n), total=int(bar.total), message=what)
        return shown

    std.tqdm.update = update


def fingerprint(samples: Sequence[Mapping[str, Any]]) -> str:
    """The same questions with the same right answers, the same 64 hex digits."""
    asked = sorted({(s["doc_id"], s["doc_hash"], s["target_hash"]) for s in samples})
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def weights_hash(folders: Sequence[str]) -> str:
    """SHA-256 over the names and contents of a model's configuration and weights; '' for none."""
    paths = [p for folder in folders for mark in _WEIGHTS for p in Path(folder).glob(mark)]
    whole = hashlib.sha256()
    for path in sorted(paths):
        whole.update(path.name.encode())
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest() if paths else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
