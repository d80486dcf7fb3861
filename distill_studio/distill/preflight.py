"""Before a training: what cannot work, what will surprise, what it takes. Torch-free.

Start from `check(config, ...)`, then `refuse(report)`.
"""

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

from distill_studio.core.errors import InvalidInput, StudioError
from distill_studio.distill.alignment_checks import alignment_findings
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import (
    FORMATS_OF_METHOD,
    METHOD_LABELS,
    OnPolicyRun,
    RunConfig,
)
from distill_studio.distill.data import (
    MASKED,
    Row,
    count_rows,
    cut,
    encode_preference,
    encode_prompt,
    iter_rows,
)
from distill_studio.distill.estimate import (
    Estimate,
    estimate,
    model_facts,
)
from distill_studio.distill.findings import Finding
from distill_studio.distill.labels import label_findings
from distill_studio.distill.machine_checks import machine_findings
from distill_studio.distill.packing import packing_findings
from distill_studio.distill.preference_checks import preference_findings
from distill_studio.distill.reasoning import encode_answer, reasoning_findings
from distill_studio.distill.rows import TolerantReader
from distill_studio.distill.student_checks import student_findings
from distill_studio.distill.teacher_checks import store_findings, teacher_findings
from distill_studio.distill.trackers import tracker_findings

LOOKED_AT = 1000  # rows that pre-flight tokenises; it says so when there are more


@dataclass(frozen=True)
class RowShape:
    """Lengths of one row."""

    tokens: int
    learned: int  # after cutting
    cost: int  # tokens the model reads, after cutting
    ends: bool  # its end-of-turn token is learned


@dataclass(frozen=True)
class Report:
    """Findings, and the estimate when there is one."""

    findings: list[Finding]
    estimate: Estimate | None

    @property
    def is_ok(self) -> bool:
        """True when nothing refuses."""
        return not any(f.level == "error" for f in self.findings)


def check(
    config: RunConfig,
    *,
    measured_tokens_per_s: float | None = None,
    memory_total_gib: float = 0.0,
    disk_folder: Path | None = None,
    runs_folder: Path | None = None,
    gpus: int | None = None,
) -> Report:
    """Look at a run before it starts.

    Args:
        config: The run.
        measured_tokens_per_s: Speed of an earlier run of a model of this size.
        memory_total_gib: Of this machine; 0 = unknown.
        disk_folder: Where the run will write; None skips the disk check.
        runs_folder: Where students of earlier runs lie; None: they are known by `run:` alone.
        gpus: NVIDIA GPUs it may use; None where it will train on another machine.
    """
    findings = _format_findings(config) + machine_findings(config, gpus)
    findings += tracker_findings(config, is_elsewhere=gpus is None)
    train, held_out = _counts(config)
    findings += _split_findings(train, held_out)
    folder = Path(config.student.base_folder)
    facts = model_facts(folder)
    findings += student_findings(config, facts)
    tokenizer = ChatTokenizer.load(folder)
    if not tokenizer.has_template:
        findings.append(_no_template())
    found, teacher = teacher_findings(config, runs_folder)
    findings += found + label_findings(config) + preference_findings(config)
    if any(f.level == "error" for f in findings):
        return Report(findings, None)
    reader = TolerantReader(functools.partial(row_shape, tokenizer, config))
    try:
        found_rows = list(reader.all_of(iter_rows(Path(config.data.folder), "train", LOOKED_AT)))
        if reader.first is not None and not found_rows:
            raise reader.first.error
    except StudioError as err:
        findings.append(
            Finding(level="error", code="unreadable", message=err.user_message, hint=err.hint)
        )
        return Report(findings, None)
    readable, shapes = [row for row, _ in found_rows], [shape for _, shape in found_rows]
    findings += _refused_findings(reader, "rows looked at")
    if held_out:
        findings += _held_out_findings(tokenizer, config)
    findings += reasoning_findings(tokenizer, config, readable)
    findings += length_findings(config, shapes, train)
    findings += alignment_findings(config, tokenizer, readable)
    usable = [s for s in shapes if is_usable(config, s)]
    if not usable or any(f.level == "error" for f in findings):
        return Report(findings, None)
    facts = model_facts(folder, config.student)
    findings += packing_findings(config, [s.cost for s in usable], facts.hidden)
    if any(f.level == "error" for f in findings):
        return Report(findings, None)
    rows = round(train * len(usable) / reader.seen)
    learned = sum(s.learned for s in usable) / len(usable) * rows
    took = estimate(
        config,
        facts,
        rows,
        sum(s.cost for s in usable) / len(usable),
        measured_tokens_per_s,
        teacher,
        learned,
    )
    findings += _resource_findings(took, memory_total_gib, disk_folder)
    findings += store_findings(config, learned, teacher)
    findings.append(_estimate_finding(took, rows))
    return Report(findings, took)


