"""Pre-flight of logit distillation: whom it follows and what it stores. Torch-free."""

from pathlib import Path

from distill_studio.core.errors import StudioError
from distill_studio.distill.config import LogitRun, OnPolicyRun, RunConfig, TeacherRun
from distill_studio.distill.estimate import ModelFacts, store_bytes
from distill_studio.distill.findings import Finding
from distill_studio.distill.layer_pairs import chosen_pairs, pairs_text
from distill_studio.distill.pairing import Pairing, check_pairing
from distill_studio.distill.student_checks import feature_layer_findings
from distill_studio.distill.students import run_behind


def teacher_findings(
    config: RunConfig, runs_folder: Path | None = None
) -> tuple[list[Finding], ModelFacts | None]:
    """What the teacher of logit distillation means, and what it is.

    Args:
        config: The run.
        runs_folder: Where students of earlier runs lie, if that is known.
    """
    if not isinstance(config, TeacherRun):
        return [], None
    try:
        pairing = check_pairing(config)
    except StudioError as err:
        return [
            Finding(level="error", code="teacher", message=err.user_message, hint=err.hint)
        ], None
    findings = _ensemble_findings(pairing)
    if pairing.is_padded_unlike:
        padded = ", ".join(str(facts.vocab) for facts in pairing.facts)
        message = (
            f"The teacher's vocabulary is padded to {padded}, the student's to"
            f" {pairing.student.vocab}: the {pairing.width} ids that both use are compared."
        )
        findings.append(Finding(level="info", code="padded", message=message))
    try:
        if isinstance(config, LogitRun):
            findings += _feature_findings(config, pairing)
    except StudioError as err:
        return [
            Finding(level="error", code="layers", message=err.user_message, hint=err.hint)
        ], None
    folders = {teacher.folder for teacher in pairing.teachers}
    is_same = folders == {config.student.base_folder}
    if is_same and pairing.student.shape == pairing.teacher.shape:
        findings.append(
            Finding(
                level="warning",
                code="own_teacher",
                message="The teacher is the student itself: only the answers can be learned.",
                hint="Choose a better teacher, or prune the student.",
            )
        )
    if isinstance(config, OnPolicyRun):
        findings += _on_policy_findings(config, runs_folder)
    parameters = sum(facts.parameters for facts in pairing.facts)
    return findings, pairing.teacher.model_copy(update={"parameters": parameters})


def _ensemble_findings(pairing: Pairing) -> list[Finding]:
    """Who is mixed in which shares, and who is left with answers alone."""
    findings = []
    if len(pairing.teachers) > 1:
        shares = [
            f"{teacher.id} {100 * weight:.3g} %"
            for teacher, weight in zip(pairing.teachers, pairing.weights, strict=True)
        ]
        message = f"The student follows a mixture of probabilities: {', '.join(shares)}."
        findings.append(Finding(level="info", code="ensemble", message=message))
    for teacher, why in pairing.unlike:
        findings.append(
            Finding(
                level="warning",
                code="sequence_level",
                message=f"{teacher.id} teaches by its answers in the snapshot alone. {why}",
                hint="Its weight is shared out among the others. Let it write answers (Generate),"
                " and give alpha some weight.",
            )
        )
    return findings


def _on_policy_findings(config: OnPolicyRun, runs_folder: Path | None) -> list[Finding]:
    student = config.student
    if not student.is_pruned and run_behind(student.base_id, student.base_folder, runs_folder):
        return []
    return [
        Finding(
            level="warning",
            code="cold_start",
            message="The student has not learned any answers here yet: what it says by itself is"
            " what it will be taught on.",
            hint="Train it with SFT or logit distillation first, then choose that run as the"
            " student.",
        )
    ]


def _feature_findings(config: LogitRun, pairing: Pairing) -> list[Finding]:
    """Which layers follow which, and through what."""
    if config.features is None:
        return []
    ours, theirs = pairing.student, pairing.teacher
    unreachable = feature_layer_findings(config, ours, theirs)
    if unreachable:
        return unreachable
    pairs = chosen_pairs(config.features.pairs, ours.layers, theirs.layers)
    how = "cosine" if config.features.loss == "cosine" else "mean squared error"
    through = (
        f"through {len(pairs)} linear maps from {ours.hidden} to {theirs.hidden} dimensions that"
        " train with the student and are not saved into it"
        if ours.hidden != theirs.hidden
        else f"directly: both are {ours.hidden} wide"
    )
    message = (
        f"Hidden states (student:teacher layers of {ours.layers} and {theirs.layers}):"
        f" {pairs_text(pairs)}, by {how}, {through}."
    )
    return [Finding(level="info", code="layers", message=message)]


def store_findings(config: RunConfig, learned: float, teacher: ModelFacts | None) -> list[Finding]:
    """How large a stored teacher signal becomes."""
    if not isinstance(config, LogitRun) or config.signal != "cache" or teacher is None:
        return []
    size = store_bytes(config, learned, teacher.vocab)
    message = (
        f"The teacher reads the rows once; what it says of {learned:,.0f} learned tokens takes"
        f" up to {max(size / 2**20, 0.1):,.1f} MiB and serves later runs on the same rows."
    )
    return [Finding(level="info", code="store", message=message)]
