"""The rules of leaks against a slow reference that says them plainly."""

import json
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.curate.decontaminate.index import Hit, Item, LeakIndex, RowTexts, Rule
from distill_studio.curate.decontaminate.words import leak_words, mark_shared
from distill_studio.curate.text import normalise

WORDS = [f"w{k}" for k in range(40)]
QUESTION = " ".join(WORDS[:20])


def row(prompt, answer="", reasoning="", id="r"):
    return RowTexts(id, (prompt,), answer, reasoning)


def reference(items, rows):
    """Rule by rule, pair by pair: what the index must find."""
    found = {}
    asked = Counter(normalise(item.prompt) for item in items)
    for one in rows:
        pieces = (p for t in one.turns for p in (*t.split("\n"), *re.split(r"\n\s*\n", t)))
        lines = {normalise(piece) for piece in pieces}
        for number, item in enumerate(items):
            rules = [
                rule
                for item_side, text in (("prompt", item.prompt), ("answer", item.answer))
                for _, other in [*(("prompt", t) for t in one.turns), *one.sides()]
                if (rule := _rule(item_side, text, other))
            ]
            key = normalise(item.prompt)
            if 5 <= len(leak_words(item.prompt)) < 13 and key in lines and asked[key] == 1:
                rules.append(Rule.EXACT)
            if rules:
                found[one.id, number] = min(rules, key=list(Rule).index)
    return found


def _rule(item_side, text, other):
    a, b = leak_words(text), leak_words(other)
    if len(a) < 13:
        is_said = text.strip() if item_side == "prompt" else len(a) >= 6
        same = is_said and other.strip() and normalise(text) == normalise(other)
        return Rule.EXACT if same else None

    def shared(size):
        theirs = [b[k : k + size] for k in range(len(b) - size + 1)]
        return [k for k in range(len(a) - size + 1) if a[k : k + size] in theirs]

    if shared(13):
        return Rule.NGRAM
    places = {k + j for k in shared(8) for j in range(8)}
    return Rule.COVERAGE if len(places) > len(a) / 2 else None


# Few different words, so that runs are shared often; pieces of one text in another.
texts = st.lists(st.sampled_from(["a", "b", "c", "1", ",", "B.", "\n"]), max_size=30).map(" ".join)
pieces = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 22)).map(
        lambda ab: " ".join(WORDS[ab[0] : ab[0] + ab[1]])
    ),
    max_size=4,
).map(" x ".join)
any_text = texts | pieces


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.builds(Item, any_text, any_text), max_size=4),
    st.lists(st.tuples(any_text, any_text, any_text, any_text), max_size=4),
)
def test_the_index_finds_what_the_reference_finds(items, parts):
    rows = [RowTexts(str(k), (p, q), a, r) for k, (p, q, a, r) in enumerate(parts)]
    hits = LeakIndex(items).check(rows)
    assert {(hit.row, hit.item): hit.rule for hit in hits} == reference(items, rows)


def test_how_rows_are_batched_makes_no_difference():
    items = [Item(" ".join(WORDS[k : k + 15])) for k in range(0, 24, 3)]
    rows = [row(" ".join(WORDS[k : k + 20]), id=str(k)) for k in range(20)]
    index = LeakIndex(items)
    one_by_one = [hit for one in rows for hit in index.check([one])]
    assert len(one_by_one) > 20
    assert sorted(one_by_one, key=str) == sorted(index.check(rows), key=str)


def test_a_run_of_13_words_is_a_hit_and_12_are_none():
    items = [Item(" ".join(WORDS[:30]))]
    thirteen = row("before " + " ".join(WORDS[2:15]) + " after")
    twelve = row("before " + " ".join(WORDS[2:14]) + " after")
    assert LeakIndex(items).check([twelve]) == []
    [hit] = LeakIndex(items).check([thirteen])
    assert hit == Hit("r", 0, Rule.NGRAM, "prompt", "prompt", 13 / 30, (" ".join(WORDS[2:15]),))


