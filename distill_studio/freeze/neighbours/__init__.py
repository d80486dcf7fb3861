"""Snapshots for the training tools next door: rows in their form and a configuration that runs.

Each tool is a module with `to_row`, `problem` and `files`, named in `NEIGHBOURS`. What each takes
was read off its own code at the version that its module names; tests hold the rows and files
against those rules.
"""

from collections.abc import Callable
from dataclasses import dataclass

from distill_studio.freeze.neighbours import axolotl, llama_factory, unsloth
from distill_studio.freeze.neighbours.settings import Bundle, Row


@dataclass(frozen=True)
class Neighbour:
    """One tool."""

    label: str  # as it writes itself
    version: str  # that its form was read off
    home: str  # where it says how to install it
    command: str  # that trains, in the folder
    result: str  # where what was trained lies
    to_row: Callable[[Row], Row]  # from a snapshot's row
    problem: Callable[[Row], str]  # why it would not take a row; '' when it does
    files: Callable[[Bundle], dict[str, str]]  # beside the rows, by name


NEIGHBOURS: dict[str, Neighbour] = {
    "llama_factory": Neighbour(
        label="LLaMA-Factory",
        version="0.9.6.dev0",
        home="https://github.com/hiyouga/LLaMA-Factory",
        command=f"llamafactory-cli train {llama_factory.CONFIG}",
        result="outputs",
        to_row=llama_factory.to_row,
        problem=llama_factory.problem,
        files=llama_factory.files,
    ),
    "axolotl": Neighbour(
        label="Axolotl",
        version="0.18.0",
        home="https://docs.axolotl.ai/docs/installation.html",
        command=f"AXOLOTL_DO_NOT_TRACK=1 axolotl train {axolotl.CONFIG}",
        result="outputs",
        to_row=axolotl.to_row,
        problem=axolotl.problem,
        files=axolotl.files,
    ),
    "unsloth": Neighbour(
        label="Unsloth",
        version="2026.8.19",
        home="https://unsloth.ai/docs/get-started/install",
        command=f"python {unsloth.SCRIPT}",
        result="outputs/adapter",
        to_row=unsloth.to_row,
        problem=unsloth.problem,
        files=unsloth.files,
    ),
}
