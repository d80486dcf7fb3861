"""Prompts for models with unusual templates, or none; adapters as models."""

import asyncio
from types import SimpleNamespace

import pytest

from distill_studio.core.errors import TeacherError
from distill_studio.core.protocols import ChatRequest, SamplingParams
from distill_studio.core.records.seed import Message
from distill_studio.core.settings import Settings
from distill_studio.teachers.models import ModelHost, resolve_model

pytestmark = pytest.mark.models
CHAT = "smollm2-135m-instruct"
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
    "{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)
ALTERNATE = (
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('must alternate') }}{% endif %}{{ m.content }}{% endfor %}"
)


@pytest.fixture
def chat_format(starter_cache):
    """A function: template -> ChatFormat over the starter model's tokenizer."""
    from transformers import AutoTokenizer

    from distill_studio.teachers.chat_format import ChatFormat

    tokenizer = AutoTokenizer.from_pretrained(resolve_model(CHAT, starter_cache))
    config = SimpleNamespace(max_position_embeddings=2048)
    config.get_text_config = lambda: config
    generation = SimpleNamespace(eos_token_id=[2, 7])

    def make(template):
        tokenizer.chat_template = template
        return ChatFormat(tokenizer, SimpleNamespace(config=config, generation_config=generation))

    return make


def talk(*turns: tuple[str, str]) -> tuple[Message, ...]:
    return tuple(Message(role=role, content=content) for role, content in turns)


def test_without_a_template_lines_are_written_and_the_next_question_ends_the_answer(chat_format):
    chat = chat_format(None)
    ids = chat.prompt_ids(talk(("system", "Be kind."), ("user", "Hi")))
    assert chat.decode(ids) == "System: Be kind.\n\nUser: Hi\n\nAssistant:"
    request = ChatRequest(key="1", messages=talk(("user", "Hi")), sampling=SamplingParams())
    silent = {"on_piece": print, "on_end": print, "is_unwanted": bool}
    assert "\nUser:" in chat.answer(request, **silent).text._stops
    assert chat.end_ids == {2, 7}
    assert chat.context_tokens == 2048


def test_a_system_message_moves_into_the_question_where_the_template_knows_none(chat_format):
    chat = chat_format(NO_SYSTEM)
    ids = chat.prompt_ids(talk(("system", "Be kind."), ("user", "Hi")))
    assert chat.decode(ids) == "[user]Be kind.\n\nHi"


def test_a_conversation_that_the_template_refuses_is_an_error(chat_format):
    with pytest.raises(TeacherError, match="must alternate"):
        chat_format(ALTERNATE).prompt_ids(talk(("user", "a"), ("user", "b")))


def test_special_marks_in_a_template_are_single_tokens_and_think_is_noticed(chat_format):
    chat = chat_format("{% for m in messages %}<|im_start|>{{ m.content }}{% endfor %}<think>\n")
    ids = chat.prompt_ids(talk(("user", "Hi")))
    assert ids[0] == 1
    assert chat.opens_thinking(ids)
    assert not chat.opens_thinking(ids[:2])


def test_a_folder_with_a_lora_adapter_is_a_model(starter_cache, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = resolve_model(CHAT, starter_cache)
    base = AutoModelForCausalLM.from_pretrained(folder)
    get_peft_model(base, LoraConfig(r=2, task_type="CAUSAL_LM")).save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path)
    host = ModelHost(Settings(cache=starter_cache, device="cpu"))
    question = ChatRequest(
        key="1",
        messages=talk(("user", "What is the capital of France?")),
        sampling=SamplingParams(temperature=0, max_tokens=8),
    )

    async def ask():
        return [r async for r in host.chat_model(str(tmp_path)).generate([question])]

    assert "Paris" in asyncio.run(ask())[0].text
    host.close()