def test_half_an_item_is_no_hit_and_more_than_half_is():
    spread = [*WORDS[:8], "x", *WORDS[8:16], "y", *WORDS[16:20]]
    assert LeakIndex([Item(" ".join(WORDS[:32]))]).check([row(" ".join(spread))]) == []
    [hit] = LeakIndex([Item(" ".join(WORDS[:31]))]).check([row(" ".join(spread))])
    assert hit.rule is Rule.COVERAGE
    assert hit.coverage == pytest.approx(16 / 31)


def test_coverage_counts_one_row_and_one_of_its_texts_only():
    items = [Item(" ".join(WORDS[:20]))]
    halves = [row(" ".join(WORDS[:10]), id="a"), row(" ".join(WORDS[10:20]), id="b")]
    assert LeakIndex(items).check(halves) == []
    assert LeakIndex(items).check([row(" ".join(WORDS[:10]), " ".join(WORDS[10:20]))]) == []


@pytest.mark.parametrize("side", ["prompt", "answer", "reasoning"])
def test_questions_and_known_answers_are_found_on_every_side(side):
    item = Item("What is this?", QUESTION)
    other = {"prompt": "q", "answer": "a", "reasoning": ""} | {side: f"So: {QUESTION}!"}
    [hit] = LeakIndex([item]).check([row(**other)])
    assert (hit.item_side, hit.row_side, hit.coverage) == ("answer", side, 1.0)


def test_short_items_must_be_the_whole_text_or_a_whole_turn():
    index = LeakIndex([Item("What is 2 + 2?", "4")])
    assert index.check([row("Tell me: what is 2 + 2?")]) == []
    assert index.check([row("What is 2 - 2?")]) == []
    assert index.check([row("Hello", "4")]) == []  # a short answer alone says nothing
    [hit] = index.check([row("what is 2 + 2")])
    assert (hit.rule, hit.row_side) == (Rule.EXACT, "prompt")
    turns = RowTexts("t", ("Hello", "Hi, what do you want?", "What is  2 + 2 ?"), "4")
    assert [hit.rule for hit in index.check([turns])] == [Rule.EXACT]


PLANET = "Which planet is known as the red planet?"


@pytest.mark.parametrize(
    "prompt",
    [
        f"{PLANET}\nA) Venus\nB) Mars\nC) Pluto\nD) Earth",
        f"Question: {PLANET.upper()}\nA. Venus\nB. Mars\nAnswer:",
        f"Answer with a letter.\n\n**Question 3:** {PLANET}\n\n(A) Venus",
        f"12) {PLANET} (A) Venus (B) Mars",
        f"# {PLANET}\n- Venus",
        "Choose.\n\nWhich planet is known\nas the red planet?\n\nA: Venus",
    ],
)
def test_short_questions_are_found_as_a_line_or_paragraph(prompt):
    [hit] = LeakIndex([Item(PLANET, "Mars")]).check([row(prompt, "B")])
    assert (hit.rule, hit.item_side, hit.row_side) == (Rule.EXACT, "prompt", "prompt")


def test_a_line_that_is_no_question_of_one_item_is_no_find():
    generic = "Which of the following is true?"
    index = LeakIndex([
        Item(PLANET),
        Item("Who is it?"),
        Item(generic),
        *[Item("What is it good at?")] * 2,
    ])
    for prompt in (
        f"{PLANET[:-1]} and why?\nA) Venus",
        f"I wonder: {PLANET}\nTell me.",  # within a line: others write such a thing, too
        "Who is it?\nA) Ann",  # too short to say anything
        f"{generic}\nA) Ann",
        "What is it good at?\nA) Ann",
    ):
        assert index.check([row(prompt)]) == [], prompt
    assert index.check([row("q", f"{PLANET}\nMars.")]) == []  # an answer is not asked
    assert [hit.item for hit in index.check([row(generic)])] == [2]  # all of it, as ever


