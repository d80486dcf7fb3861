import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.generate.prompts import Option, Prompts, PromptText, fill

FILE = Prompts(
    name="toy",
    version="1",
    label="Toy",
    summary="For tests.",
    texts=(
        PromptText(name="ask", label="Ask", text="Rewrite ${prompt} in ${count} words."),
        PromptText(name="end", label="End", text="Thanks."),
    ),
    options=(
        Option(name="rounds", label="Rounds", default=2, minimum=1, maximum=4),
        Option(name="limit", label="Limit", default=0.7, minimum=0, maximum=1, is_whole=False),
        Option(name="kind", label="Kind", default="both", choices=("deepen", "widen", "both")),
    ),
)


def test_values_are_filled_in_as_they_are() -> None:
    assert fill("A ${x} B ${y} $5 {z}", x="${y}", y=r"\1") == r"A ${y} B \1 $5 {z}"
    with pytest.raises(KeyError):
        fill("${missing}")


def test_edited_texts_change_the_version_and_back_again() -> None:
    edited = FILE.with_texts({"end": "Bye."})
    assert edited.version.startswith("1-edited-")
    assert [text.text for text in edited.texts] == [FILE.texts[0].text, "Bye."]
    assert FILE.with_texts({"end": "Thanks."}) == FILE
    assert FILE.with_texts({"end": "Hi."}).version != edited.version


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"ask": "Rewrite ${prompt}."}, r"must hold \$\{count\}"),
        ({"ask": "${prompt} ${count} ${colour}"}, r"asks for \$\{colour\}"),
        ({"end": " \n"}, "is empty"),
        ({"other": "x"}, "no text 'other'"),
    ],
)
def test_a_text_that_cannot_work_is_refused(texts: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        FILE.with_texts(texts)


def test_options_are_checked_and_filled_up() -> None:
    assert FILE.chosen({}) == {"rounds": 2, "limit": 0.7, "kind": "both"}
    chosen = FILE.chosen({"rounds": 3.0, "kind": "widen"})
    assert chosen == {"rounds": 3, "limit": 0.7, "kind": "widen"}
    assert isinstance(chosen["rounds"], int)
    for values, said in (
        ({"rounds": 9}, "outside 1 to 4"),
        ({"rounds": "two"}, "must be a number"),
        ({"kind": "sideways"}, "choose of deepen, widen, both"),
        ({"colour": 1}, "no option 'colour'"),
    ):
        with pytest.raises(InvalidInput, match=said):
            FILE.chosen(values)
