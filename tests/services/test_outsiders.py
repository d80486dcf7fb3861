"""People for whom another vouches: sessions end, names change hands, roles have two sources."""

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.allow_list import AllowList
from distill_studio.core.errors import Conflict, InvalidInput
from distill_studio.services.accounts import (
    OUTSIDE_LONGEST_S,
    SESSION_IDLE_S,
)
from distill_studio.services.outsiders import NotInvited, Outsider
from tests.services.conftest import Clock, Open

LIST = AllowList({"ann": Role.REVIEWER, "olga": Role.OWNER}, {"acme": Role.VIEWER})


@pytest.fixture
def reopen(reopen: Open) -> Open:
    """With the list, at Hugging Face, unless a test says otherwise."""
    return lambda listed=LIST, outside="huggingface": reopen(listed, outside)


def ann(subject: str = "1", login: str = "Ann", **groups: str) -> Outsider:
    return Outsider("huggingface", login, subject, groups)


def test_a_session_ends_after_a_day_and_when_the_list_or_the_way_is_gone(
    reopen: Open, clock: Clock
):
    accounts = reopen()
    session = accounts.open_session("hf:Ann", accounts.admit(ann()))
    mine = Actor(user="hf:Ann", role=Role.REVIEWER)
    began = clock.now
    while clock.now - began < OUTSIDE_LONGEST_S:
        assert accounts.session_user(session) == mine
        clock.now += SESSION_IDLE_S / 2
    clock.now += 1
    assert accounts.session_user(session) is None
    session = accounts.open_session("hf:Ann", accounts.admit(ann()))
    raised = AllowList({"ann": Role.OWNER})
    assert reopen(raised).session_user(session) == Actor(user="hf:Ann", role=Role.OWNER)
    assert reopen(AllowList()).session_user(session) is None
    assert reopen(outside=None).session_user(session) is None
    assert reopen(outside="proxy").session_user(session) is None
    assert reopen().session_user(session) == mine


def test_who_left_the_organisation_is_out_at_the_next_log_in(reopen: Open):
    accounts = reopen()
    assert accounts.admit(ann("2", "bob", acme="read")).role == "viewer"
    with pytest.raises(NotInvited, match="not on the list"):
        accounts.admit(ann("2", "bob"))
    assert accounts.names(Role.VIEWER) == ["hf:bob"]  # as was told last: nothing is taken from it
    accounts.admit(ann("2", "bob", acme=""))


def test_names_are_bound_to_the_person_and_a_ban_to_all_of_their_names(reopen: Open):
    accounts = reopen()
    accounts.admit(ann("1"))
    with pytest.raises(NotInvited, match="another person"):
        accounts.admit(ann("2", "ANN"))
    accounts.add("carl", "reviewer", "owner", via="huggingface")
    assert accounts.admit(ann("1", "carl")).name == "hf:carl"  # renamed: somebody new
    accounts.set_disabled("hf:carl", True)
    for login in ("Ann", "carl", "olga"):
        with pytest.raises(NotInvited, match="not come in here any more"):
            accounts.admit(ann("1", login))
    accounts.let_go("hf:Ann")
    assert accounts.admit(ann("2", "ann")).name == "hf:Ann"


def test_an_account_with_a_password_and_a_name_from_elsewhere_are_two(reopen: Open):
    accounts = reopen()
    local = accounts.add("ann", "owner", "owner", "correct horse battery")
    other = accounts.admit(ann())
    assert (local.name, local.role, other.name, other.role) == (
        "ann",
        "owner",
        "hf:Ann",
        "reviewer",
    )
    assert accounts.check_password("hf:ann", "correct horse battery") is None
    for refused in (
        lambda: accounts.add("hf:ann", "owner", "owner"),
        lambda: accounts.set_password("hf:ann", "correct horse battery"),
        lambda: accounts.invite("hf:ann"),
        lambda: accounts.let_go("ann"),
        lambda: accounts.add("x", "owner", "owner", "correct horse battery", "huggingface"),
    ):
        with pytest.raises(InvalidInput):
            refused()


def test_the_higher_role_holds_and_the_lists_cannot_be_lowered(reopen: Open):
    accounts = reopen()
    accounts.admit(ann())
    assert accounts.set_role("hf:ann", "owner").role == "owner"
    with pytest.raises(Conflict, match="reviewer by the list"):
        accounts.set_role("hf:ann", "viewer")
    accounts.set_role("hf:ann", "reviewer")
    assert reopen(AllowList()).find("hf:ann").role == "reviewer"  # what was set by hand stays


def test_the_last_owner_is_counted_over_all_ways_in(reopen: Open):
    accounts = reopen()
    accounts.admit(ann("3", "olga"))
    assert accounts.has_owner
    assert accounts.is_last_owner("hf:olga")
    accounts.add("ann", "owner", "owner", "correct horse battery")
    assert not accounts.is_last_owner("hf:olga")
    assert not accounts.is_last_owner("ann")
    accounts = reopen(outside=None)
    assert accounts.is_last_owner("ann")  # nobody signs in elsewhere any more


@pytest.mark.parametrize("login", ["", " ", "hf:", "a/b", "\u0430nn", "ann\n", "x" * 120, "<b>"])
def test_names_that_could_pass_for_others_are_refused(reopen: Open, login: str):
    listed = AllowList({login.strip().lower(): Role.OWNER})
    with pytest.raises(NotInvited, match=r"cannot be used|not on the list"):
        reopen(listed).admit(ann("9", login))
