"""The accounts on the People tab: the first one, roles, and letting go of a name, which is for
owners where others vouch for people.
"""

from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from distill_studio.bootstrap import build_studio
from distill_studio.core.actor import Actor, Role
from distill_studio.core.settings import Settings
from distill_studio.services.users import Me, WaysIn
from distill_studio.ui.context import Ui
from distill_studio.ui.panels.accounts_panel import (
    accounts_html,
    build_accounts_panel,
    let_go_html,
    mine_html,
)

PAGE = SimpleNamespace(base_url="http://127.0.0.1:7860/")
REQUEST: Any = SimpleNamespace(request=PAGE, session_hash="page", query_params={})


WORDS = "correct horse battery"
WAYS = WaysIn(has_password=False, needs_owner=False, outside=None, author="", listed={})


def panel_event(studio: Any, actor: Actor, part: str, on: str = "click") -> Any:
    """The event of a part of the panel, as this person."""
    with gr.Blocks() as page:
        chooser = gr.Dropdown(["main"], value="main")
        has_login = lambda: studio.accounts.has_owner  # noqa: E731  (as on a machine's own page)
        build_accounts_panel(Ui(studio, lambda _: actor, chooser, gr.Tabs(), has_login))
    found = next(b for b in page.blocks.values() if b.elem_id == part)
    return next(e for e in page.fns.values() if (found._id, on) in e.targets)


def pressed(studio: Any, actor: Actor, name: str | None) -> Any:
    """What the button that lets go of a name gives."""
    event = panel_event(studio, actor, "people-let-go")
    assert "confirm(" in event.js
    return event.fn(REQUEST, "main", name)


def added(studio: Any, actor: Actor, name: str, role: str, password: str) -> dict[str, Any]:
    """What Add gives, by the outputs' names where they have one."""
    event = panel_event(studio, actor, "people-add")
    values = event.fn(REQUEST, "main", name, role, password, "password")
    return {o.elem_id: v for o, v in zip(event.outputs, values, strict=True)}


def test_the_first_account_with_a_password_leads_to_the_log_in_page(studio, workspace, owner):
    first = added(studio, owner, "Ann Lee", "owner", WORDS)
    assert first["people-leads"] == "/login?why=first&user=Ann+Lee"
    second = added(studio, owner, "bob", "owner", WORDS)
    assert second["people-leads"] == ""  # whoever makes it is logged in already


def test_an_invitation_shuts_nobody_out_yet(studio, workspace, owner):
    told = added(studio, owner, "ann", "owner", "")
    assert told["people-leads"] == ""
    assert not studio.accounts.has_owner
    assert told["people-role"].value == "reviewer"  # the next one may be anybody's


def test_the_first_role_is_an_owners_as_long_as_it_has_to_be(studio, workspace, owner):
    def role() -> Any:
        with gr.Blocks():
            tabs, chooser = gr.Tabs(), gr.Dropdown()
            panel = build_accounts_panel(Ui(studio, lambda _: owner, chooser, tabs))
        return panel.show(workspace, owner)[panel.outputs.index(panel.role)]

    assert role().choices == [("Owner: everything", "owner")]
    assert role().value == "owner"
    with pytest.raises(gr.Error, match="cannot name an account"):
        added(studio, owner, " ", role().value, WORDS)
    added(studio, owner, "ann", role().value, WORDS)
    assert [value for _, value in role().choices] == ["reviewer", "viewer", "owner"]
    assert "value" not in role()._constructor_args[0]  # what a person has chosen stays


def test_the_studios_password_needs_no_owner_first(settings: Settings, owner):
    ours = Settings(**(settings.model_dump() | {"password": WORDS}))
    studio = build_studio(ours)
    try:
        ways = studio.workspace("main").users.ways(owner)
    finally:
        studio.close()
    assert (ways.has_password, ways.needs_owner) == (True, False)


def test_new_role_shows_the_role_of_whom_one_chooses(studio, workspace, owner):
    studio.accounts.add("ann", "owner", "owner", WORDS)
    studio.accounts.add("vic", "viewer", "owner", WORDS)
    event = panel_event(studio, owner, "people-chosen", "change")
    assert [o.elem_id for o in event.outputs] == ["people-new-role"]
    shown = [event.fn(REQUEST, "main", name) for name in ("ann", "vic", None)]
    assert shown == ["owner", "viewer", None]
    setting = panel_event(studio, owner, "people-set-role")
    with pytest.raises(gr.Error, match="There is no role in view"):
        setting.fn(REQUEST, "main", "ann", None)
    assert studio.accounts.get("ann").role == "owner"


def test_it_says_who_comes_in_while_nobody_has_an_account():
    said = accounts_html([], WAYS.model_copy(update={"needs_owner": True}))
    assert "everybody has to log in, you included" in said
    assert "studio's password" not in said.replace("&#x27;", "'")
    said = accounts_html([], WAYS.model_copy(update={"has_password": True})).replace("&#x27;", "'")
    assert "studio's password" in said
    assert "whoever reaches this page" not in said


def test_nobody_is_called_the_same_twice():
    me = Me(name="owner", role="owner", has_account=False, has_password=False)
    assert "<strong>owner</strong>. " in mine_html(me, has_login=False)
    assert "Nobody logs in on this machine yet" in mine_html(me, has_login=False)
    assert "without an account" in mine_html(me, has_login=True)
    ann = Me(name="ann", role="owner", has_account=True, has_password=True)
    assert "<strong>ann</strong>, owner." in mine_html(ann, has_login=True)
    assert "account" not in mine_html(ann, has_login=True)


def test_an_owner_lets_go_of_a_name_and_who_had_it_is_logged_out(studio, workspace, owner):
    accounts = studio.accounts
    account = accounts.add("ann", "reviewer", "owner", via="huggingface")
    accounts._store.change("hf:ann", subject="sub-of-the-first")
    accounts.open_session(account.name, account)
    listed, _, chosen = pressed(studio, owner, "hf:ann")
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
    assert let_go_html(WAYS) == ""
    assert "name of Hugging Face" in let_go_html(WAYS.model_copy(update={"outside": "huggingface"}))
