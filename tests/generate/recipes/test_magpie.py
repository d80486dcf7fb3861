"""Magpie by hand-fed replies: the openings of each family, every check, the answer."""

from typing import Any

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.core.protocols import SamplingParams
from distill_studio.core.records import Message, Seed
from distill_studio.generate.chat_templates import AUTO, STOPS, guessed
from distill_studio.generate.effects import ELIMINATED, Dropped, Unit
from distill_studio.generate.eliminate import RULES
from distill_studio.generate.parse import to_rows
from distill_studio.generate.recipes import RECIPES, Settings
from distill_studio.generate.recipes.base import request_for
from distill_studio.generate.recipes.magpie import opening, rule_against_question, turn_of
from tests.generate.play import ORIGIN, Played, play, reply, world

RECIPE = RECIPES["magpie"]
CHATML_SYSTEM = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
QUESTION = "\nHow do bees find their way home?\n"


def unit(topic: str = "bees", sample: int = 0) -> Unit:
    message = Message(role="user", content="Why is the sky blue?")
    return Unit(Seed(messages=(message,), topic=topic), sample, "T")


def settings(system_prompt: str = "", **options: Any) -> Settings:
    prompts = RECIPE.prompts
    return Settings(
        SamplingParams(max_tokens=50, temperature=0.0, top_p=0.9),
        system_prompt=system_prompt,
        texts={text.name: text.text for text in prompts.texts},
        options=prompts.chosen({"template": "chatml"} | options),
    )


def played(replies: dict[str, Any], of: Unit | None = None, **wish: Any) -> tuple[Any, Played]:
    here = world(of or unit(), settings(**wish), {"answer": "By the sun."} | replies)
    return play(RECIPE, here.unit, here.settings, {}, here), here


@pytest.mark.parametrize(
    ("template", "bare", "with_system"),
    [
        (
            "chatml",
            f"{CHATML_SYSTEM}<|im_start|>user\n",
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n",
        ),
        (
            "llama3",
            "<|start_header_id|>user<|end_header_id|>\n\n",
            "<|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\n",
        ),
        ("gemma", "<start_of_turn>user\n", "<start_of_turn>user\nBe kind.\n\n"),
        ("mistral", "[INST] ", "[INST] Be kind.\n\n"),
        ("phi3", "<|user|>\n", "<|system|>\nBe kind.<|end|>\n<|user|>\n"),
    ],
)
def test_openings(template: str, bare: str, with_system: str) -> None:
    plain, kind = settings(template=template), settings("Be kind.", template=template)
    turn = turn_of(plain, "T")
    assert turn.stop == STOPS[template]
    assert opening(turn, plain) == bare
    assert opening(turn, kind) == with_system
    steered = opening(turn, kind, "bees")
    assert "questions about bees" in steered
    assert "Be kind." not in steered


@pytest.mark.parametrize(
    ("model", "template"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "chatml"),
        ("smollm2-135m-instruct", "chatml"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "chatml"),
        ("google/gemma-2-9b-it", "gemma"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mistral"),
        ("microsoft/Phi-3.5-mini-instruct", "phi3"),
        ("microsoft/phi-4", ""),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", ""),
        ("gpt-4o", ""),
    ],
)
def test_a_name_speaks_for_a_family_or_for_none(model: str, template: str) -> None:
    assert guessed(model) == template


def test_every_template_has_its_texts_and_stops() -> None:
    (option,) = [o for o in RECIPE.prompts.options if o.name == "template"]
    assert set(option.choices) == {AUTO, *STOPS}
    assert all(len(stops) <= 4 for stops in STOPS.values())
    names = {text.name for text in RECIPE.prompts.texts}
    systems = {f"{name}_system" for name in STOPS}
    assert names == {"topic", "chatml_default", *STOPS, *systems}


