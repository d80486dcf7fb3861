"""What counts as personal data or a secret, and what does not."""

import pytest

from distill_studio.curate.filters import PrivacyConfig, first_drop, judge, measure_all
from distill_studio.curate.filters.base import Answer
from distill_studio.curate.filters.privacy import finds, is_card, is_iban, masked, measure

KEY = "gh" + "p_" + "Zq8Lm2Nw" * 5  # put together here, so that no scanner takes it for real


def kinds(text):
    return [kind for kind, _ in finds(text)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to jane.doe@firma.de today.", "email"),
        ("Call +49 30 2345 6789 now.", "phone"),
        ("Call (415) 867-5309.", "phone"),
        ("Pay to DE89 3704 0044 0532 0130 00, please.", "iban"),
        ("Pay to GB82WEST12345698765432.", "iban"),
        ("Card 4539 1488 0343 6467, thanks", "card"),
        (f"token = {KEY}", "secret"),
        ("AKIA" + "Q3EGRZ7MLWX2PTYN", "secret"),
        ("sk-proj-" + "Zq8Lm2Nw" * 5, "secret"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE", "secret"),
        ("postgres://admin:h7Gq2LpZ@db.firma.de/shop", "secret"),
        ('api_key = "9fQ2Lm7Xz4Rt8Vb1Nw6K"', "secret"),
    ],
)
def test_finds(text, kind):
    assert kinds(text) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "Write to someone@example.com or me@mail.example.co.uk.",
        "Write to info@yourcompany.com.",
        "The handle is @jane and 3@4 is no address.",
        "Call 555-0134 or +1 555 123 4567.",
        "Pi is 3.14159265358979323846.",
        "In 1969 1,234,567,890 people; 2020-10-12 to 2021-11-13.",
        "DE89 3704 0044 0532 0130 01 has wrong check digits.",
        "Card 4539 1488 0343 6468 has a wrong check digit; 4242 4242 4242 4242 is Stripe's.",
        "0000 0000 0000 0000",
        'api_key = "YOUR_API_KEY_HERE_1234"',
        "password = 'correct horse'",
        "export TOKEN=$MY_TOKEN; sk-your-key-goes-here-in-this-place-of-it",
        "The task-force of 1998 and risk-assessment-of-everything-that-may-go-wrong-1",
    ],
)
def test_no_finds(text):
    assert kinds(text) == []


def test_check_digits():
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")
    assert is_card("4539148803436467")
    assert not is_card("4539148803436466")


def test_the_note_does_not_hold_the_find():
    made = measure(Answer("mine is jane.doe@firma.de", prompt=f"is {KEY} valid?"))
    assert made["privacy.email"].note == "jan… (17 characters)"
    assert KEY[4:10] not in made["privacy.secret"].note
    assert masked("-----BEGIN PRIVATE KEY-----") == "a private key"


def test_it_warns_until_told_to_drop():
    measured = measure_all(Answer("Write to jane.doe@firma.de today."))
    assert measured["privacy.email"].score == 1
    assert judge(PrivacyConfig(), measured) is None
    drop = first_drop([PrivacyConfig(action="drop")], measured)
    assert drop is not None
    assert drop.reason == "an e-mail address: jan… (17 characters)"
    assert judge(PrivacyConfig(action="drop", kinds=("phone",)), measured) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece",
    [
        "sk-",
        "-eyJ",
        "SG.-",
        "a.",
        "a@a.",
        "+1 2",
        "4 ",
        "DE89 ",
        "://a:",
        "```\n",
        "<",
        "\\begin{a}",
    ],
)
def test_hostile_texts_take_no_time(piece):
    measure_all(Answer(piece * (60_000 // len(piece))))
