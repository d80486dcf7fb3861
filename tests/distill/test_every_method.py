"""A method of training is known everywhere that tells methods apart."""

from typing import get_args

import pytest

from distill_studio.cli.commands.training import Method as Word
from distill_studio.distill import card, presets
from distill_studio.distill.config import FORMATS_OF_METHOD, METHOD_LABELS, RUN_CONFIGS, Method
from distill_studio.distill.planning import measure_of
from distill_studio.distill.trainers import TRAINERS
from distill_studio.ui.panels import distill_fields

TABLES = {
    "distill/config.py Method": get_args(Method),
    "distill/config.py METHOD_LABELS": METHOD_LABELS,
    "distill/config.py FORMATS_OF_METHOD": FORMATS_OF_METHOD,
    "distill/presets.py _BASES": presets._BASES,
    "distill/presets.py _FULL_RATES": presets._FULL_RATES,
    "distill/presets.py PRESETS": presets.PRESETS,
    "distill/trainers TRAINERS": TRAINERS,
    "distill/card.py _METHODS": card._METHODS,
    "cli/commands/training.py Method": [word.value for word in Word],
    "ui/panels/distill_fields.py METHODS": [value for _, value in distill_fields.METHODS],
}


@pytest.mark.parametrize("place", TABLES)
def test_a_table_has_every_method(place: str) -> None:
    assert sorted(TABLES[place]) == sorted(RUN_CONFIGS)


@pytest.mark.parametrize("method", RUN_CONFIGS)
def test_a_method_has_its_usual_preset_and_a_figure_to_compare_grids_by(method: str) -> None:
    assert "balanced" in presets.PRESETS[method]
    assert measure_of(method, ["learning_rate"], "KL to the teacher") is not None
