"""What should not be published: addresses, numbers of people and accounts, keys, passwords.

Found in all turns, reasoning and answers by few careful patterns; numbers of cards and accounts
must have the right check digits. Examples that stand for nobody (example.org, Stripe's test card)
do not count. At first the filter only warns: it counts and shows the rows. The store keeps a masked
note, never the find itself.
"""

import re
from collections.abc import Iterator
from typing import Literal

from distill_studio.curate.filters.base import (
    Answer,
    Filter,
    FilterConfig,
    Limit,
    Measured,
    setting,
)

Kind = Literal["email", "phone", "iban", "card", "secret"]
KINDS: dict[str, str] = {
    "email": "E-mail addresses",
    "phone": "Phone numbers",
    "iban": "Bank accounts (IBAN)",
    "card": "Payment cards",
    "secret": "Keys and passwords",
}
_NAMES = {
    "email": "an e-mail address",
    "phone": "a phone number",
    "iban": "a bank account",
    "card": "a payment card",
    "secret": "a key or password",
}
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@((?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24})(?![\w-])")
_FOR_EXAMPLES = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local)(?:\.[a-z]{2,3}){0,2}$"
    r"|^(?:(?:your|my|some)?(?:domain|company|e?mail|site|website|organization)|email|abc|xyz)\.",
    re.IGNORECASE,
)
_IN_ADDRESS = re.compile(r"://[^\s/@]{1,64}:\Z")  # user:password@host
_PHONE = re.compile(  # with a country code or the North American form; else too much is a number
    r"(?<![\w+.])\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?![\w-])"
    r"|(?<![\w+.(-])\(?[2-9]\d{2}\)?[ .-][2-9]\d{2}[.-]\d{4}(?![\w-])"
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?!\w)")
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_CARD_NUMBER = re.compile(  # Visa, Mastercard, Discover, JCB; American Express; Diners
    r"4(?:\d{12}|\d{15}|\d{18})|(?:5[1-5]|2[2-7]|65|35)\d{14}|6011\d{12}|3[47]\d{13}|3[068]\d{12}"
)
_TEST_CARDS = {"4111111111111111", "4242424242424242", "5555555555554444", "378282246310005"}
_SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----"
    r"|(?<![A-Za-z0-9])(?:"
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{60,}"
    r"|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeprs]-[A-Za-z0-9-]{20,}"  # Slack
    r"|sk-(?=[A-Za-z_-]{0,64}\d)(?:proj-|ant-|or-)?[A-Za-z0-9_-]{32,}"  # OpenAI and others
    r"|hf_[A-Za-z0-9]{30,}"
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|(?:sk|rk)_live_[A-Za-z0-9]{20,}"  # Stripe
    r"|SG\.[A-Za-z0-9_-]{20,99}\.[A-Za-z0-9_-]{20,}"  # SendGrid
    r"|(?:npm_|pypi-)[A-Za-z0-9_-]{36,}"
    r"|eyJ[A-Za-z0-9_-]{10,999}\.eyJ[A-Za-z0-9_-]{10,4000}\.[A-Za-z0-9_-]{20,}"  # JSON Web Token
    r")(?![A-Za-z0-9])"
    r"|(?<=://)[^\s:/@]{1,64}:[^\s:/@]{6,64}(?=@[\w.-]+)"  # a password in an address
)
_ASSIGNED = re.compile(  # password = "..." in code and settings
    r"(?i:\b(?:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|passw(?:or)?d)"
    r"[\"']?\s{0,3}[:=]\s{0,3}[\"'])([^\s\"']{16,128})[\"']"
)
_PLACEHOLDER = re.compile(
    r"(?i:example|sample|dummy|change|your|my[_-]|insert|replace|placeholder|xxxx|\.\.\.|<|\$|\{|1234"
    r"|abcdef|password|secret|token)"
)