def is_usable(config: RunConfig, shape: RowShape) -> bool:
    """True when a row takes part in the training."""
    return shape.learned > 0 and (not leaves_out(config) or shape.tokens <= config.max_length)


def leaves_out(config: RunConfig) -> bool:
    """True when a row over the longest length is left out; a prompt is never cut."""
    return config.over_length == "drop" or config.method == "on_policy"


def row_shape(tokenizer: ChatTokenizer, config: RunConfig, row: Row) -> RowShape:
    """Lengths of a row for this run."""
    limit = config.max_length
    if config.method == "dpo":
        pair = encode_preference(tokenizer, row)
        prompt = len(pair.prompt_ids)
        sides = [min(prompt + len(ids), limit) for ids in (pair.chosen_ids, pair.rejected_ids)]
        learned = min(max(0, side - prompt) for side in sides)
        ends = tokenizer.is_special(pair.chosen_ids[-1]) if pair.chosen_ids else False
        return RowShape(pair.length, learned, sum(sides), ends)
    if isinstance(config, OnPolicyRun):
        prompt = len(encode_prompt(tokenizer, row))
        tokens = prompt + config.answer_tokens if prompt else 0
        return RowShape(tokens, config.answer_tokens if prompt else 0, tokens, True)
    encoded = encode_answer(tokenizer, config, row)
    short = cut(encoded, limit)
    last = encoded.labels[-1] if encoded.labels else MASKED
    ends = last != MASKED and tokenizer.is_special(last)
    return RowShape(len(encoded.input_ids), short.learned, len(short.input_ids), ends)


def length_findings(config: RunConfig, shapes: list[RowShape], train: int) -> list[Finding]:
    """What the lengths of the rows mean for this run."""
    what = "pairs" if config.method == "dpo" else "rows"
    looked = "" if len(shapes) >= train else f" (of the first {len(shapes)} looked at)"
    over = sum(s.tokens > config.max_length for s in shapes)
    nothing = sum(s.learned == 0 for s in shapes)
    longest = max(s.tokens for s in shapes)
    longer = f"Raise the longest length; the longest has {longest} tokens."
    if over == len(shapes):
        message = f"All {train} {what} are longer than {config.max_length} tokens{looked}."
        return [Finding(level="error", code="all_over_length", message=message, hint=longer)]
    if nothing == len(shapes):
        message = f"None of the {train} {what} has anything to learn{looked}."
        hint = "Each row needs an answer by the assistant within the longest length."
        return [Finding(level="error", code="nothing_to_learn", message=message, hint=hint)]
    findings = []
    if over:
        fate = "they are left out" if leaves_out(config) else "their ends are cut off"
        message = f"{over} of {len(shapes)} {what} are longer than {config.max_length} tokens"
        findings.append(
            Finding(
                level="warning",
                code="over_length",
                message=f"{message}: {fate}{looked}.",
                hint=longer,
            )
        )
    if nothing:
        findings.append(
            Finding(
                level="warning",
                code="some_nothing_to_learn",
                message=f"{nothing} {what} have nothing to learn and are left out{looked}.",
                hint="Their prompts fill the longest length, or they have no answer.",
            )
        )
    if not any(s.ends for s in shapes):
        findings.append(
            Finding(
                level="warning",
                code="no_end_of_turn",
                message="No answer ends with a token of its own: the student may not stop.",
                hint="Choose a student whose chat template ends each turn with a special token.",
            )
        )
    return findings


