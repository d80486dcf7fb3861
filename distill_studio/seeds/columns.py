"""Which column of a foreign file is what: a guess that a person can correct.

Start from `guess_mapping`. Known layouts: instruction/input/output (Alpaca, with `history`),
self-instruct seed tasks (`instances`), question/answer (GSM8K), prompt/completion, `messages`,
ShareGPT `conversations`, `turns` (MT-Bench), prompt/chosen/rejected, and two outputs with a
judgement.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from distill_studio.core.records import Record
from distill_studio.seeds.conversation import is_conversation

_PROMPTS = (
    "instruction", "question", "prompt", "query", "turns", "problem", "task", "user", "human",
    "input", "text", "seed",
)  # fmt: skip
_ANSWERS = (
    "output", "answer", "completion", "response", "assistant", "solution", "target", "reply",
    "generation", "gpt",
)  # fmt: skip
_CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat")
_TOPICS = ("topic", "category", "subject", "task_type")
_TEACHERS = ("teacher", "generator", "model", "model_name", "source_model")
_REFERENCES = ("reference", "reference_answer", "ground_truth", "gold", "final_answer")
_REASONING = ("reasoning", "reasoning_content", "thinking", "rationale", "chain_of_thought", "cot")
_JUDGES = ("judge", "annotator", "judged_by", "evaluator")
_OPTIONS = (
    ("output_1", "output_2"), ("response_1", "response_2"), ("answer_1", "answer_2"),
    ("response_a", "response_b"), ("answer_a", "answer_b"), ("output_a", "output_b"),
)  # fmt: skip
_VERDICTS = ("preference", "winner", "label", "verdict")


class ColumnMapping(Record):
    """Column names by their part; '' where the file has no such column."""

    prompt: str = Field(default="", description="The request: text, a list of turns or messages.")
    input: str = Field(default="", description="More text, put below the request.")
    answer: str = Field(default="", description="The answer to it.")
    messages: str = Field(default="", description="A whole conversation, instead of the two.")
    instances: str = Field(default="", description="A list of {input, output} for one request.")
    system: str = Field(default="", description="System prompt.")
    history: str = Field(default="", description="Earlier turns: a list of [request, answer].")
    chosen: str = Field(default="", description="The better answer, or the first of two.")
    rejected: str = Field(default="", description="The worse answer, or the second of two.")
    verdict: str = Field(default="", description="Which of two is better: 1 to 2, a/b, tie.")
    topic: str = Field(default="", description="Topic label.")
    teacher: str = Field(default="", description="Who wrote the answer (the chosen one).")
    rejected_teacher: str = Field(default="", description="Who wrote the rejected answer.")
    judge: str = Field(default="", description="The model that said which is better.")
    reference: str = Field(default="", description="A known right answer.")
    reasoning: str = Field(default="", description="Chain of thought before the answer.")
    default_topic: str = Field(default="", description="Topic of rows that name none.")
    default_teacher: str = Field(default="", description="Writer of answers that name none.")
    default_judge: str = Field(
        default="",
        max_length=200,
        description="Judge of comparisons that name none; '' = they count as the file's own.",
    )
    split_thinking: bool = Field(
        default=False, description="Take <think>...</think> out of answers, as their reasoning."
    )
    split_tokens: int = Field(
        default=0,
        ge=0,
        le=1_000_000,
        description="Cut longer conversations at turn bounds; about 4 bytes a token; 0 = never.",
    )
    passage_words: int = Field(
        default=0, ge=0, le=100_000, description="Of documents: words in a passage; 0 = 350."
    )

    def columns(self) -> dict[str, str]:
        """Part to column, for the parts that have one."""
        return {part: name for part in PARTS if (name := getattr(self, part))}


PARTS: tuple[str, ...] = tuple(
    name
    for name in ColumnMapping.model_fields
    if not name.startswith(("default_", "split_", "passage_"))
)


def guess_mapping(rows: Sequence[Mapping[str, Any]]) -> ColumnMapping:
    """The likely meaning of the columns, from their names and the first rows' values."""
    samples: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            if samples.get(name) in (None, "", []):
                samples[name] = value
    find = _Finder(samples)
    common = {
        "topic": find(_TOPICS),
        "reference": find(_REFERENCES),
        "reasoning": find(_REASONING),
        "system": find(("system", "system_prompt")),
        "teacher": find(_TEACHERS),
    }
    return ColumnMapping(**{**common, **_content(find)})


def layout_name(mapping: ColumnMapping) -> str:
    """The recognised layout in words."""
    if mapping.chosen:
        return "two answers with a judgement" if mapping.verdict else "chosen and rejected answers"
    if mapping.messages:
        return "conversations"
    if mapping.instances:
        return "self-instruct seed tasks"
    if mapping.prompt:
        return "prompts and answers" if mapping.answer else "prompts"
    return ""


class _Finder:
    """Finds a column by any of several names, whatever their case, spaces and dashes."""

    def __init__(self, samples: Mapping[str, Any]) -> None:
        self.samples = samples
        self._by_name: dict[str, str] = {}
        for column in samples:
            self._by_name.setdefault(_plain(column), column)

    def __call__(self, names: Sequence[str], *, but: str = "") -> str:
        found = (self._by_name.get(name, "") for name in names)
        return next((column for column in found if column and column != but), "")

    def conversation(self) -> str:
        """A column of conversations: by its usual names, or by what it holds."""
        column = self(_CONVERSATIONS)
        return column if column and is_conversation(self.samples[column]) else ""


def _content(find: _Finder) -> dict[str, str]:
    chosen, rejected = find(("chosen",)), find(("rejected",))
    if chosen and rejected:
        return {
            "prompt": find(_PROMPTS),
            "chosen": chosen,
            "rejected": rejected,
            "verdict": find(("outcome",)),
            "teacher": find(("chosen_teacher", "chosen_model", "model_chosen", *_TEACHERS)),
            "rejected_teacher": find(("rejected_teacher", "rejected_model", "model_rejected")),
            "judge": find(_JUDGES),
        }
    verdict = find(_VERDICTS)
    for first, second in _OPTIONS:
        if verdict and find((first,)) and find((second,)):
            ends = (first.rpartition("_")[2], second.rpartition("_")[2])
            writers = [find(tuple(f"{n}_{end}" for n in ("generator", "model"))) for end in ends]
            return {
                "prompt": find(_PROMPTS),
                "input": "",
                "chosen": find((first,)),
                "rejected": find((second,)),
                "verdict": verdict,
                "teacher": writers[0],
                "rejected_teacher": writers[1],
                "judge": find(_JUDGES),
            }
    if conversation := find.conversation():
        return {"messages": conversation}
    return _prompt_and_answer(find)


def _prompt_and_answer(find: _Finder) -> dict[str, str]:
    prompt = find(_PROMPTS)
    extra = find(("input", "context"), but=prompt)
    instances = find(("instances",))
    if instances and isinstance(find.samples[instances], list):
        return {"prompt": prompt, "instances": instances}
    return {
        "prompt": prompt,
        "input": extra,
        "answer": find(_ANSWERS, but=prompt),
        "history": find(("history",)),
    }


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
