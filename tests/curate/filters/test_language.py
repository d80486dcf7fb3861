"""Which language an answer is in, and when that is not said."""

import pytest

from distill_studio.curate.filters import LanguageConfig, judge
from distill_studio.curate.filters.base import Answer
from distill_studio.curate.filters.language import measure

TEXTS = {
    "en": "The steam engine turns heat into motion and drives the wheels of a train.",
    "de": "Die Dampfmaschine wandelt Wärme in Bewegung um und treibt die Räder des Zuges an.",
    "fr": "La machine à vapeur transforme la chaleur en mouvement et entraîne les roues du train.",
    "es": "La máquina de vapor convierte el calor en movimiento y mueve las ruedas del tren.",
    "ru": "Паровая машина превращает тепло в движение и вращает колёса поезда.",
    "ja": "蒸気機関は熱を運動に変え、列車の車輪を動かします。とても力強い機械です。",
}


@pytest.mark.parametrize("code", TEXTS)
def test_languages(code):
    assert measure(Answer(TEXTS[code]))["language"].note == code
    assert judge(LanguageConfig(is_on=True, keep=(code,)), measure(Answer(TEXTS[code]))) is None


def test_what_is_not_wanted_goes_with_its_language():
    drop = judge(LanguageConfig(is_on=True, keep=("en", "fr")), measure(Answer(TEXTS["de"])))
    assert drop is not None
    assert drop.reason == "written in de"
    assert judge(LanguageConfig(is_on=True, keep=()), measure(Answer(TEXTS["de"]))) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "Oui, bien sûr.",
        "1 2 3 4 5 6 7 8 9",
        "```python\ndef hauptfunktion(eingabe):\n    return eingabe.zerlegen()\n```",
        "https://example.org/la/route/est/longue/et/belle",
    ],
)
def test_short_texts_and_code_are_unknown_and_stay(text):
    assert measure(Answer(text)) == {}
    assert judge(LanguageConfig(is_on=True, keep=("ja",)), measure(Answer(text))) is None


def test_code_around_prose_does_not_count():
    text = "```\nwhile True: print('hello from here')\n```\n" + TEXTS["de"]
    assert measure(Answer(text))["language"].note == "de"
