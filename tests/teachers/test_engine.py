"""The engine against transformers' own greedy search, on tiny random models of several designs."""

import threading

import pytest

from distill_studio.teachers.answer import Answer
from distill_studio.teachers.answer_text import AnswerText

SIZES = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2_SIZES = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
DESIGNS = {
    "llama": ("LlamaConfig", SIZES),
    "qwen3": ("Qwen3Config", SIZES),
    "mistral, window of 8": ("MistralConfig", SIZES | {"sliding_window": 8}),
    "gemma2, window of 8 in every other layer": (
        "Gemma2Config",
        SIZES | {"sliding_window": 8, "query_pre_attn_scalar": 8},
    ),
    "gpt2": ("GPT2Config", GPT2_SIZES | {"eos_token_id": 2}),
}
PROMPTS = [[5, 6, 7], list(range(10, 40)), [50], list(range(3, 25, 2)), [9, 9, 9, 9]]


def make(design: str):
    import torch
    import transformers

    torch.manual_seed(0)
    name, sizes = DESIGNS[design]
    config = getattr(transformers, name)(**sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():  # sharper than the usual start, so that nothing ties
        parameter.data *= 4 if parameter.dim() > 1 else 1
    return model


def run(engine, prompts, max_tokens: int = 14) -> list[str]:
    from distill_studio.teachers.sampling import RowSampler

    ended = threading.Semaphore(0)
    answers = [
        Answer(
            prompt_ids=prompt,
            max_tokens=max_tokens,
            sampler=RowSampler.seeded(0.0, 1.0, None),
            text=AnswerText(lambda ids: "".join(f"{i} " for i in ids)),
            on_piece=lambda piece: None,
            on_end=lambda answer: ended.release(),
            is_unwanted=lambda: False,
        )
        for prompt in prompts
    ]
    engine.submit(answers)
    for _ in answers:
        assert ended.acquire(timeout=60)
    assert not any(a.error for a in answers), answers[0].error
    return ["".join(a.pieces) for a in answers]


@pytest.mark.parametrize("design", list(DESIGNS))
@pytest.mark.parametrize(("max_rows", "chunk"), [(8, 4096), (2, 64), (1, 7)])
def test_answers_are_those_of_transformers(design, max_rows, chunk):
    import torch

    from distill_studio.teachers.engine import Engine

    model = make(design)
    engine = Engine(model, {2}, max_rows=max_rows, chunk_tokens=chunk)
    answers = run(engine, PROMPTS)
    engine.close()
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        ids = torch.tensor([prompt])
        written = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=14,
            do_sample=False,
            pad_token_id=0,
        )[0, len(prompt) :].tolist()
        expected = "".join(f"{i} " for i in written if i != 2)
        assert answer == expected


def test_the_thread_ends_when_idle_and_starts_again(monkeypatch):
    from distill_studio.teachers.engine import Engine

    monkeypatch.setattr("distill_studio.teachers.engine._IDLE_S", 0.05)
    engine = Engine(make("llama"), {2})
    first = run(engine, PROMPTS[:1])
    for _ in range(1200):  # a minute
        if engine._thread is None:
            break
        threading.Event().wait(0.05)
    assert engine._thread is None
    assert run(engine, PROMPTS[:1]) == first
    engine.close()


def test_after_closing_requests_fail_and_do_not_hang():
    from distill_studio.teachers.engine import Engine

    engine = Engine(make("llama"), {2})
    engine.close()
    with pytest.raises(AssertionError, match="unloaded"):
        run(engine, PROMPTS[:1])


def test_a_nucleus_keeps_the_fewest_tokens_that_reach_top_p():
    import torch

    from distill_studio.teachers.sampling import RowSampler, next_tokens

    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()[None]
    sampler = RowSampler.seeded(1.0, 0.7, seed=3)
    drawn = [next_tokens(logits, [sampler])[0] for _ in range(1000)]
    assert set(drawn) == {0, 1}  # 0.5 + 0.3 reaches 0.7
    assert drawn.count(0) / len(drawn) == pytest.approx(0.5 / 0.8, abs=0.05)


def test_sampling_follows_the_probabilities_and_the_temperature():
    import torch

    from distill_studio.teachers.sampling import RowSampler, next_tokens

    logits = torch.tensor([0.6, 0.3, 0.1]).log()[None]
    for temperature, expected in ((1.0, [0.6, 0.3, 0.1]), (0.5, [0.783, 0.196, 0.022])):
        sampler = RowSampler.seeded(temperature, 1.0, seed=1)
        drawn = [next_tokens(logits, [sampler])[0] for _ in range(1500)]
        shares = [drawn.count(i) / len(drawn) for i in range(3)]
        assert shares == pytest.approx(expected, abs=0.05)


def test_flat_rows_look_beyond_the_likeliest_tokens():
    import torch

    from distill_studio.teachers.sampling import RowSampler, next_tokens

    flat = torch.zeros(1, 6000)
    sampler = RowSampler.seeded(1.0, 0.99, seed=0)
    drawn = {next_tokens(flat, [sampler])[0] for _ in range(200)}
    assert len(drawn) > 150


def test_a_rows_draw_does_not_depend_on_its_neighbours():
    import torch

    from distill_studio.teachers.sampling import RowSampler, next_tokens

    torch.manual_seed(0)
    logits = torch.randn(3, 500)

    def draw(rows):
        samplers = [RowSampler.seeded(0.8, 0.9, seed=7) for _ in rows]
        return [next_tokens(logits[rows], samplers) for _ in range(5)]

    assert [d[1] for d in draw([0, 1, 2])] == [d[0] for d in draw([1])]
