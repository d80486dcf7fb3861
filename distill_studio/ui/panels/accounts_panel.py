"""Accounts on the People tab: who may log in, for owners; one's own password, for everybody."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from distill_studio.core.actor import Actor, Role
from distill_studio.core.records.account import Account, RoleName, Via
from distill_studio.services.users import InvitationLink, Me, WaysIn
from distill_studio.services.workspace import Workspace
from distill_studio.ui.context import Ui
from distill_studio.ui.errors import guarded, in_view
from distill_studio.ui.events import QUIET, SAYING
from distill_studio.ui.html import chip, esc, note, table

_ROLES = [
    ("Reviewer: looks, reviews, compares", "reviewer"),
    ("Viewer: looks only", "viewer"),
    ("Owner: everything", "owner"),
]
_VIA = {"huggingface": "Hugging Face", "proxy": "the proxy"}
_BY = {"huggingface": "Hugging Face", "proxy": "The proxy"}
_COLUMNS = ("Name", "Role", "State", "Seen last", "Made")
_OPEN = (
    "Nobody has an account yet: whoever reaches this page works as the owner. Begin with an "
    "owner's account for yourself. Once it has a password everybody has to log in, you included: "
    "the log-in page opens by itself and leads back here."
)
_PASSWORD_ONLY = (
    "Nobody has an account yet: whoever knows the studio's password comes in as an owner, under "
    "any name. Once there are accounts it opens one name only, that of the settings."
)
_LET_GO = (
    "Whoever first came in under a name of {via} keeps it here. Where that name is another "
    "person's now, they are refused until you let go of it: who had it is logged out, and the next "
    "to sign in under it gets the account with its role, and adds to its decisions."
)
# Where the log-in page leads back to; what was typed elsewhere on the page has been sent or kept.
_GO = """(to) => { if (to) location.assign(`${to}&next=${
encodeURIComponent(location.pathname + location.search)}`); return to; }"""
_CONFIRM_LET_GO = """(...args) => { if (!args[1]) return args;
if (!confirm(`Let go of ${args[1]}? Who has it is logged out, and the next person to sign in under
that name takes over the account. This cannot be undone.`)) throw new Error('kept');
return args; }"""


@dataclass(frozen=True)
class AccountsPanel:
    """The panel's components that `show` fills."""

    ui: Ui
    owners: gr.Column
    listed: gr.HTML
    role: gr.Dropdown
    chosen: gr.Dropdown
    mine: gr.HTML
    own_password: gr.Accordion
    ways: gr.HTML
    via: gr.Dropdown
    passing: gr.Row
    what_passes: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What `show` fills."""
        return [
            self.owners, self.listed, self.role, self.chosen, self.mine, self.own_password,
            self.ways, self.via, self.passing, self.what_passes,
        ]  # fmt: skip

    def show(self, opened: Workspace, actor: Actor) -> list[Any]:
        """Values for `outputs`."""
        is_owner = actor.role >= Role.OWNER
        me = opened.users.me(actor)
        ways = opened.users.ways(actor) if is_owner else None
        return [
            gr.Column(visible=is_owner),
            *_listing(opened, actor),
            mine_html(me, has_login=self.ui.has_login()),
            gr.Accordion(visible=me.has_password),
            ways_html(ways) if ways else "",
            via_dropdown(ways),
            gr.Row(visible=ways is not None and ways.outside is not None),
            let_go_html(ways) if ways else "",
        ]


def build_accounts_panel(ui: Ui) -> AccountsPanel:
    """Make the panel."""
    mine = gr.HTML(elem_id="people-me", apply_default_css=False)
    own = gr.Accordion("Change your password", open=False, visible=False, elem_id="people-own")
    with own, gr.Row(elem_id="people-own-row"):
        current = gr.Textbox(label="Current password", type="password", max_lines=1)
        new = gr.Textbox(label="New password", type="password", max_lines=1)
        change = gr.Button("Change it", scale=0, min_width=140, elem_id="people-change")
    with gr.Column(visible=False, elem_id="people-owners") as owners:
        gr.HTML('<h3 class="ds-h3">Accounts of this studio</h3>')
        listed = gr.HTML(elem_id="people-list", apply_default_css=False)
        ways = gr.HTML(elem_id="people-ways", apply_default_css=False)
        with gr.Row(elem_id="people-add-row"):
            via = via_dropdown(None)
            name = gr.Textbox(label="Name", max_lines=1, elem_id="people-name")
            role = gr.Dropdown(
                _ROLES, value="reviewer", label="Role", min_width=220, elem_id="people-role"
            )
            password = gr.Textbox(
                label="Password (empty: a link to set one)",
                type="password",
                max_lines=1,
                elem_id="people-password",
            )
            add = gr.Button("Add", variant="primary", scale=0, min_width=120, elem_id="people-add")
        with gr.Row(elem_id="people-change-row"):
            chosen = gr.Dropdown([], label="Change an account", elem_id="people-chosen")
            invite = gr.Button("New link", scale=0, min_width=120, elem_id="people-invite")
            new_role = gr.Dropdown(
                _ROLES, value=None, label="New role", min_width=220, elem_id="people-new-role"
            )
            set_role = gr.Button("Set role", scale=0, min_width=120, elem_id="people-set-role")
            shut = gr.Button(
                "Disable or enable",
                scale=0,
                min_width=160,
                elem_id="people-disable",
                elem_classes="ds-danger",
            )
        with gr.Row(visible=False, elem_id="people-let-go-row") as passing:
            what_passes = gr.HTML(apply_default_css=False)
            let_go = gr.Button(
                "Let go of the name",
                scale=0,
                min_width=180,
                elem_id="people-let-go",
                elem_classes="ds-danger",
            )
        link = gr.Textbox(
            label="Invitation: send this link, it works once",
            visible=False,
            interactive=False,
            buttons=["copy"],
            elem_id="people-link",
        )
    panel = AccountsPanel(
        ui, owners, listed, role, chosen, mine, own, ways, via, passing, what_passes
    )
    _wire_add(ui, panel, (name, password, add), link)
    # no password here for whom another vouches
    via.change(
        lambda chosen: gr.Textbox(visible=chosen == "password", value=""), via, password, **QUIET
    )
    _wire_change(ui, panel, (invite, new_role, set_role, shut), link)
    _wire_let_go(ui, panel, let_go)

    @guarded
    def on_change(request: gr.Request, workspace: str, old: str, wanted: str) -> tuple[str, str]:
        opened, actor = ui.open(request, workspace)
        opened.users.change_password(actor, old, wanted)
        gr.Info("Your password is changed. Log in with it again.", duration=8)
        return "", ""

    change.click(on_change, [ui.workspace, current, new], [current, new], **SAYING)
    return panel


def _wire_add(ui: Ui, panel: AccountsPanel, form: tuple[Any, ...], link: gr.Textbox) -> None:
    name, password, add = form
    leads = gr.Textbox("", visible="hidden", elem_id="people-leads")

    @guarded
    def on_add(
        request: gr.Request,
        workspace: str,
        wanted: str,
        wanted_role: RoleName,
        secret: str,
        wanted_via: Via,
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        had_login = ui.has_login()
        added = opened.users.add(actor, wanted, wanted_role, secret, wanted_via)
        if added.account.via != "password":
            gr.Info(f"{added.account.name} may come in: send them this app's address.", duration=8)
        told = _link_box(request, added.invitation)
        is_shut = ui.has_login() and not had_login  # this page's next request is a stranger's
        to = first_log_in(added.account.name) if is_shut else ""
        return to, "", "", told, *_listing(opened, actor, has_added=True)

    outputs = [leads, name, password, link, panel.listed, panel.role, panel.chosen]
    inputs = [ui.workspace, name, panel.role, password, panel.via]
    for press in (add.click, name.submit):
        press(on_add, inputs, outputs, **SAYING).success(None, leads, None, js=_GO, **QUIET)


def _wire_change(ui: Ui, panel: AccountsPanel, parts: tuple[Any, ...], link: gr.Textbox) -> None:
    invite, new_role, set_role, shut = parts

    @guarded
    def on_invite(request: gr.Request, workspace: str, name: str | None) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        made = opened.users.invite(actor, name or "")
        return _link_box(request, made), *_listing(opened, actor)

    @guarded
    def on_role(
        request: gr.Request, workspace: str, name: str | None, role: RoleName | None
    ) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        opened.users.set_role(actor, name or "", in_view(role, "role"))
        return gr.Textbox(visible=False), *_listing(opened, actor)

    @guarded
    def on_shut(request: gr.Request, workspace: str, name: str | None) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        now = {a.name: a for a in opened.users.page(actor)}.get(name or "")
        if now is not None and now.is_disabled:
            opened.users.enable(actor, now.name)
        else:
            opened.users.disable(actor, name or "")
        return gr.Textbox(visible=False), *_listing(opened, actor)

    @guarded
    def on_chosen(request: gr.Request, workspace: str, name: str | None) -> RoleName | None:
        opened, actor = ui.open(request, workspace)
        accounts = opened.users.page(actor) if name else []
        return next((a.role for a in accounts if a.name == name and a.role), None)

    panel.chosen.change(on_chosen, [ui.workspace, panel.chosen], new_role, **QUIET)
    outputs = [link, panel.listed, panel.role, panel.chosen]
    invite.click(on_invite, [ui.workspace, panel.chosen], outputs, **SAYING)
    set_role.click(on_role, [ui.workspace, panel.chosen, new_role], outputs, **SAYING)
    shut.click(on_shut, [ui.workspace, panel.chosen], outputs, **SAYING)


def _wire_let_go(ui: Ui, panel: AccountsPanel, button: gr.Button) -> None:
    @guarded
    def on_let_go(request: gr.Request, workspace: str, name: str | None) -> tuple[Any, ...]:
        opened, actor = ui.open(request, workspace)
        account = opened.users.let_go(actor, name or "")
        gr.Info(f"The next to sign in as {account.name} may come in.", duration=8)
        return _listing(opened, actor)

    button.click(
        on_let_go,
        [ui.workspace, panel.chosen],
        [panel.listed, panel.role, panel.chosen],
        js=_CONFIRM_LET_GO,
        **SAYING,
    )


def _listing(opened: Workspace, actor: Actor, *, has_added: bool = False) -> tuple[Any, ...]:
    """The accounts, the roles that a new one may have, and whom to change."""
    if actor.role < Role.OWNER:
        return "", gr.skip(), gr.Dropdown(choices=[])
    accounts, ways = opened.users.page(actor), opened.users.ways(actor)
    chosen = gr.Dropdown(choices=[a.name for a in accounts], value=None)
    return accounts_html(accounts, ways), _role_choice(ways, has_added=has_added), chosen


def _role_choice(ways: WaysIn, *, has_added: bool) -> Any:  # noqa: ANN401
    """The first account is an owner's, where nobody could look after the others."""
    if ways.needs_owner:
        return gr.Dropdown(choices=[r for r in _ROLES if r[1] == "owner"], value="owner")
    return gr.Dropdown(choices=_ROLES, value="reviewer") if has_added else gr.Dropdown(_ROLES)


