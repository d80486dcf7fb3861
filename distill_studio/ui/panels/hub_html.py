"""What the panels of the Hub show: whose token, what to look at first, what is there. Pure."""

from collections.abc import Sequence

from distill_studio.services.hub import HubAccount, HubPush, PushCheck
from distill_studio.ui.html import chip, counted, esc, note, size

_WHERE = {
    "session": "given for this session",
    "environment": "from HF_TOKEN",
    "login": "of the log-in on this machine",
}
_MARKS = {"warn": ("look first", "warn"), "info": ("note", "info")}


def account_html(account: HubAccount) -> str:
    """Whose token is used, and where it came from."""
    if not account.user:
        return note(
            f"No token for {account.endpoint}. Give one with write access for this session, or set"
            " HF_TOKEN where the app is started. It is kept in memory only.",
            "warn",
        )
    where = _WHERE[account.token_from]
    orgs = f", also in {', '.join(account.orgs[:8])}" if account.orgs else ""
    said = f"As {account.user}{orgs} at {account.endpoint} (token {where})."
    if account.role == "read":
        return note(f"{said} This token may only read: a push needs write access.", "bad")
    return note(said)


def check_html(found: PushCheck) -> str:
    """What would go, and what to look at before."""
    who = "Private" if found.private else "Public"
    said = (
        f"{who} {found.kind} repository, {counted(found.files, 'file')}, {size(found.size_bytes)};"
        f" licence in the card: {found.licence}; tag: {found.tag}."
    )
    if not found.warnings:
        return note(said) + note("Nothing to look at first.", "good")
    items = []
    for one in sorted(found.warnings, key=lambda warning: warning.level != "warn"):
        label, kind = _MARKS[one.level]
        hint = f' <span class="ds-note">{esc(one.hint)}</span>' if one.hint else ""
        items.append(f"<li>{chip(label, kind)}<span>{esc(one.message)}{hint}</span></li>")
    return f'{note(said)}<ul class="ds-findings">{"".join(items)}</ul>'


def pushed_html(pushed: Sequence[HubPush]) -> str:
    """Links to what is there, the newest of each repository."""
    newest = {one.repo: one for one in reversed(pushed)}
    items = [
        f'<li><a href="{esc(one.url)}" target="_blank" rel="noopener">{esc(one.repo)}</a>'
        f" {chip('private' if one.private else 'public', 'info')}"
        f' <span class="ds-note">{esc(f"tag {one.tag}, " if one.tag else "")}commit'
        f" {esc(one.commit[:10])}</span></li>"
        for one in reversed(newest.values())
    ]
    return f'<p class="ds-note good">On the Hub:</p><ul>{"".join(items)}</ul>' if items else ""
