"""Tasks by the names that people know. Any other name of lm-evaluation-harness works as well."""

from typing import Literal

from pydantic import Field

from distill_studio.core.errors import InvalidInput
from distill_studio.core.records.base import Record

_RUNS_CODE = ("humaneval", "mbpp", "cruxeval")  # and what begins so: humaneval_plus, mbpp_instruct


class KnownTask(Record):
    """A task that can be chosen."""

    name: str = Field(description="As the harness calls it.")
    about: str = Field(description="What it asks, in a few words.")
    data: str = Field(default="", description="Id of its data set on the Hub; '' for own files.")
    questions: int = Field(default=0, description="How many; 0: not known here.")
    needs: Literal["likelihood", "text"] = Field(
        default="likelihood",
        description="Weighs given answers (local models, completions), or reads what is written.",
    )
    is_own: bool = Field(default=False, description="A task file of this workspace.")


def _task(
    name: str, about: str, data: str, questions: int, needs: Literal["likelihood", "text"]
) -> KnownTask:
    return KnownTask(name=name, about=about, data=data, questions=questions, needs=needs)


# Counts are those of the split that the harness asks, as the data sets' cards give them.
KNOWN = (
    _task("gsm8k", "school mathematics in words", "openai/gsm8k", 1319, "text"),
    _task("arc_easy", "school science, choices", "allenai/ai2_arc", 2376, "likelihood"),
    _task("arc_challenge", "harder school science, choices", "allenai/ai2_arc", 1172, "likelihood"),
    _task("hellaswag", "how a scene goes on, choices", "Rowan/hellaswag", 10042, "likelihood"),
    _task("mmlu", "57 subjects, choices", "cais/mmlu", 14042, "likelihood"),
    _task("winogrande", "whom a pronoun means, choices", "allenai/winogrande", 1267, "likelihood"),
    _task("piqa", "everyday physics, choices", "baber/piqa", 1838, "likelihood"),
    _task("boolq", "yes or no about a passage", "aps/super_glue", 3270, "likelihood"),
    _task(
        "truthfulqa_mc2", "common misbeliefs, choices", "truthfulqa/truthful_qa", 817, "likelihood"
    ),
    _task("ifeval", "instructions that can be checked", "google/IFEval", 541, "text"),
)
# The figure that people mean by a task's score, where it is not the first of the harness's report.
MAIN_METRIC = {
    "arc_easy": "acc_norm",
    "arc_challenge": "acc_norm",
    "hellaswag": "acc_norm",
    "piqa": "acc_norm",
    "ifeval": "prompt_level_strict_acc",
}


def refuse_code(tasks: list[str]) -> None:
    """Raises InvalidInput for tasks that would run what a model writes."""
    for name in tasks:
        if name.startswith(_RUNS_CODE):
            raise InvalidInput(
                f"{name} runs code that models write, outside the sandbox, so it is not offered.",
                "Add its prompts and tests as a suite scored by unit tests: that runs in the"
                " sandbox.",
            )