def first_log_in(name: str) -> str:
    """Where whoever made the studio's first account goes next."""
    return f"/login?{urlencode({'why': 'first', 'user': name})}"


def _link_box(request: gr.Request, made: InvitationLink | None) -> Any:  # noqa: ANN401
    if made is None or request.request is None:
        return gr.Textbox(visible=False, value="")
    base = str(request.request.base_url).rstrip("/")
    return gr.Textbox(
        visible=True,
        value=f"{base}{made.path}",
        label=f"Invitation for {made.name}: send this link, it works once, "
        f"until {made.until:%d %b %H:%M} UTC",
    )


def accounts_html(accounts: list[Account], ways: WaysIn) -> str:
    """The accounts as a table; without any, who comes in all the same."""
    if not accounts:
        return note(nobody(ways))
    rows = [
        [
            f"<strong>{esc(a.name)}</strong>",
            esc(a.role or "none"),
            _state(a),
            esc(f"{a.seen_at:%Y-%m-%d %H:%M}" if a.seen_at else "–"),
            esc(f"{a.created_at:%Y-%m-%d}" + (f" by {a.created_by}" if a.created_by else "")),
        ]
        for a in accounts
    ]
    return table(_COLUMNS, rows)


def nobody(ways: WaysIn) -> str:
    """Who works here while nobody has an account."""
    if ways.outside is not None:
        return "Nobody has an account yet."
    return _PASSWORD_ONLY if ways.has_password else _OPEN


