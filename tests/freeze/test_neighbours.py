"""Rows for LLaMA-Factory, Axolotl and Unsloth, held against rules read off their own code.

The readers below say in our words what a function of the tool does with a row; the module that
writes for the tool names file, function and version.
"""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from distill_studio.freeze.neighbours import NEIGHBOURS, axolotl, llama_factory, unsloth
from distill_studio.freeze.neighbours.settings import (
    METHOD_OF_FORMAT,
    Bundle,
    Row,
    TrainingSettings,
)

FORMATS = sorted(METHOD_OF_FORMAT)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.sampled_from([
    "<image>",
    "see <video> there",
    "<think>\nhm\n</think>\n\nyes",
    "{{content}}",
])
ROLES = st.sampled_from(["system", "user", "assistant"])
TURNS = st.lists(st.builds(lambda r, c: {"role": r, "content": c}, ROLES, TEXT), max_size=4)
ANSWER = TEXT.map(lambda text: [{"role": "assistant", "content": text or "-"}])


@st.composite
def rows(draw: st.DrawFn, row_format: str = "") -> tuple[str, Row]:
    """(format, a snapshot's row); well-formed conversations and others."""
    row_format = row_format or draw(st.sampled_from(FORMATS))
    usual = draw(st.lists(TEXT, min_size=1, max_size=5).filter(lambda t: len(t) % 2 == 1))
    alternating = [
        {"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(usual)
    ]
    system = draw(st.none() | TEXT)
    lead = [] if system is None else [{"role": "system", "content": system}]
    any_turns = [*draw(TURNS), {"role": "user", "content": draw(TEXT)}]
    prompt = draw(st.sampled_from([[*lead, *alternating], any_turns]))
    row: Row = {"id": "x"}
    if row_format == "messages":
        row["messages"] = [*prompt, *draw(ANSWER)]
    elif row_format == "preference":
        row |= {"prompt": prompt, "chosen": draw(ANSWER), "rejected": draw(ANSWER)}
    else:
        row |= {"prompt": prompt, "completion": draw(ANSWER)}
        if row_format == "unpaired":
            row["label"] = draw(st.booleans())
    return row_format, row


def settings(row_format: str, **changes: Any) -> TrainingSettings:
    method = METHOD_OF_FORMAT[row_format]
    values: dict[str, Any] = {
        "method": method,
        "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "last_turn_only": row_format == "prompt_completion",
        "lora_r": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "lora_modules": ["q_proj", "v_proj"],
        "max_length": 512,
        "learning_rate": 5e-5,
        "epochs": 3.0,
        "batch_size": 4,
        "grad_accumulation": 2,
        "warmup_ratio": 0.05,
        "scheduler": "cosine",
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "eval_every": 50,
        "save_every": 50,
        "seed": 17,
        "beta": None if method == "sft" else 0.1,
    }
    return TrainingSettings(**values | changes)


def bundle(row_format: str, *, validation: int = 2, thinks: bool = False, **changes: Any) -> Bundle:
    counts = {"train": 8} | ({"validation": validation} if validation else {})
    return Bundle(settings(row_format, **changes), "first", "ab12", counts, thinks)


# -- LLaMA-Factory ------------------------------------------------------------------------------


def read_by_llama_factory(info: dict[str, Any], row: Row) -> dict[str, Any] | None:
    """What `SharegptDatasetConverter` makes of a row, None where it skips it or training stops."""
    tags, columns = info["tags"], info["columns"]
    named = {tags["user_tag"]: "user", tags["assistant_tag"]: "assistant"}
    turns = [(m[tags["role_tag"]], m[tags["content_tag"]]) for m in row[columns["messages"]]]
    system = ""
    if turns and turns[0][0] == tags["system_tag"]:
        system, turns = turns[0][1], turns[1:]
    for place, (role, _) in enumerate(turns):
        if named.get(role) != ("assistant" if place % 2 else "user"):
            return None
    is_ranking = info.get("ranking", False)
    if (len(turns) % 2 == 0) == is_ranking:
        return None
    if "kto_tag" in columns:
        assert isinstance(row[columns["kto_tag"]], bool)
    if is_ranking:
        answers = [row[columns["chosen"]], row[columns["rejected"]]]
        assert all(isinstance(answer, dict) for answer in answers)
        assert all(answer[tags["role_tag"]] == tags["assistant_tag"] for answer in answers)
        prompt, response = turns, [answer[tags["content_tag"]] for answer in answers]
    else:
        prompt, response = turns[:-1], [turns[-1][1]]
    if len(prompt) % 2 != 1:  # SupervisedDatasetProcessor, FeedbackDatasetProcessor
        return None
    whole = [text for _, text in prompt] + response  # BasePlugin looks at these, not at the system
    if any(mark in text for text in whole for mark in ("<image>", "<video>", "<audio>")):
        return None
    return {"system": system, "prompt": [text for _, text in prompt], "response": response}


@given(rows())
def test_llama_factory_takes_what_is_written_for_it_and_only_the_rest_is_left_out(made) -> None:
    row_format, row = made
    [info, _] = llama_factory.dataset_info(bundle(row_format)).values()
    written = json.loads(json.dumps(llama_factory.to_row(row), ensure_ascii=False))
    read = read_by_llama_factory(info, written)
    if llama_factory.problem(row):
        assert read is None
        return
    assert read is not None
    turns = row.get("messages") or [*row["prompt"], *row.get("completion", row.get("chosen"))]
    said = [turn["content"] for turn in turns if turn["role"] != "system"]
    assert [*read["prompt"], read["response"][0]] == said
    assert read["system"] == (turns[0]["content"] if turns[0]["role"] == "system" else "")
    if row_format == "preference":
        assert read["response"][1] == row["rejected"][0]["content"]


@pytest.mark.parametrize("row_format", FORMATS)
def test_llama_factorys_files_agree_with_each_other(row_format: str) -> None:
    texts = llama_factory.files(bundle(row_format))
    info = json.loads(texts["dataset_info.json"])
    config = yaml.safe_load(texts["llama_factory.yaml"])
    assert texts["dataset_info.json"].isascii()  # `get_dataset_list` opens it in the locale's code
    assert config["dataset"] in info
    assert config["eval_dataset"] in info
    assert {one["file_name"] for one in info.values()} == {"train.jsonl", "validation.jsonl"}
    assert {one["formatting"] for one in info.values()} == {"sharegpt"}  # `openai` adds a prompt
    # `_get_merged_dataset`: ranked data for DPO, and for nothing else
    is_ranked = config["stage"] == "dpo"
    assert {one.get("ranking", False) for one in info.values()} == {is_ranked}
    assert ("kto_tag" in info["first"]["columns"]) == (config["stage"] == "kto")
    assert config.get("mask_history", False) == (row_format == "prompt_completion")
    assert config["learning_rate"] == 5e-5  # YAML reads 5e-05 as a text, 5.0e-05 as a number
    assert config["enable_thinking"] is False
    thinking = yaml.safe_load(
        llama_factory.files(bundle(row_format, thinks=True))["llama_factory.yaml"]
    )
    assert thinking["enable_thinking"] is True
    alone = yaml.safe_load(
        llama_factory.files(bundle(row_format, validation=0))["llama_factory.yaml"]
    )
    assert not any(key.startswith("eval") for key in alone)


@pytest.mark.parametrize(
    ("model", "known"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm2"),
        ("models/smollm2-1.7b-instruct/", "smollm2"),
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", None),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Thinking-2507", "qwen3"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "qwen3_nothink"),
        ("Qwen/Qwen3-VL-4B-Instruct", None),
        ("meta-llama/Llama-3.2-1B-Instruct", "llama3"),
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", None),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseekr1"),
        ("my/own-model", None),
    ],
)
def test_llama_factorys_template_is_named_only_where_it_is_known(model, known) -> None:
    assert llama_factory.template(model) == known
    written = yaml.safe_load(
        llama_factory.files(bundle("messages", model=model))["llama_factory.yaml"]
    )
    assert written.get("template") == known
    assert written["model_name_or_path"] == model


