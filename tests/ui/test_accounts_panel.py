"""Letting go of a name on the People tab: for owners, where others vouch for people."""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.services.users import WaysIn
from distill_studio.ui.context import Ui
from distill_studio.ui.panels.accounts_panel import build_accounts_panel, let_go_html

REQUEST: Any = SimpleNamespace(request=object(), session_hash="page", query_params={})


def pressed(studio: Any, actor: Actor, name: str | None) -> Any:
    """What the button's event gives, as this person."""
    with gr.Blocks() as page:
        chooser = gr.Dropdown(["main"], value="main")
        build_accounts_panel(Ui(studio, lambda _: actor, chooser, gr.Tabs()))
    button = next(b for b in page.blocks.values() if b.elem_id == "people-let-go")
    event = next(e for e in page.fns.values() if (button._id, "click") in e.targets)
    assert "confirm(" in event.js
    return event.fn(REQUEST, "main", name)


def test_an_owner_lets_go_of_a_name_and_who_had_it_is_logged_out(studio, workspace, owner):
    accounts = studio.accounts
    account = accounts.add("ann", "reviewer", "owner", via="huggingface")
    accounts._store.change("hf:ann", subject="sub-of-the-first")
    accounts.open_session(account.name, account)
    listed, chosen = pressed(studio, owner, "hf:ann")
    assert accounts._store.account("hf:ann")["subject"] == ""
    assert "hf:ann" in listed
    assert (chosen.choices, chosen.value) == ([("hf:ann", "hf:ann")], None)


def test_neither_others_nor_names_with_a_password(studio, workspace, owner):
    studio.accounts.add("bob", "reviewer", "owner", "correct horse battery")
    for actor, name, said in (
        (Actor(user="rea", role=Role.REVIEWER), "bob", "may not do this"),
        (owner, "bob", "has a password"),
        (owner, None, "There is no account"),
    ):
        with pytest.raises(gr.Error, match=said):
            pressed(studio, actor, name)


def test_it_is_said_only_where_names_come_from_elsewhere():
    ways = WaysIn(has_password=False, outside=None, author="", listed={})
    assert let_go_html(ways) == ""
    assert "name of Hugging Face" in let_go_html(ways.model_copy(update={"outside": "huggingface"}))
