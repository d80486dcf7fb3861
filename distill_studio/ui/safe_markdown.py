"""Model text as HTML. The one place where untrusted Markdown becomes markup.

`render` parses with markdown-it-py (raw HTML off), then nh3 keeps what an allow-list names. The
result holds no `$`, brace, backtick or backslash as such (they are character references), so it
cannot be evaluated where a page template is a JavaScript template literal.
"""

import html
import re
from collections.abc import Sequence

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from distill_studio.ui import math_rules, mathml

LONGEST_PARSED = 40_000  # characters; parsing is not linear in hostile text, escaping is
_DEEPEST = 40  # levels; what lies deeper the parser would drop
_TAG_NAMES = (
    "p br hr h1 h2 h3 h4 h5 h6 strong em s code pre blockquote ul ol li a"
    " table thead tbody tr th td"
)
_TAGS = set(_TAG_NAMES.split()) | mathml.TAGS
_ATTRIBUTES = {"a": {"href", "title"}, "code": {"class"}, "ol": {"start"}} | mathml.ATTRIBUTES
_CODE_CLASS = re.compile(r"language-[\w+#.-]{1,40}|math")
_TEMPLATE_SIGNS = str.maketrans({c: f"&#{ord(c)};" for c in "${}`\\"})


def render(markdown: str) -> str:
    """HTML that may stand in a page whatever the text was.

    CommonMark with tables, strikethrough and mathematics (as MathML); single line breaks stay.
    Images become their address as text, links keep only http, https and mailto. A text over
    `LONGEST_PARSED` characters is shown as it is, escaped, so that the time stays bounded.
    """
    text = markdown.encode("utf-8", "replace").decode("utf-8")  # lone surrogates become "?"
    if len(text) > LONGEST_PARSED:
        return plain(text)
    env: EnvType = {}
    tokens = _PARSER.parse(text, env)
    if any(token.level >= _DEEPEST - 2 for token in tokens):
        return plain(text)
    clean = nh3.clean(
        str(_PARSER.renderer.render(tokens, _PARSER.options, env)),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        attribute_filter=_keep_attribute,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"a": {"target": "_blank"}},
        strip_comments=True,
    )
    return clean.translate(_TEMPLATE_SIGNS)


def plain(text: str) -> str:
    """The text itself in a `<pre>`, escaped, line breaks kept."""
    safe = html.escape(text.encode("utf-8", "replace").decode("utf-8"))
    return f"<pre>{safe.translate(_TEMPLATE_SIGNS)}</pre>"


def _keep_attribute(tag: str, name: str, value: str) -> str | None:
    if tag == "code" and name == "class":
        return value if _CODE_CLASS.fullmatch(value) else None
    if tag in mathml.TAGS:
        return value if mathml.is_allowed(tag, name, value) else None
    return value


def _image_as_text(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: EnvType,
) -> str:
    token = tokens[index]
    return html.escape(f"{token.content} ({token.attrGet('src') or ''})".strip())


def _parser() -> MarkdownIt:
    options = {
        "html": False,
        "linkify": False,
        "typographer": False,
        "breaks": True,
        "maxNesting": _DEEPEST,
    }
    parser = MarkdownIt("commonmark", options)
    parser.enable(["table", "strikethrough"])
    parser.add_render_rule("image", _image_as_text)
    math_rules.add_to(parser)
    return parser


_PARSER = _parser()
