"""What a tab gets of its page: files that people send."""

from pathlib import Path

import gradio as gr
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import InvalidInput, NotAllowed
from distill_studio.ui.context import Ui

UI = Path(__file__).parents[2] / "distill_studio" / "ui"


def test_a_viewer_has_no_file_copied_into_the_data_folder(studio, owner, tmp_path):
    with gr.Blocks():
        ui = Ui(studio, lambda _: owner, gr.Dropdown(["main"]), gr.Tabs())
    sent = tmp_path / "sent.jsonl"
    sent.write_text("{}")
    with pytest.raises(NotAllowed):
        ui.keep(Actor(user="vic", role=Role.VIEWER), [str(sent)])
    assert list(studio.home.rglob("sent.jsonl")) == []
    ui.keep(Actor(user="rea", role=Role.REVIEWER), [str(sent)])
    assert len(list(studio.home.rglob("sent.jsonl"))) == 1
    for nothing in (None, [], [None]):
        with pytest.raises(InvalidInput, match="no file"):
            ui.keep(owner, nothing)


def test_no_tab_copies_files_by_itself():
    by = [p.name for p in UI.rglob("*.py") if "uploads.add" in p.read_text(encoding="utf-8")]
    assert by == ["context.py"]