# -- Axolotl ------------------------------------------------------------------------------------


@given(rows())
def test_axolotl_gets_turns_with_flags_or_trls_own_columns(made) -> None:
    row_format, row = made
    written = axolotl.to_row(row)
    if METHOD_OF_FORMAT[row_format] == "sft":
        turns = row.get("messages") or [*row["prompt"], *row["completion"]]
        assert [(t["role"], t["content"]) for t in written["messages"]] == [
            (t["role"], t["content"]) for t in turns
        ]
        flags = [turn.get("train") for turn in written["messages"]]
        wanted = [None] * len(turns)
        if row_format == "prompt_completion":
            wanted = [False] * (len(turns) - 1) + [True]
        assert flags == wanted
        return
    assert set(written) == set(row) - {"id"}  # nothing that a TRL trainer would not know
    assert all(written[column] == row[column] for column in written)


@pytest.mark.parametrize("row_format", FORMATS)
def test_axolotls_yaml_keeps_its_rules(row_format: str) -> None:
    config = yaml.safe_load(axolotl.files(bundle(row_format))["axolotl.yaml"])
    everything = [*config["datasets"], *config["test_datasets"]]
    assert config["val_set_size"] == 0  # `check_val_w_test_datasets`
    assert [one["path"] for one in everything] == ["train.jsonl", "validation.jsonl"]
    assert {one["split"] for one in everything} == {
        "train"
    }  # `_load_from_local_path` knows no other
    if METHOD_OF_FORMAT[row_format] == "sft":
        assert {one["type"] for one in everything} == {"chat_template"}
        flagged = {one.get("message_field_training") for one in everything}
        assert flagged == ({"train"} if row_format == "prompt_completion" else {None})
        assert "rl" not in config
    else:
        assert not any("type" in one for one in everything)
        assert config["skip_prepare_dataset"] is True  # `_drop_long_sequences` reads texts alone
        assert config["remove_unused_columns"] is False  # `check_kto_config`
        assert config["sample_packing"] is False
        assert config["rl"] == METHOD_OF_FORMAT[row_format]
    alone = yaml.safe_load(axolotl.files(bundle(row_format, validation=0))["axolotl.yaml"])
    assert "test_datasets" not in alone
    assert "eval_steps" not in alone  # `check_evals`: not without held-out rows