def test_a_question_is_made_by_raw_continuation_and_answered_as_any_other() -> None:
    ended, here = played({"instruction": QUESTION}, system_prompt="Be kind.")
    made, asked = here.asked
    request = request_for(here.unit, made, here.settings)
    assert request.raw.endswith("<|im_start|>user\n")
    assert request.messages == ()
    assert request.sampling.stop == STOPS["chatml"]
    assert (request.sampling.temperature, request.sampling.top_p) == (1.0, 1.0)
    assert request.sampling.max_tokens == 50
    assert asked.sampling is None
    assert [m.content for m in asked.messages] == ["Be kind.", QUESTION.strip()]
    rows = to_rows(ended, ORIGIN)
    (pair,) = rows.pairs
    assert (pair.prompt, pair.answer, pair.topic) == (QUESTION.strip(), "By the sun.", "")
    assert pair.params["from_seed"] == here.unit.seed.id
    assert pair.params["magpie"] == {"template": "chatml", "topic": ""}
    assert pair.seed_id == rows.seeds[0].id
    assert "sky" not in request.raw + asked.messages[-1].content


def test_a_topic_steers_the_question_and_not_the_answer() -> None:
    ended, here = played({"instruction": QUESTION}, steer="topic")
    assert "questions about bees" in here.asked[0].raw
    assert [m.content for m in here.asked[1].messages] == [QUESTION.strip()]
    (draft,) = ended.result.drafts
    assert draft.seed.topic == "bees"
    _, here = played({"instruction": QUESTION}, unit(topic=""), steer="topic")
    assert here.asked[0].raw == f"{CHATML_SYSTEM}<|im_start|>user\n"


def test_samples_are_questions_of_their_own() -> None:
    requests = []
    for sample in range(2):
        _, here = played({"instruction": QUESTION}, unit(sample=sample))
        requests.append(request_for(here.unit, here.asked[0], here.settings))
    assert requests[0].sampling.seed != requests[1].sampling.seed
    assert RECIPE.samples(1000) == 1000
    with pytest.raises(InvalidInput, match="Choose 1 to 1000"):
        RECIPE.samples(1001)


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (reply("How do bees find", finish_reason="length"), "cut_off"),
        ("Hello there", "too_short"),
        ("word " * 501, "far_too_long"),
        ("How do bees fly?<|im_end|>\n<|im_start|>assistant", "template_left"),
        ("How do bees fly? [/INST] They flap.", "template_left"),
        ("user\nHow do bees fly?", "template_left"),
        ("I'm sorry, but I cannot help with bees.", "as_answer"),
        ("I am sorry, but no.", "as_answer"),
        ("As an AI language model I know no bees.", "as_answer"),
        ("Sure! Here is a poem about bees.", "as_answer"),
        ("Hello! How can I help you today?", "as_answer"),
        ("Bees fly to the hive and back. " * 20, "loops"),
        ("Why is the blue sky blue?", "too_like"),
    ],
)
def test_what_is_no_new_question_is_dropped(said: Any, rule: str) -> None:
    ended, here = played({"instruction": said})
    assert isinstance(ended.result, Dropped)
    assert (ended.result.step, ended.result.code) == ("instruction", ELIMINATED)
    assert ended.result.reason == f"The question made up is {RULES[rule]}."
    text = said if isinstance(said, str) else said.text
    assert ended.result.text.startswith(text)
    assert ended.forgotten == ("instruction",)
    assert len(here.asked) == 1


def test_what_it_is_too_like_is_told() -> None:
    ended, _ = played({"instruction": "Why is the blue sky blue?"})
    assert ended.result.text.endswith("Like (0.91): Why is the sky blue?")


@pytest.mark.parametrize(
    "text",
    [
        "How do bees find their way home?",
        "I can't sleep. How can I help myself?",
        "Here we go again: sort 3, 1, 2.",
        "def f(x):\n    return x < 3 and x > 1\nWhat does it do?",
        "The user: who is it in a story?",
    ],
)
def test_questions_pass(text: str) -> None:
    assert rule_against_question(text) == ""


@pytest.mark.parametrize("step", ["instruction", "answer"])
def test_a_teacher_that_fails_ends_the_unit(step: str) -> None:
    bad = reply(error_code="raw_not_served", error="No /completions.")
    ended, _ = played({"instruction": QUESTION, step: bad})
    assert (ended.result.step, ended.result.code) == (step, "raw_not_served")
