"""Hostile text becomes harmless HTML, in bounded time, and no text is lost."""

import json
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.ui import mathml
from distill_studio.ui.safe_markdown import LONGEST_PARSED, plain, render

TAG_NAMES = (
    "p br hr h1 h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li a"
    " table thead tbody tr th td"
)
MATHS = (
    "math mrow mi mn mo ms mtext mspace mstyle mphantom mpadded mfrac msqrt mroot msub msup msubsup"
    " munder mover munderover mtable mtr mtd"
)
ALLOWED = set(TAG_NAMES.split()) | set(MATHS.split())
MATHS_VALUE = re.compile(
    r"true|false|left|right|center|prefix|postfix|infix|normal|inline|block|math-boxed"
    r"|[+-]?\d(\.\d+)?(em)?"
)


class Page(HTMLParser):
    """Collects tags, attributes and text the way a browser would read them."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data):
        self.text += data


def assert_harmless(markup: str) -> Page:
    page = Page(markup)
    assert page.tags <= ALLOWED
    for tag, name, value in page.attributes:
        if tag in MATHS.split():
            assert name not in {"href", "style", "id"}
            assert MATHS_VALUE.fullmatch(value), (tag, name, value)
            continue
        assert (tag, name) in {
            ("a", "href"), ("a", "title"), ("a", "rel"), ("a", "target"),
            ("code", "class"), ("ol", "start"),
        }  # fmt: skip
        if name == "href":
            assert re.match(r"(?i)(https?:|mailto:)", value)
    assert not set("${}`\\") & set(markup)
    return page


HOSTILE = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil></sCrIpT >",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><animate onbegin=alert(1)></svg>",
    "<svg><style><img src=x onerror=alert(1)></style></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=1>'>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<a href='javascript:alert(1)'>x</a>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](<java\nscript:alert(1)>)",
    "[x](vbscript:msgbox)",
    "[x](data:text/html;base64,PHNjcmlwdD4=)",
    "[x](data:image/png;base64,AA)",
    "[x](//evil.example/a)",
    "[x](file:///etc/passwd)",
    "<javascript:alert(1)>",
    '[x](https://a.b "t\\" onmouseover=\\"alert(1)")',
    "![x](https://tracker.example/p.png)",
    "![x](javascript:alert(1))",
    "[![x](https://t.example/p.png)](https://a.b)",
    "![a][r]\n\n[r]: https://tracker.example/q.png",
    "${7*7}",
    "{{x}} {{#each a}} ${alert(1)} `${1}`",
    "`` ` ${x} \\` ``",
    '```html" onload=alert(1) x="\n<b>\n```',
    '```"><script>alert(1)</script>\nx\n```',
    "<div style='position:fixed;inset:0' id=btn-accept class=ds-button>Accept</div>",
    "<b><i><u><table><td><pre>unclosed",
    "<<<<script>>>>alert(1)<</script>",
    "<!-- --><![CDATA[ <script>1</script> ]]><?php echo 1 ?>",
    "a\x00b\ud800c\u202etxt\ufeff",
    "</div></div></body></html><script>alert(1)</script>",
    "| a | <img src=x onerror=1> |\n|:--|--:|\n| ${1} | ![x](http://y/z.png) |",
    "<style>@import url(//evil)</style><link rel=stylesheet href=//evil><base href=//evil>",
    "<form action=//evil><input name=password><button>Log in</button></form>",
    r"$\text{<script>alert(1)</script>}$ \(\mbox{<img src=x onerror=alert(1)>}\)",
    r"$\text{&lt;script&gt;alert(1)&lt;/script&gt;&#x3C;b>}$",
    r"$\href{javascript:alert(1)}{x}$ \[\href{https://evil.example}{y}\]",
    r"$\style{position:fixed;inset:0}{x}$ $\class{ds-button}{x}$ $\cssId{btn-accept}{x}$",
    r"$\color{white}{x}$ $\rule{9999px}{9999px}$ $\hspace{9999em}x$ $\mspace{99em}$",
    r'$\text{"><svg onload=alert(1)>}$ $\style{" onclick="alert(1)}{x}$',
    r"\[\text{</math><script>alert(1)</script>}\] $$\verb|<script>|$$",
    r"$\text{<mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=1>'>}$",
    "\\begin{align}\n<script>alert(1)</script> &= ${7*7}\n\\end{align}",
    r"\(\def\a{\b\b}\def\b{\c\c}\def\c{\d\d}\a\) \(\newcommand{\x}{\x\x}\x\)",
    "$$ \\frac{1}{ $$ \\[ \\begin{matrix} \\] $a^b^c$ $\\left( x$ $}{$ $\\$",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_harmless(text):
    assert_harmless(render(text))
    assert_harmless(plain(text))


@given(
    st.lists(
        st.one_of(
            st.sampled_from(HOSTILE),
            st.text(max_size=40),
            st.sampled_from(["\n", "\n\n", "> ", "* ", "```", "~~", "|", "[", "](", "<", "&#x3C;"]),
            st.sampled_from(["$", "$$", "\\(", "\\)", "\\[", "\\]", "\\\\", "\\text{", "}", "^"]),
            st.sampled_from([
                "\\begin{align}",
                "\\end{align}",
                "\\frac",
                "{",
                "&",
                "x",
                " ",
                "\\href{",
            ]),
        ),
        max_size=12,
    ).map("".join)
)
@settings(max_examples=150, deadline=None)
def test_any_mixture_is_harmless(text):
    assert_harmless(render(text))


def test_what_is_meant_to_work_works():
    page = assert_harmless(
        render(
            "# Title\n\n**bold** *em* ~~gone~~ [link](https://a.b/c?d=1&e=2)\n\n3. three\n\n"
            "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint(f'{x}')\n```\n"
        )
    )
    assert {"h1", "strong", "em", "s", "a", "ol", "li", "table", "td", "pre", "code"} <= page.tags
    assert ("a", "href", "https://a.b/c?d=1&e=2") in page.attributes
    assert ("a", "rel", "noopener noreferrer nofollow") in page.attributes
    assert ("code", "class", "language-python") in page.attributes
    assert ("ol", "start", "3") in page.attributes
    assert "print(f'{x}')" in page.text


def test_the_lines_of_a_poem_stay_lines():
    page = assert_harmless(render("An old silent pond\nA frog jumps in\nSplash\n\n- a\n- b"))
    assert render("a\nb").count("<br>") == 1
    assert {"br", "p", "li"} <= page.tags


def test_image_becomes_its_address():
    page = assert_harmless(render("before ![a cat](https://img.example/cat.png) after"))
    assert "a cat (https://img.example/cat.png)" in page.text
    assert "https://img.example/cat.png" in Page(render("![](https://img.example/cat.png)")).text


def test_template_signs_show_as_themselves():
    assert Page(render("cost ${7*7} and {{x}}")).text.strip() == "cost ${7*7} and {{x}}"


def test_plain_shows_the_text_itself():
    text = "<think>\n  2 < 3 & `x`\n</think>"
    assert Page(plain(text)).text == text


@pytest.mark.parametrize(
    "text", [">" * 500 + " deep", "\n".join("  " * i + "- item" for i in range(300)) + " deep"]
)
def test_deep_nesting_loses_no_text(text):
    assert "deep" in assert_harmless(render(text)).text


@pytest.mark.parametrize(
    "unit",
    [
        "[", "![", "*a ", "_a", "> ", "- ", "<", "[a](", "~~", "|a", "**a*b", "`a``b```",
        "$", "$a", "$a$ ", "$$", "$$a\n", "\\(", "\\(a\\) ", "\\[\n", "> \\[ ", "\\begin{align}\n",
        "$\\frac{", "\\(\\sqrt", "$" + "{" * 29 + "x" + "}" * 29 + "$ ", "$\\text{",
        "$" + "\\sqrt" * 300 + "x$ ", "$" + "\\left(" * 90 + "$ ", "$" + "x^" * 900 + "y$ ",
    ],
)  # fmt: skip
def test_hostile_repetition_takes_bounded_time(unit):
    text = (unit * LONGEST_PARSED)[:LONGEST_PARSED]
    started = time.process_time()
    assert_harmless(render(text))
    assert time.process_time() - started < 30  # about one on a quick machine


def drawn(tex: str) -> list[str]:
    """Text of each formula in the HTML of a text."""
    found = re.findall(r"<math[^>]*>(.*?)</math>", render(tex), re.DOTALL)
    return [re.sub(r"\s+", "", Page(each).text) for each in found]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        (r"so \(x = \frac{a}{b}\).", ["x=ab"]),
        ("$a*b*c$ and *d*", ["a*b*c"]),
        ("$x_1$, $y_2$", ["x1", "y2"]),
        ("so:\n\\[\n- b \\pm c\n\\]\nend", ["\u2212b\u00b1c"]),
        ("$$\nx\n$$", ["x"]),
        ("so $$x$$ and", ["x"]),
        (r"\[ a = b \\ c = d \]", ["a=bc=d"]),
        ("\\begin{align*}\na &= b \\\\\nc &= d\n\\end{align*}", ["a=bc=d"]),
        (r"$\begin{aligned} a &= b \\ c &= d \end{aligned}$", ["a=bc=d"]),
        ("- item\n  \\[ x \\]\n- $y$", ["x", "y"]),
        ("> \\[\n> x\n> \\]", ["x"]),
        ("| $a$ |\n|--|\n| $b$ |", ["a", "b"]),
        ("设$x^2$为实数，和$b_1$，其中$c*d*e$。", ["x2", "b1", "c*d*e"]),
        (r"$100 * 2 = 200$ and $50% + x$", ["100*2=200", "50%+x"]),
    ],
)
def test_formulas_are_drawn(text, formulas):
    assert_harmless(render(text))
    assert drawn(text) == formulas


def test_a_formula_is_markup_that_a_browser_draws():
    assert "<mo>±</mo>" in render(r"$a \pm b$")
    assert '<mo stretchy="false">⌊</mo>' in render(r"$\lfloor x \rfloor$")
    assert '<mtable displaystyle="true">' in render(r"\[\begin{aligned} a &= b \end{aligned}\]")
    markup = render(r"\(x = \frac{a}{b}\) and \[\boxed{42}\]")
    assert '<math display="inline"><mrow><mi>x</mi><mo>=</mo><mfrac>' in markup
    assert '<math display="block"><mrow><mrow class="math-boxed">' in markup


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $6", "It costs $5, or 6$ in all", "US$5-$6", "$20 million and about $30",
        "cost ${7*7} and {{x}}", "$HOME/$PATH", "a $ b $ c", "I paid $3 (or 4$)", "$ 5 $", "$$ $$",
        "$7 each, so 5*7=$35", "6+2=$<<6+2=8>>8 less 8-3=$<<8-3=5>>5", "x=$5\ny=$",
        "It is $80 for condiments (of 300+80$).",
    ],
)  # fmt: skip
def test_money_and_names_are_no_maths(text):
    assert Page(render(text)).text.strip() == text


@pytest.mark.parametrize(
    "text",
    [
        r"$\unknown{x}$", r"$\frac{1}{$", r"\(a^b^c\)", r"$\def\a{\a\a}\a$", r"$\cancel{x}$",
        "$" + "{" * 40 + "}" * 40 + "$", r"\[\text{a\]",
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_stays_as_it_was_written(text):
    page = assert_harmless(render(text))
    assert page.text.strip() == text
    assert ("code", "class", "math") in page.attributes


def test_school_problems_about_money_hold_no_formula(shared_data):
    """GSM8K is full of dollar signs and has no TeX."""
    lines = (shared_data / "gsm8k_train_2000.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[:500]]
    made = [render(f"{row['question']}\n\n{row['answer']}") for row in rows]
    assert [m for m in made if "<math" in m or 'class="math"' in m] == []


@pytest.mark.parametrize("text", ["`$x$` ``\\(x\\)``", "```\n$x$\n\\[x\\]\n```", "    $$x$$"])
def test_code_is_no_maths(text):
    assert "<math" not in render(text)


@given(st.text(alphabet="\\{}[]()^_&%$ab1<>'\"#~|.\n ", max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_tex_is_drawn_or_refused(tex):
    try:
        markup = mathml.from_tex(tex)
    except mathml.NotMaths:
        return
    assert_harmless(markup.translate({ord(c): None for c in "${}`\\"}))


def test_a_megabyte_takes_bounded_time():
    text = "[x](javascript:alert(1)) **b** <script>\n" * 26_000
    started = time.process_time()
    markup = render(text)
    assert time.process_time() - started < 1
    assert "<script" not in markup
    assert Page(markup).text == text