# -- Unsloth ------------------------------------------------------------------------------------


@given(rows())
def test_unsloths_rows_are_trls_conversations(made) -> None:
    row_format, row = made
    written = unsloth.to_row(row)
    if row_format == "prompt_completion":
        assert written["messages"] == [*row["prompt"], *row["completion"]]
    else:
        assert written == row


@pytest.mark.parametrize("row_format", FORMATS)
def test_unsloths_script_finds_all_of_its_settings(row_format: str) -> None:
    import re

    texts = unsloth.files(bundle(row_format, model='a"b\\c'))
    settings_ = json.loads(texts["settings.json"])
    asked = set(re.findall(r'SETTINGS\["(\w+)"\]', texts["train.py"]))
    assert asked == set(settings_)
    assert settings_["model"] == 'a"b\\c'
    compile(texts["train.py"], "train.py", "exec")


def test_no_text_of_a_person_reaches_a_comment() -> None:
    for row_format in FORMATS:
        hostile = bundle(row_format, model="x\n# y: 1\nz: {")
        for name, neighbour in NEIGHBOURS.items():
            for file, text in neighbour.files(hostile).items():
                if file.endswith(".yaml"):
                    found = yaml.safe_load(text)
                    key = "base_model" if name == "axolotl" else "model_name_or_path"
                    assert found[key] == "x\n# y: 1\nz: {"
