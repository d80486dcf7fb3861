"""WCAG 2.2 contrast of what the benches and the agreement tables show, from theme and style sheets.

1.4.3 asks for 4.5 to 1 for text, 1.4.11 for 3 to 1 for what marks the focus. The relative luminance
and the ratio are those of WCAG (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
"""

from __future__ import annotations

import re

import pytest

from distill_studio.ui.panels.ranking_html import MOST_SHADE
from distill_studio.ui.theme import css, theme

Colour = tuple[float, float, float, float]  # red, green, blue, opacity, each 0 to 1
MODES = ("light", "dark")
NAMED = {"white": "#ffffff", "black": "#000000"}
CARD, PAGE, PANE = "--block-background-fill", "--body-background-fill", "--background-fill-primary"


def _rules(sheet: str) -> list[tuple[str, dict[str, str]]]:
    """Selector and declarations of every rule, in order; those inside @media as well."""
    bare = re.sub(r"/\*.*?\*/", "", sheet, flags=re.DOTALL)
    found = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", bare):
        pairs = (line.split(":", 1) for line in body.split(";") if ":" in line)
        declared = {name.strip(): value.strip() for name, value in pairs}
        found += [(s.strip(), declared) for s in re.split(r",(?![^(]*\))", selectors)]
    return found


RULES = _rules(theme()._get_theme_css() + css())


def _variables(mode: str) -> dict[str, str]:
    parts = (":root",) if mode == "light" else (":root", ":root.dark", ":root .dark", ".dark")
    found: dict[str, str] = {}
    for part in parts:
        for selector, declared in RULES:
            if selector == part:
                found |= {k: v for k, v in declared.items() if k.startswith("--")}
    return found


VARIABLES = {mode: _variables(mode) for mode in MODES}


def declared(selector: str, name: str) -> str:
    """What the sheets say last of a property of exactly this selector."""
    values = [d[name] for s, d in RULES if s == selector and name in d]
    assert values, f"no rule {selector} declares {name}"
    return values[-1].removesuffix("!important").strip()


def colour(value: str, mode: str) -> Colour:
    """A CSS colour: names, #hex, var(), color-mix with transparent."""
    value = NAMED.get(value, value)
    if variable := re.fullmatch(r"var\((--[\w-]+)(?:,.*)?\)", value):
        return colour(VARIABLES[mode][variable[1]], mode)
    if mix := re.fullmatch(r"color-mix\(in srgb, (.+) (\d+)%, transparent\)", value):
        *rgb, opacity = colour(mix[1], mode)
        return rgb[0], rgb[1], rgb[2], opacity * int(mix[2]) / 100
    digits = re.fullmatch(r"#([0-9a-f]{3}|[0-9a-f]{6})", value.lower())
    assert digits, f"{value} is no colour"
    full = digits[1] if len(digits[1]) == 6 else "".join(2 * d for d in digits[1])
    red, green, blue = (int(full[n : n + 2], 16) / 255 for n in (0, 2, 4))
    return red, green, blue, 1.0


def over(top: Colour, below: Colour) -> Colour:
    """A colour laid over an opaque one."""
    red, green, blue = (top[n] * top[3] + below[n] * (1 - top[3]) for n in range(3))
    return red, green, blue, 1.0


def luminance(shown: Colour) -> float:
    """Relative luminance, 0 to 1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shown[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def ratio(text: str, *layers: str, mode: str) -> float:
    """Contrast of text on its layers, the uppermost first, the last one opaque."""
    ground = colour(layers[-1], mode)
    for layer in reversed(layers[:-1]):
        ground = over(colour(layer, mode), ground)
    lighter, darker = sorted(
        (luminance(over(colour(text, mode), ground)), luminance(ground)), reverse=True
    )
    return (lighter + 0.05) / (darker + 0.05)


def var(name: str) -> str:
    return f"var({name})"


def test_the_ratio_is_that_of_the_standard() -> None:
    assert ratio("black", "white", mode="light") == pytest.approx(21)
    assert ratio("#777777", "white", mode="light") == pytest.approx(4.48, abs=0.005)


BODY, SUBDUED = var("--body-text-color"), var("--body-text-color-subdued")
SHADE = {
    side: declared(f".ag-rate.{side}", "background").replace("var(--ag-shade)", f"{MOST_SHADE}%")
    for side in ("good", "bad")
}
INS, DEL = (declared(f".ds-diff {tag}", "background") for tag in ("ins", "del"))
CHANGED = declared(".ds-diff :is(ins, del)", "color")


def look(selector: str, *ground: str) -> tuple[str, ...]:
    """Text colour of a selector, then its own background or the one given."""
    return declared(selector, "color"), *(ground or (declared(selector, "background"),))


ON_CARD, ON_PAGE = var(CARD), var(PAGE)
TEXTS = {
    "win rate, 100%": look(".ag-rate small", SHADE["good"], ON_CARD),
    "win rate, 0%": look(".ag-rate small", SHADE["bad"], ON_CARD),
    "primary button": ("white", var("--button-primary-background-fill")),
    "primary button, hovered": ("white", var("--button-primary-background-fill-hover")),
    "primary button of a bench": look(".ds-act.primary"),
    "added, on a card": (CHANGED, INS, ON_CARD),
    "removed, on a card": (CHANGED, DEL, ON_CARD),
    "added, in a pane": (CHANGED, INS, var(PANE)),
    "removed, in a pane": (CHANGED, DEL, var(PANE)),
    "unchanged, while editing": look(".ds-editor .ds-diff", ON_CARD),
    "tag": (*look(".ds-tag"), ON_CARD),
    "chip": look(".ds-chip", ON_CARD),
    "link on a card": (var("--link-text-color"), ON_CARD),
    "visited link on a card": (var("--link-text-color-visited"), ON_CARD),
    "hovered link on a card": (var("--link-text-color-hover"), ON_CARD),
    "link in rendered text": look(".ds-rendered a", ON_CARD),
    "link-like button": look(".ds-link", ON_PAGE),
    "placeholder": (var("--input-placeholder-color"), var("--input-background-fill")),
    "key": look(".ds-bench kbd"),
    "note on a card": (SUBDUED, ON_CARD),
    "note on the page": (SUBDUED, ON_PAGE),
    "body on a card": (BODY, ON_CARD),
    "accept": look(".ds-act.good", declared(".ds-act", "background")),
    "reject": look(".ds-act.bad", declared(".ds-act", "background")),
}
for state in ("saved", "saving", "stuck", "refused"):
    TEXTS[f"save state, {state}"] = look(f".ds-save[data-state={state}]", ON_PAGE)
for kind in ("good", "bad", "warn", "info"):
    TEXTS[f"chip, {kind}"] = look(f".ds-chip.{kind}", ON_CARD)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", TEXTS)
def test_text_can_be_read(what: str, mode: str) -> None:
    text, *layers = TEXTS[what]
    assert round(ratio(text, *layers, mode=mode), 2) >= 4.5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ground", [CARD, PAGE])
def test_the_focus_can_be_seen(ground: str, mode: str) -> None:
    outline = declared(":focus-visible", "outline").split()[-1]
    assert ratio(outline, var(ground), mode=mode) >= 3


def test_what_an_edit_changed_is_not_told_by_colour_alone() -> None:
    assert declared(".ds-diff ins", "text-decoration") == "underline"
    assert declared(".ds-diff del", "text-decoration") == "line-through"
    assert declared(".ds-diff ins::before", "content") == '" added: "'
    assert declared(".ds-diff del::before", "content") == '" removed: "'