def ways_html(ways: WaysIn) -> str:
    """Whom the settings let in besides."""
    if ways.outside is None:
        return ""
    listed = [f"<strong>{esc(name)}</strong> as {esc(role)}" for name, role in ways.listed.items()]
    if ways.author:
        listed.insert(0, f"<strong>{esc(ways.author)}</strong>, whose Space it is, as owner")
    who = ", ".join(listed) or "nobody"
    return (
        f'<p class="ds-note">Through {_VIA[ways.outside]} the settings let in: {who}. Whom you add '
        "below comes in as well.</p>"
    )


def let_go_html(ways: WaysIn) -> str:
    """What letting go of a name does."""
    return note(_LET_GO.format(via=_VIA[ways.outside])) if ways.outside else ""


def via_dropdown(ways: WaysIn | None) -> gr.Dropdown:
    """The choice of how a new person proves who they are; unseen where there is but one."""
    choices = [("Password", "password")]
    if ways is not None and ways.outside is not None:
        choices.insert(0, (_BY[ways.outside], ways.outside))
    return gr.Dropdown(
        choices,
        value=choices[0][1],
        label="Comes in with",
        visible=len(choices) > 1,
        elem_id="people-via",
    )


def mine_html(me: Me, *, has_login: bool) -> str:
    """Who the reader is here; `has_login` says whether people log in."""
    role = "" if me.role == me.name.casefold() else f", {esc(me.role)}"
    how = " Nobody logs in on this machine yet." if not has_login else ""
    if has_login and not me.has_account:
        how = " You came in without an account of your own."
    return (
        f'<p class="ds-note">You work here as <strong>{esc(me.name)}</strong>{role}.'
        f" Your decisions carry this name.{how}</p>"
    )


def _state(account: Account) -> str:
    if account.is_disabled:
        return chip("disabled", "bad")
    if account.via != "password":
        if not account.role:
            return chip("not on the list any more", "warn")
        seen = "" if account.seen_at else ", not seen yet"
        return chip(f"through {_VIA[account.via]}{seen}", "good")
    if account.has_password:
        return chip("may log in", "good")
    if account.invited_until:
        return chip(f"invited, until {account.invited_until:%d %b}", "warn")
    return chip("needs a link", "warn")
