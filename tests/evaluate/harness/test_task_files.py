"""A user's own task files are data: what would run, or read elsewhere, is refused."""

from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.evaluate.harness.task_files import read_task

TASK = """
task: mine
dataset_path: json
dataset_kwargs: {data_files: {test: rows.jsonl}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
"""


def read(tmp_path: Path, text: str) -> str:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return read_task(file, {"rows.jsonl"})


def test_a_task_with_its_rows_has_a_name(tmp_path):
    assert read(tmp_path, TASK) == "mine"
    hub = TASK.replace("dataset_path: json", "dataset_path: owner/name")
    hub = hub.replace("dataset_kwargs: {data_files: {test: rows.jsonl}}", "")
    assert read(tmp_path, hub) == "mine"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("process_docs: !function evil.run", "cannot be read"),
        ("x: !!python/object/apply:os.system [true]", "cannot be read"),
        ("class: lm_eval.api.task.Task", "'class'"),
        ("include: ../../secret.yaml", "'include'"),
        ("unsafe_code: true", "'unsafe_code'"),
        ("custom_dataset: x", "'custom_dataset'"),
        ("process_results: utils.f", "'process_results'"),
        ("use_prompt: promptsource:all", "'use_prompt'"),
        ("dataset_path: ./rows.py", "dataset_path"),
        ("dataset_kwargs: {data_files: /etc/passwd}", "/etc/passwd"),
        ("dataset_kwargs: {data_files: {test: ../rows.jsonl}}", "../rows.jsonl"),
        ("dataset_kwargs: {data_files: {test: 'https://example.com/rows.jsonl'}}", "https"),
        ("dataset_kwargs: {data_files: rows.jsonl, trust_remote_code: true}", "nothing else"),
        ("task: [mine]", "names no task"),
        ("task: ../mine", "cannot name a task"),
    ],
)
def test_what_is_no_data_is_refused_with_its_name(tmp_path, line, said):
    key = line.split(":")[0]
    kept = [old for old in TASK.splitlines() if not old.startswith(f"{key}:")]
    with pytest.raises(InvalidInput, match="mine") as refused:
        read(tmp_path, "\n".join([*kept, line]))
    assert said in str(refused.value)


def test_a_file_that_is_no_task_says_so(tmp_path):
    with pytest.raises(InvalidInput, match="names no task"):
        read(tmp_path, "- one\n- two\n")
