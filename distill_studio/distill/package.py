"""A trained student as a zip to take away, with a card that says what it is. Torch-free."""

import zipfile
from pathlib import Path
from typing import Any, Literal

from distill_studio.core.errors import InvalidInput
from distill_studio.core.ids import new_id
from distill_studio.core.records import Run

PackageKind = Literal["merged", "adapter"]
_FOLDERS: dict[PackageKind, str] = {"merged": "model", "adapter": "adapter"}


def pack(run_folder: Path, run: Run, kind: PackageKind, target: Path) -> Path:
    """Zip `model/` or `adapter/` of a run into the folder `target`; returns the file.

    Raises:
        InvalidInput: The run trained full weights, so there is no adapter.
    """
    source = run_folder / _FOLDERS[kind]
    if not source.exists():
        raise InvalidInput(
            f"The run '{run.name}' trained the full weights: it has no adapter.",
            "Take the merged model.",
        )
    path = target / f"{run.name}-{kind}.zip"
    target.mkdir(parents=True, exist_ok=True)
    unfinished = target / f".{path.name}.{new_id()}.part"  # of this call alone
    stem = f"{run.name}-{kind}"
    try:
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(source.rglob("*")):
                if file.is_file() and file.name != "README.md":
                    archive.write(file, f"{stem}/{file.relative_to(source)}")
            archive.writestr(f"{stem}/README.md", card(run, kind))
            archive.write(run_folder / "run.json", f"{stem}/run.json")
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def card(run: Run, kind: PackageKind) -> str:
    """A model card: what it was trained from and on, how, and with what result."""
    student, data = run.config.get("student", {}), run.config.get("data", {})
    facts = {
        "Method": run.method.upper(),
        "Base": student.get("base_id", ""),
        "Layers kept": student.get("keep_layers") or "all",
        "Snapshot": f"{data.get('name', '')} ({str(data.get('content_hash', ''))[:12]})",
        "Updates": run.metrics.get("steps", ""),
        "Held-out loss before": _figure(run.metrics.get("loss_before")),
        "Held-out loss after": _figure(run.metrics.get("loss_after")),
    }
    if run.method == "dpo":
        facts["Held-out margin before"] = _figure(run.metrics.get("margin_before"))
        facts["Held-out margin after"] = _figure(run.metrics.get("margin_after"))
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    use = _MERGED_USE if kind == "merged" else _ADAPTER_USE
    return _CARD.format(name=run.name, rows=rows, use=use)


def _figure(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4f}" if isinstance(value, int | float) else "not measured"


_MERGED_USE = """from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained("this folder")
tokenizer = AutoTokenizer.from_pretrained("this folder")"""
_ADAPTER_USE = """from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained("this folder")"""
_CARD = """---
library_name: transformers
tags: [distillation, distill-studio]
---
# {name}

A student trained with Distill Studio; every setting is in `run.json`.

| | |
| --- | --- |
{rows}

```python
{use}
```

It copies its teachers' errors and biases along with their answers, and the terms of the teachers
and of the base model apply. Measure it on your own task before you rely on it.
"""
