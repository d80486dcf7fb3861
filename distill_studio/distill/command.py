"""The worker's argument list, as started and as shown. Torch-free."""

import shlex
import sys
from pathlib import Path

import distill_studio
from distill_studio.distill.config import load_config

CONFIG_FILE = "run.json"
LOG_FILE = "stdout.log"
PROCESS_FILE = "process.json"
LOCK_FILE = "worker.lock"  # held by the worker while it trains
# torchrun kills its workers so many seconds after a stop, 30 unless told. An update and its saving
# may take longer; how long is for the app to say, which kills what does not end.
SHUTDOWN_ENV = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "86400"}
WORKER = "distill_studio.distill.worker"
_LAUNCHER = "accelerate.commands.launch"
_PRESETS = Path(distill_studio.__file__).resolve().parents[1] / "assets" / "accelerate"


def worker_argv(run_folder: Path) -> list[str]:
    """The argument list that trains the run in `run_folder`. Holds no secrets."""
    file = run_folder / CONFIG_FILE
    config = load_config(file) if file.exists() else None
    if config is None or (config.devices == 1 and config.sharding == "none"):
        return [sys.executable, "-m", WORKER, str(file.resolve())]
    return launch_argv(run_folder, config.devices, config.sharding)


def launch_argv(
    run_folder: Path, devices: int, sharding: str = "none", hosts: int = 1
) -> list[str]:
    """The same on several devices, through accelerate; `HOST` and `RANK` stand for what differs.

    Args:
        run_folder: Of the run; on a file system that all hosts see.
        devices: Processes in all.
        sharding: none or fsdp; zero2 spreads gradients and optimiser states alone (DeepSpeed).
        hosts: Machines; the command is typed on each of them.
    """
    preset = "several.yaml" if sharding == "none" else f"{sharding}.yaml"
    where = ["--main_process_port", "0"]  # any that is free
    if hosts > 1:
        where = ["--num_machines", str(hosts), "--machine_rank", "RANK"]
        where += ["--main_process_ip", "HOST", "--main_process_port", "29500"]
    return [
        sys.executable,
        "-m",
        _LAUNCHER,
        "--config_file",
        str(_PRESETS / preset),
        "--num_processes",
        str(devices),
        *where,
        "-m",
        WORKER,
        str((run_folder / CONFIG_FILE).resolve()),
    ]


def working_folder() -> Path:
    """Where the worker starts, so that `-m distill_studio...` is found without installing."""
    return Path(distill_studio.__file__).resolve().parents[1]


def shell_command(run_folder: Path) -> str:
    """The same as a line for a POSIX shell."""
    return _line(worker_argv(run_folder))


def several_commands(run_folder: Path) -> str:
    """How the run is trained on more devices, as commented lines for a POSIX shell."""
    parts = [
        "# on 2 GPUs of this machine; each reads batch_size rows at once",
        _line(launch_argv(run_folder, 2)),
        "# the same, the student spread over them (FSDP)",
        _line(launch_argv(run_folder, 2, "fsdp")),
        "# whole students, gradients and optimiser states spread (ZeRO-2; pip install deepspeed)",
        _line(launch_argv(run_folder, 2, "zero2")),
        "# on 2 hosts of 8 GPUs that see the same folder: on each, RANK 0 or 1; HOST is the first",
        _line(launch_argv(run_folder, 16, "fsdp", hosts=2)),
    ]
    return "\n".join(parts)


def _line(argv: list[str]) -> str:
    env = [f"{name}={value}" for name, value in SHUTDOWN_ENV.items() if _LAUNCHER in argv]
    return f"cd {shlex.quote(str(working_folder()))} && {' '.join([*env, shlex.join(argv)])}"
