"""Saved pipelines and scored models as tables: what is in force, links that carry the file."""

import json
import re
from base64 import b64decode
from datetime import UTC, datetime

from distill_studio.core.embedding_models import FAST, FULL
from distill_studio.curate.reports import (
    CurateSettings,
    CurateState,
    ModelAgreement,
    ThresholdMatch,
)
from distill_studio.services.pipelines import Pipeline
from distill_studio.services.quality import ScoredBy
from distill_studio.ui.panels import curate_html as draw
from distill_studio.ui.panels.pipelines_panel import pipelines_html
from distill_studio.ui.panels.quality_panel import scored_html

HOSTILE = "<img src=x onerror=alert(1)>"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)


def test_pipelines_are_escaped_and_exported_whole():
    text = json.dumps({"name": HOSTILE, "umlaut": "ü"})
    one = Pipeline(name=HOSTILE, settings=CurateSettings(), compares=True, is_in_force=True)
    shown = pipelines_html([one], {HOSTILE: text})
    assert HOSTILE not in shown
    assert "in force" in shown
    assert "near from 0.9" in shown
    content = re.search(r"base64,([^']+)'", shown)
    assert content is not None
    assert b64decode(content[1]).decode() == text
    assert "Nothing is saved so far." in pipelines_html([], {})


def test_the_model_scored_last_is_in_use():
    scored = [
        ScoredBy(model=name, number_format="float32", used_at=NOW, rows=3, missing=1)
        for name in ("base:a", HOSTILE)
    ]
    shown = scored_html(scored, {"base:a": "a"})
    assert shown.count("in use") == 1
    assert shown.index("in use") < shown.index("&lt;img")
    assert HOSTILE not in shown


def state(**fields) -> CurateState:
    base = {
        "total": 9, "rejected": 0, "kept": 9, "filtered": 0, "duplicates": 0, "unmeasured": 0,
        "compared": {}, "outdated": 0, "is_applied": True, "settings": CurateSettings(),
        "job_id": "",
    }  # fmt: skip
    return CurateState(**{**base, **fields})


def test_new_rows_since_a_pipeline_ran_are_told():
    assert "3 rows came since the pipeline “Strict” ran." in draw.state_html(
        state(pipeline="Strict", new_rows=3)
    )
    assert "pipeline" not in draw.state_html(state(pipeline="Strict", new_rows=0))
    assert HOSTILE not in draw.state_html(state(pipeline=HOSTILE, new_rows=3))


def test_how_a_model_agrees_is_said_in_words():
    def shown(matching: float | None, recall: float | None, spearman: float | None = 0.7) -> str:
        pairs = 0 if recall is None else 40
        match = ThresholdMatch(threshold=0.9, matching=matching, pairs=pairs, recall=recall)
        found = ModelAgreement(
            model=FAST, reference=FULL, field="both", threshold=0.9, units=200, texts=400,
            pairs=19_900, spearman=spearman, matches=[match],
        )  # fmt: skip
        return draw.agreement_html(found, FAST)

    assert draw.agreement_html(None, FULL) == ""
    assert "static copy of all-MiniLM-L6-v2: not compared" in draw.agreement_html(None, FAST)
    assert HOSTILE not in draw.agreement_html(None, HOSTILE)
    good = shown(0.8712, 0.95)
    assert "Set the threshold to 0.871 here where you would set 0.90 with the full model" in good
    assert "95.0% of the 40 near pairs" in good
    assert "ds-note good" in good
    assert "the order of pairs agrees in part" in good
    assert "not comparable" in good
    assert "ds-note warn" in shown(0.87, 0.3)
    none = shown(None, None, None)
    assert "no threshold to suggest" in none
    assert "Spearman" not in none
