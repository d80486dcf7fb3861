"""Rows that a chat template refuses are left out by whoever reads them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from distill_studio.distill.config import RunConfig
from distill_studio.distill.preflight import check
from distill_studio.distill.rows import Refused, TolerantReader
from distill_studio.distill.student import some_rows
from distill_studio.distill.trainers.setup import Setup
from tests.tiny_model import assistant, completions, user, write_snapshot

MakeConfig = Callable[..., RunConfig]
SYSTEM = {"role": "system", "content": "Be brief"}
# As Gemma's: no system turn. As Qwen3's: only the last answer has a (here empty) thought.
_TURNS = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' }}"
    "{% if m['role'] == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}" + _TURNS
)


@pytest.fixture
def strict(tiny_model: Path, tmp_path: Path) -> dict[str, str]:
    """A student whose template refuses system turns and rewrites earlier answers."""
    folder = tmp_path / "strict"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").write_text(STRICT, encoding="utf-8")
    return {"base_folder": str(folder), "base_id": "strict"}


def with_system(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "prompt": [SYSTEM, *row["prompt"]]}


def setup_of(config: RunConfig, tmp_path: Path) -> Setup:
    chat = ChatTokenizer.load(Path(config.student.base_folder))
    return Setup(config, tmp_path, None, None, chat, "cpu", False)


def test_a_reader_counts_and_tells_the_first() -> None:
    told: list[Refused] = []

    def read(row: dict[str, Any]) -> int:
        if row["n"] % 2:
            raise InvalidInput(f"{row['n']} is odd.")
        return int(row["n"])

    reader = TolerantReader(read, told.append)
    rows = [{"n": n} for n in (0, 1, 2, 3)]
    assert [found for _, found in reader.all_of(rows)] == [0, 2]  # 0 is a value, too
    assert (reader.seen, reader.refused) == (4, 2)
    assert [(one.number, one.row, one.error.user_message) for one in told] == [
        (1, {"n": 1}, "1 is odd.")
    ]


def test_held_out_rows_that_are_refused_end_no_run(
    make_config: MakeConfig, strict: dict[str, str], tmp_path: Path
) -> None:
    rows = completions(10)
    data = write_snapshot(tmp_path / "s", rows[:6], [with_system(rows[6]), rows[7], rows[8]])
    config = make_config(
        student=strict,
        data={"folder": str(data), "name": "s", "format": "prompt_completion"},
        samples=2,
    )
    report = check(config)
    assert report.is_ok
    (finding,) = [f for f in report.findings if f.code == "refused_rows"]
    assert "1 of the 3 held-out rows looked at are left out; the first is row 1" in finding.message
    assert "System role not supported" in finding.message
    prompts = setup_of(config, tmp_path).sample_prompts()
    assert [text for text, _ in prompts] == [
        rows[7]["prompt"][0]["content"],
        rows[8]["prompt"][0]["content"],
    ]


def test_pruning_reads_rows_as_the_run_learns_them(
    make_config: MakeConfig, strict: dict[str, str], tmp_path: Path
) -> None:
    """Several answers, of which the last is learned; two of the first rows are refused."""
    talk = [user("say red"), assistant("red sun"), user("say blue"), assistant("blue moon")]
    rows = [{"id": str(n), "messages": talk} for n in range(12)]
    for number in (0, 3):
        rows[number] = {"id": str(number), "messages": [SYSTEM, *talk]}
    data = write_snapshot(tmp_path / "talks", rows, rows[-2:])
    fields = {
        "student": strict | {"keep_layers": 2},
        "data": {"folder": str(data), "name": "talks", "format": "messages"},
        "max_length": 128,
    }
    config = make_config(learn="last", **fields)
    assert check(config).is_ok
    chat = ChatTokenizer.load(Path(strict["base_folder"]))
    found = some_rows(config, chat)
    assert len(found) == 8
    assert "blue moon" in chat.decode(found[0])
    every = make_config(learn="all", **fields)  # no row can be read so: both say the same
    (finding,) = [f for f in check(every).findings if f.level == "error"]
    with pytest.raises(InvalidInput) as refused:
        some_rows(every, chat)
    assert (refused.value.user_message, refused.value.hint) == (finding.message, finding.hint)
