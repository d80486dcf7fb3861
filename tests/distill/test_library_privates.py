"""The private names of TRL and transformers that our trainers rely on are still there.

A release that drops one makes a training fail late or, worse, silently do something else: this
says at once which name is gone and who needs it.
"""

import inspect
import re
from importlib.metadata import version

import pytest
from transformers import Trainer
from trl import DistillationTrainer, DPOTrainer, KTOTrainer, SFTTrainer

from distill_studio.distill.trainers.answers import AnswerTrainer
from distill_studio.distill.trainers.dpo import HeldOutDpoTrainer
from distill_studio.distill.trainers.kto import HeldOutKtoTrainer
from distill_studio.distill.trainers.logit import LogitTrainer
from distill_studio.distill.trainers.on_policy import OnPolicyTrainer

# (class of the library, method that we replace or call, its parameters as we use them)
METHODS = [
    (SFTTrainer, "compute_loss", ("model", "inputs", "return_outputs", "num_items_in_batch")),
    (DPOTrainer, "compute_loss", ("model", "inputs", "return_outputs", "num_items_in_batch")),
    (KTOTrainer, "compute_loss", ("model", "inputs", "return_outputs", "num_items_in_batch")),
    (DPOTrainer, "_prepare_dataset", ("dataset",)),
    (KTOTrainer, "_prepare_dataset", ("dataset",)),
    (DistillationTrainer, "_tokenize_prompts", ("prompts",)),
    (
        DistillationTrainer,
        "_compute_loss",
        ("unwrapped_student", "inputs", "num_items_in_batch"),
    ),
    (Trainer, "_save", ("output_dir", "state_dict")),
    (Trainer, "_load_from_checkpoint", ("resume_from_checkpoint", "model")),
]
# (our class, the library's, attributes of the library that ours reads)
ATTRIBUTES = [
    (AnswerTrainer, SFTTrainer, ("_metrics", "_total_train_tokens")),
    (HeldOutDpoTrainer, DPOTrainer, ("_metrics",)),
    (HeldOutKtoTrainer, KTOTrainer, ("_metrics",)),
    (LogitTrainer, SFTTrainer, ()),
    (OnPolicyTrainer, DistillationTrainer, ("_metrics", "_tokenizer")),
]


@pytest.mark.parametrize(("owner", "name", "parameters"), METHODS)
def test_a_method_is_there_with_its_parameters(
    owner: type, name: str, parameters: tuple[str, ...]
) -> None:
    release = f"trl {version('trl')} with transformers {version('transformers')}"
    found = getattr(owner, name, None)
    assert found, f"{release}: {owner.__name__} has no {name} any more; look for it in trainers/"
    has = list(inspect.signature(found).parameters)[1:]
    assert has[: len(parameters)] == list(parameters), (
        f"{release}: {owner.__name__}.{name} takes {has}; ours in trainers/ counts on {parameters}"
    )


@pytest.mark.parametrize(("ours", "theirs", "names"), ATTRIBUTES)
def test_an_attribute_is_there_and_all_are_listed(
    ours: type, theirs: type, names: tuple[str, ...]
) -> None:
    release = f"trl {version('trl')}"
    parents = [c for c in theirs.__mro__ if c.__module__.startswith(("trl", "transformers"))]
    written = "".join(inspect.getsource(c) for c in parents)
    for name in names:
        assert re.search(rf"self\.{name}\b[^=\n]*= ", written), (
            f"{release}: {theirs.__name__} sets no {name} any more; {ours.__name__} reads it"
        )
    source = inspect.getsource(ours)
    made = set(re.findall(r"self\.(_[a-z]\w*)\b[^=\n]* = ", source)) | set(vars(ours))
    made |= set(ours.__annotations__)
    used = set(re.findall(r"self\.(_[a-z]\w*)", source)) - (made - set(names))
    assert used == set(names), f"list in this test what {ours.__name__} takes of the library"
    for name in re.findall(r"def (_[a-z]\w*)", source):
        if any(name in vars(parent) for parent in parents):
            listed = [n for owner, n, _ in METHODS if owner in parents]
            assert name in listed, f"list {name}, which {ours.__name__} replaces, in METHODS"