def _prompts(folder):
    """Prompts of real data by set: two kinds of text to search, the others to ask."""

    def lines(name):
        return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]

    def whole(name):
        return json.loads((folder / name).read_text("utf-8"))

    chats = [one["conversations"] for one in whole("sharegpt_conversations.json")]
    return {
        "alpaca": [x["instruction"] for x in whole("alpaca_eval_gpt4_1106_preview.json")],
        "vicuna": [t for x in lines("vicuna_bench_questions.jsonl") for t in x["turns"]],
        "mt": [t for x in lines("mt_bench_questions.jsonl") for t in x["turns"]],
        "tasks": [x["instruction"] for x in lines("alpaca_seed_tasks.jsonl")],
        "chats": [m["value"] for chat in chats for m in chat if m["from"] == "human"],
        "gsm8k": [x["question"] for x in lines("gsm8k_train_2000.jsonl")],
    }


def test_on_real_prompts_lines_raise_no_false_alarm_and_find_what_is_planted(shared_data):
    prompts = _prompts(shared_data)
    rows = {kind: [row(text, id=text) for text in prompts[kind]] for kind in ("alpaca", "gsm8k")}
    short = 0
    for kind, questions in prompts.items():
        if kind == "gsm8k":
            continue
        index = LeakIndex([Item(text) for text in dict.fromkeys(questions)])
        for there, texts in rows.items():
            keys = {normalise(text) for text in questions}
            if there != kind:  # what is there whole is a find, and Vicuna's are in AlpacaEval
                found = {hit.row for hit in index.check(texts) if hit.rule is Rule.EXACT}
                assert {text for text in found if normalise(text) not in keys} == set()
        planted = [
            t for t in dict.fromkeys(questions) if 5 <= len(leak_words(t)) < 13 and "\n" not in t
        ]
        short += len(planted)
        asked = [row(f"Question: {t}\nA) Yes\nB) No\nAnswer:", id=t) for t in planted]
        assert {hit.row for hit in index.check(asked)} == set(planted)
    assert short > 400


@pytest.mark.parametrize(
    "disguised",
    [
        QUESTION.upper(),
        QUESTION.replace(" ", "\n\n"),
        QUESTION.replace(" ", ", "),
        QUESTION.replace("w1 ", "**w1** ").replace("w2", "_w2_"),
        QUESTION.replace("w12", "w1\u200b2"),
        QUESTION.replace("w", "\uff57"),  # full width
    ],
)
def test_case_space_punctuation_and_unseen_signs_hide_nothing(disguised):
    [hit] = LeakIndex([Item(QUESTION)]).check([row(disguised)])
    assert (hit.rule, hit.coverage) == (Rule.NGRAM, 1.0)


def test_accents_written_in_two_ways_are_the_same():
    text = " ".join(f"caf\u00e9{k}" for k in range(14))
    assert LeakIndex([Item(text)]).check([row(text.replace("\u00e9", "e\u0301"))])


def test_chinese_needs_no_spaces():
    text = "小明有五个苹果他又买了三个苹果请问他现在一共有几个"
    assert LeakIndex([Item(text)]).check([row("请回答:" + text)])


def test_nothing_against_nothing():
    assert LeakIndex([]).check([row("a b c")]) == []
    assert LeakIndex([Item("", "")]).check([row("", "")]) == []
    assert LeakIndex([Item(QUESTION)]).check([]) == []


def test_marks_are_the_shared_words_and_the_text_stays_whole():
    text = f"Before, {QUESTION}. <b>After</b>"
    pieces = mark_shared(text, QUESTION.upper())
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.text for piece in pieces if piece.where == "both"] == [QUESTION]


def test_marks_of_short_texts():
    assert [p.where for p in mark_shared("What is this?", "what is THIS")] == ["both", "left"]
    assert [p.where for p in mark_shared("", "what")] == []
    assert [p.where for p in mark_shared("what", "")] == ["left"]
