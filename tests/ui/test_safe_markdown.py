"""Hostile text becomes harmless HTML, in bounded time, and no text is lost."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_studio.ui.safe_markdown import LONGEST_PARSED, plain, render

TAG_NAMES = (
    "p br hr h1 h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li a"
    " table thead tbody tr th td"
)
ALLOWED = set(TAG_NAMES.split())


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
    ["[", "![", "*a ", "_a", "> ", "- ", "<", "[a](", "~~", "|a", "**a*b", "`a``b```"],
)
def test_hostile_repetition_takes_bounded_time(unit):
    text = (unit * LONGEST_PARSED)[:LONGEST_PARSED]
    started = time.process_time()
    assert_harmless(render(text))
    assert time.process_time() - started < 10


def test_a_megabyte_takes_bounded_time():
    text = "[x](javascript:alert(1)) **b** <script>\n" * 26_000
    started = time.process_time()
    markup = render(text)
    assert time.process_time() - started < 1
    assert "<script" not in markup
    assert Page(markup).text == text