def _format_findings(config: RunConfig) -> list[Finding]:
    wanted = FORMATS_OF_METHOD[config.method]
    if config.data.format in wanted:
        return []
    other = next(m for m, formats in FORMATS_OF_METHOD.items() if config.data.format in formats)
    return [
        Finding(
            level="error",
            code="wrong_format",
            message=f"{METHOD_LABELS[config.method]} learns from {' or '.join(wanted)} rows; this"
            f" snapshot holds {config.data.format} rows.",
            hint=f"Choose {METHOD_LABELS[other]}, or freeze a snapshot in the right format.",
        )
    ]


def _counts(config: RunConfig) -> tuple[int, int]:
    folder = Path(config.data.folder)
    return count_rows(folder, "train"), count_rows(folder, "validation")


def _split_findings(train: int, held_out: int) -> list[Finding]:
    if not train:
        message = "The snapshot has no rows to train on."
        hint = "Accept some answers, then freeze again."
        return [Finding(level="error", code="no_rows", message=message, hint=hint)]
    if not held_out:
        return [
            Finding(
                level="warning",
                code="no_validation",
                message="The snapshot has no held-out rows: nothing will tell learning from"
                " learning by heart.",
                hint="Freeze again with a validation share of 5 to 10 %.",
            )
        ]
    return []


def _no_template() -> Finding:
    return Finding(
        level="error",
        code="no_template",
        message="The student has no chat template, so it is not certain what an answer is.",
        hint="Choose an instruct model.",
    )


def _refused_findings(reader: TolerantReader[RowShape], what: str) -> list[Finding]:
    if reader.first is None:
        return []
    first = reader.first
    return [
        Finding(
            level="warning",
            code="refused_rows",
            message=f"{reader.refused} of the {reader.seen:,} {what} are left out; the first is"
            f" row {first.number + 1}: {first.error.user_message}",
            hint=first.error.hint,
        )
    ]


def _held_out_findings(tokenizer: ChatTokenizer, config: RunConfig) -> list[Finding]:
    """Held-out rows are read as those that train: what is refused is left out there, too."""
    reader = TolerantReader(functools.partial(row_shape, tokenizer, config))
    count = min(config.eval_rows, LOOKED_AT)
    for _ in reader.all_of(iter_rows(Path(config.data.folder), "validation", count)):
        pass
    return _refused_findings(reader, "held-out rows looked at")


def _resource_findings(
    took: Estimate, memory_total_gib: float, disk_folder: Path | None
) -> list[Finding]:
    findings = []
    if memory_total_gib and took.memory_gib > 0.9 * memory_total_gib:
        findings.append(
            Finding(
                level="warning",
                code="memory",
                message=f"It may need about {took.memory_gib:.1f} GiB of memory; this machine has"
                f" {memory_total_gib:.1f}.",
                hint="Lower the batch size or the longest length, or use LoRA.",
            )
        )
    if disk_folder is not None:
        free = shutil.disk_usage(disk_folder).free / 2**30
        if took.disk_gib > free:
            findings.append(
                Finding(
                    level="error",
                    code="disk",
                    message=f"It needs about {took.disk_gib:.1f} GiB of disk; {free:.1f} are free.",
                    hint="Delete old runs or free some space.",
                )
            )
    return findings


def _estimate_finding(took: Estimate, rows: int) -> Finding:
    basis = "from an earlier run here" if took.is_measured else "a guess for two CPU cores"
    return Finding(
        level="info",
        code="estimate",
        message=f"{took.steps} updates on {rows} rows: about {_duration(took.seconds)} ({basis}),"
        f" {took.memory_gib:.1f} GiB of memory, {took.disk_gib:.1f} GiB of disk.",
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def refuse(report: Report) -> None:
    """Raise the first error of a report.

    Raises:
        InvalidInput: The run cannot work.
    """
    for finding in report.findings:
        if finding.level == "error":
            raise InvalidInput(finding.message, finding.hint)
