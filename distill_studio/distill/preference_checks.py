"""Pre-flight of DPO and KTO: the loss, what it is mixed with, the reference. Torch-free."""

from distill_studio.distill.config import DpoRun, KtoRun, RunConfig
from distill_studio.distill.findings import Finding


def preference_findings(config: RunConfig) -> list[Finding]:
    """What the choices of a preference run mean together."""
    if not isinstance(config, DpoRun | KtoRun):
        return []
    findings = []
    if config.lora is None and config.reference == "adapter_off":
        findings.append(
            Finding(
                level="error",
                code="reference",
                message="With full weights there is no adapter to switch off for the reference.",
                hint="Store the reference before the first update, or train a LoRA adapter.",
            )
        )
    if isinstance(config, DpoRun):
        findings += _loss_findings(config)
    return findings


def _loss_findings(config: DpoRun) -> list[Finding]:
    if config.loss == "robust" and config.label_smoothing == 0.0:
        message = "Robust DPO with no wrong preferences is plain DPO."
        hint = "Say which share of the preferences is wrong, such as 0.1."
        return [Finding(level="warning", code="smoothing", message=message, hint=hint)]
    if config.loss != "robust" and config.label_smoothing > 0.0:
        message = "The share of wrong preferences counts in robust DPO only."
        hint = "Choose the robust loss, or leave the share empty."
        return [Finding(level="error", code="smoothing", message=message, hint=hint)]
    return []
