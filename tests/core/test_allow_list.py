"""The list of who may come in, and what a Space says of itself."""

import pytest

from distill_studio.core.actor import Role
from distill_studio.core.allow_list import AllowList, outside_of
from distill_studio.core.errors import InvalidInput
from distill_studio.core.settings import Settings
from distill_studio.core.space import Space

OAUTH = {
    "SPACE_ID": "me/studio",
    "SPACE_HOST": "me-studio.hf.space,studio.example",
    "OAUTH_CLIENT_ID": "id",
    "OAUTH_CLIENT_SECRET": "k3ep-it",
    "OPENID_PROVIDER_URL": "https://huggingface.co/",
}


def listed(space: Space | None = None, **lists: str) -> AllowList:
    return AllowList.of(Settings(**lists), space)


def test_the_highest_role_of_names_and_organisations_holds():
    found = listed(owners="Ann", reviewers="ann; org:Acme", viewers="bob\norg:acme,org:readers")
    assert found.role_of("ANN", {}) == Role.OWNER
    assert found.role_of("bob", {"acme": ""}) == Role.REVIEWER
    assert found.role_of("eve", {"readers": "admin"}) == Role.VIEWER
    assert found.role_of("eve", {"acm": ""}) is None
    assert found.role_of("acme", {}) is None  # an organisation's name is no person's
    assert found.role_of("", {}) is None
    assert found.entries["org:acme"] == "reviewer"
    assert not found.is_empty


def test_nobody_is_on_an_empty_list():
    found = listed(owners=" , ")
    assert found.is_empty
    assert found.role_of("", {"": "admin"}) is None


def test_a_spaces_author_is_owner_as_person_or_as_admin_of_the_organisation():
    space = Space.from_environment(OAUTH)
    found = listed(space)
    assert found.role_of("Me", {}) == Role.OWNER
    assert found.role_of("ann", {"me": "admin"}) == Role.OWNER
    for role in ("write", "contributor", "read", ""):
        assert found.role_of("ann", {"me": role}) is None
    assert found.owners == ["me"]


@pytest.mark.parametrize("entry", ["org:", "a/b", "-x", "<b>", "org:org:x", "jörg", "x" * 100])
def test_an_entry_that_names_nobody_is_refused(entry):
    with pytest.raises(InvalidInput, match="DISTILL_STUDIO_VIEWERS"):
        listed(viewers=entry)


def test_what_a_space_says():
    space = Space.from_environment(OAUTH | {"SPACE_AUTHOR_NAME": "acme", "OAUTH_SCOPES": "email"})
    assert space is not None
    assert (space.author, space.host) == ("acme", "me-studio.hf.space")
    assert space.oauth is not None
    assert space.oauth.provider == "https://huggingface.co"
    assert space.oauth.scopes.split() == ["email", "openid", "profile"]
    assert "k3ep-it" not in repr(space)
    assert outside_of(Settings(), space) == "huggingface"
    assert Space.from_environment({"OAUTH_CLIENT_ID": "of something else"}) is None


@pytest.mark.parametrize("missing", [name for name in OAUTH if name != "SPACE_ID"])
def test_without_all_of_its_variables_nobody_signs_in_with_hugging_face(missing):
    space = Space.from_environment({n: v for n, v in OAUTH.items() if n != missing})
    assert space is not None
    assert space.oauth is None
    assert outside_of(Settings(), space) is None
