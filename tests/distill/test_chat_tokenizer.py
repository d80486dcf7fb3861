"""The torch-free tokenizer renders and encodes exactly as transformers does."""

import json
import shutil
from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput, NotFound
from distill_studio.distill.chat_tokenizer import ChatTokenizer
from tests.tiny_model import assistant, user

TALKS = [
    [user("say red")],
    [user("say red"), assistant("red\n\nsun"), user("again <&> é"), assistant("moon")],
    [{"role": "system", "content": "only birds"}, user("  spaces  "), assistant("bird")],
]


@pytest.mark.parametrize("talk", TALKS)
@pytest.mark.parametrize("opens", [True, False])
def test_same_as_transformers(tiny_model: Path, chat: ChatTokenizer, talk: list, opens: bool):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny_model)
    text = theirs.apply_chat_template(talk, tokenize=False, add_generation_prompt=opens)
    assert chat.render(talk, answer_next=opens) == text
    assert chat.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    assert chat.eos_id == theirs.eos_token_id
    assert chat.pad_id == theirs.pad_token_id


@pytest.mark.models
def test_same_as_transformers_on_the_starter_model(starter_cache: Path) -> None:
    from transformers import AutoTokenizer

    from distill_studio.teachers.models import resolve_model

    folder = resolve_model("smollm2-135m-instruct", starter_cache)
    ours, theirs = ChatTokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    for talk in TALKS:
        text = theirs.apply_chat_template(talk, tokenize=False)
        assert ours.render(talk) == text
        assert ours.encode(text) == theirs(text, add_special_tokens=False)["input_ids"]
    assert ours.is_special(ours.eos_id or -1)


def test_generation_markers_render_their_body(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "marked"
    shutil.copytree(tiny_model, folder)
    template = (
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
    )
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    assert ChatTokenizer.load(folder).render([user("a"), user("b")]) == "ab"


def test_missing_parts_are_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"tokenizer\.json"):
        ChatTokenizer.load(tmp_path)
    folder = tmp_path / "bare"
    shutil.copytree(tiny_model, folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    config.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    bare = ChatTokenizer.load(folder)
    assert not bare.has_template
    with pytest.raises(InvalidInput, match="no chat template"):
        bare.render([user("a")])


def test_a_refusing_template_says_why(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "strict"
    shutil.copytree(tiny_model, folder)
    template = "{{ raise_exception('roles must alternate') }}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    with pytest.raises(InvalidInput, match="roles must alternate"):
        ChatTokenizer.load(folder).render([user("a")])
