"""Accounts: passwords, invitations, sessions that end, and the last owner."""

from pathlib import Path

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotFound
from distill_studio.services.accounts import (
    INVITATION_S,
    SESSION_IDLE_S,
    SESSION_LONGEST_S,
    Accounts,
)
from tests.services.conftest import Clock, Open

WORDS = "correct horse battery"


@pytest.fixture
def accounts(reopen: Open) -> Accounts:
    return reopen()


def test_passwords_are_checked_and_never_kept_as_they_are(accounts: Accounts, tmp_path: Path):
    accounts.add("Ann Lee", "reviewer", "owner", WORDS)
    found = accounts.check_password("  ann  LEE ", WORDS)
    assert found is not None
    assert (found.name, found.role) == ("Ann Lee", "reviewer")
    assert accounts.check_password("Ann Lee", WORDS + "x") is None
    assert accounts.check_password("nobody", WORDS) is None
    on_disk = b"".join(p.read_bytes() for p in tmp_path.glob("people.sqlite*"))
    assert WORDS.encode() not in on_disk
    assert b"$argon2id$" in on_disk
    with pytest.raises(Conflict):
        accounts.add("ANN LEE", "viewer", "owner")


@pytest.mark.parametrize("name", ["", " ", "-x", "a/b", "x" * 41, "<b>", "tab\u0000", "dot."])
def test_bad_names_are_refused(accounts: Accounts, name: str):
    with pytest.raises(InvalidInput):
        accounts.add(name, "viewer", "owner")


@pytest.mark.parametrize("password", ["short", "x" * 1001, "ann-lee-12"])
def test_bad_passwords_are_refused(accounts: Accounts, password: str):
    with pytest.raises(InvalidInput):
        accounts.add("ann-lee", "viewer", "owner", password)


def test_an_invitation_works_once_and_lapses(accounts: Accounts, clock: Clock):
    accounts.add("ann", "reviewer", "owner")
    assert accounts.check_password("ann", "") is None
    old = accounts.invite("ann")
    made = accounts.invite("ann")
    assert accounts.invited(old.code) is None
    with pytest.raises(InvalidInput):
        accounts.join(made.code, "short")
    assert accounts.join(made.code, WORDS).has_password
    with pytest.raises(NotFound):
        accounts.join(made.code, WORDS + " again")
    assert accounts.check_password("ann", WORDS) is not None
    late = accounts.invite("ann")
    clock.now += INVITATION_S + 1
    assert accounts.invited(late.code) is None
    assert accounts.invited("") is None


def test_sessions_end_by_rest_age_log_out_password_and_shutting_out(
    accounts: Accounts, clock: Clock
):
    ann = accounts.add("ann", "reviewer", "owner", WORDS)
    mine = Actor(user="ann", role=Role.REVIEWER)

    def opened() -> str:
        return accounts.open_session("ann", ann)

    session = opened()
    clock.now += SESSION_IDLE_S - 1
    assert accounts.session_user(session) == mine  # and counts as used
    clock.now += SESSION_IDLE_S - 1
    assert accounts.session_user(session) == mine
    clock.now += SESSION_IDLE_S + 1
    assert accounts.session_user(session) is None
    session, began = opened(), clock.now
    while clock.now - began <= SESSION_LONGEST_S:
        assert accounts.session_user(session) == mine
        clock.now += SESSION_IDLE_S / 2
    assert accounts.session_user(session) is None
    session, other = opened(), opened()
    accounts.end_session(session)
    assert accounts.session_user(session) is None
    assert accounts.session_user(other) == mine
    accounts.set_role("ann", "viewer")
    assert accounts.session_user(other) == Actor(user="ann", role=Role.VIEWER)
    accounts.set_password("ann", WORDS + " new")
    assert accounts.session_user(other) is None
    session = opened()
    accounts.set_disabled("ann", True)
    assert accounts.session_user(session) is None
    assert accounts.check_password("ann", WORDS + " new") is None
    accounts.set_disabled("ann", False)
    assert accounts.session_user(session) is None
    assert accounts.session_user("") is accounts.session_user("forged") is None


def test_the_file_keeps_everything(tmp_path: Path):
    path = tmp_path / "people.sqlite"
    first = Accounts(path)
    session = first.open_session("ann", first.add("ann", "owner", "", WORDS))
    first.close()
    again = Accounts(path)
    assert again.session_user(session) == Actor(user="ann", role=Role.OWNER)
    assert again.has_owner
    assert path.stat().st_mode & 0o077 == 0
    again.close()


def test_owners_come_first_and_the_last_one_stays(workspace, owner):
    users = workspace.users
    with pytest.raises(Conflict, match="owner's account first"):
        users.add(owner, "bob", "reviewer")
    users.add(owner, "ann", "owner", WORDS)
    added = users.add(owner, "bob", "reviewer")
    assert added.invitation is not None
    assert added.invitation.path.startswith("/join?code=")
    for change in (
        lambda: users.disable(owner, "ann"),
        lambda: users.set_role(owner, "Ann", "viewer"),
    ):
        with pytest.raises(Conflict, match="last owner"):
            change()
    users.set_role(owner, "bob", "owner")
    with pytest.raises(Conflict, match="last owner"):
        users.disable(owner, "ann")  # bob has no password yet: he could not log in
    users.set_password(owner, "bob", WORDS)
    assert users.disable(owner, "ann").is_disabled
    ann = Actor(user="bob", role=Role.VIEWER)
    with pytest.raises(InvalidInput):
        users.change_password(ann, "wrong", WORDS + " new")
    users.change_password(ann, WORDS, WORDS + " new")
    assert workspace.studio.accounts.check_password("bob", WORDS + " new") is not None