class PrivacyConfig(FilterConfig):
    """What counts, and whether it drops a row or only warns."""

    kind: Literal["privacy"] = "privacy"
    action: Literal["warn", "drop"] = setting(
        "warn",
        "Rows with a find",
        choices={"warn": "Count and show them, drop none", "drop": "Drop them"},
    )
    kinds: tuple[Kind, ...] = setting(
        tuple(KINDS),
        "What to look for",
        "In all turns, the system's too, in reasoning and answers.",
        choices=KINDS,
    )

    @property
    def only_warns(self) -> bool:
        """True until rows are to go."""
        return self.action == "warn"

    def limits(self) -> tuple[Limit, ...]:
        """None of the chosen kinds may be there."""
        return tuple(
            Limit(f"privacy.{kind}", maximum=0.0, why_high=f"{_NAMES[kind]}: {{note}}")
            for kind in self.kinds
        )


def measure(answer: Answer) -> dict[str, Measured]:
    """How many of each kind; kinds that are not there are left out."""
    found: dict[str, list[str]] = {}
    for text in (answer.text, answer.prompt, answer.context):
        for kind, value in finds(text):
            found.setdefault(f"privacy.{kind}", []).append(value)
    return {
        name: Measured(float(len(set(values))), masked(values[0])) for name, values in found.items()
    }


def finds(text: str) -> Iterator[tuple[Kind, str]]:
    """Each find with its kind."""
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _FOR_EXAMPLES.search(match[1]) and not _IN_ADDRESS.search(
                text[max(0, match.start() - 80) : match.start()]
            ):
                yield "email", match[0]
    yield from (("secret", value) for value in _secrets(text))
    if not any("0" <= sign <= "9" for sign in text):
        return
    yield from (("phone", match[0]) for match in _PHONE.finditer(text) if _is_phone(match[0]))
    yield from (("iban", match[0]) for match in _IBAN.finditer(text) if is_iban(match[0]))
    yield from (("card", match[0]) for match in _CARD.finditer(text) if is_card(match[0]))


def masked(value: str) -> str:
    """A find as it may be shown and stored: its beginning and its length."""
    if value.startswith("-----"):
        return "a private key"
    shown = 3 if len(value) > 8 else 1
    return f"{value[:shown]}… ({len(value)} characters)"


def is_iban(value: str) -> bool:
    """True when the check digits are right (ISO 7064, MOD 97-10)."""
    text = value.replace(" ", "")
    if not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in text[4:] + text[:4])) % 97 == 1


def is_card(value: str) -> bool:
    """True for the number ranges of the large issuers with a right check digit (Luhn)."""
    digits = re.sub(r"\D", "", value)
    if not _CARD_NUMBER.fullmatch(digits) or digits in _TEST_CARDS or len(set(digits)) < 4:
        return False
    doubled = (int(d) * (1 + k % 2) for k, d in enumerate(reversed(digits)))
    return sum(n - 9 if n > 9 else n for n in doubled) % 10 == 0


def _is_phone(value: str) -> bool:
    """Not the numbers of films (555-01xx) and of examples, and of a phone's length."""
    digits = re.sub(r"\D", "", value)
    is_made_up = "555" in digits[-10:-4] or "123456" in digits or len(set(digits)) < 4
    return 9 <= len(digits) <= 15 and not is_made_up


def _secrets(text: str) -> Iterator[str]:
    yield from (
        match[0] for match in _SECRET.finditer(text) if not _PLACEHOLDER.search(match[0][3:])
    )
    for match in _ASSIGNED.finditer(text):
        value = match[1]
        has_both = re.search(r"[A-Za-z]", value) and re.search(r"\d", value)
        if has_both and not _PLACEHOLDER.search(value) and not _SECRET.search(value):
            yield value


PRIVACY = Filter(
    PrivacyConfig,
    "Personal data and secrets",
    "Addresses, phone and account numbers, keys.",
    2,
    measure,
)
