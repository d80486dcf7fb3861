"""Sign in with Hugging Face: the real app as a Space starts it, and a provider that checks."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from distill_studio.web.identity import MAX_TRIES
from tests.conftest import RunningApp, launch_app
from tests.fake_hub_login import CLIENT_ID, CLIENT_SECRET, SPACE_HOST, FakeHubLogin, Person, org
from tests.space import AUTHOR, Visitor, space_environment

WORDS = "correct horse battery"
LISTS = {
    "DISTILL_STUDIO_REVIEWERS": "Ann, org:acme",
    "DISTILL_STUDIO_VIEWERS": "vic org:Readers",
    "DISTILL_STUDIO_PASSWORD": "the studio's own",
}
NewVisitor = Callable[..., Visitor]


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHubLogin]:
    provider = FakeHubLogin()
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def space(
    hub: FakeHubLogin, tmp_path_factory: pytest.TempPathFactory, starter_cache: Path
) -> Iterator[RunningApp]:
    env = space_environment(hub, **LISTS) | {"DISTILL_STUDIO_CACHE": str(starter_cache)}
    app = launch_app(tmp_path_factory.mktemp("space") / "home", env)
    yield app
    app.stop()


_ADDRESSES = itertools.count(1)  # each visitor comes from another: few tries are allowed of one


@pytest.fixture
def visitor(space: RunningApp) -> Iterator[NewVisitor]:
    made: list[Visitor] = []

    def new() -> Visitor:
        made.append(Visitor(space.url, f"203.0.113.{next(_ADDRESSES)}"))
        return made[-1]

    yield new
    for one in made:
        one.close()


def role_of(visitor: Visitor) -> tuple[str, str]:
    answer = visitor.call("users_me")
    assert answer.status_code == 200, answer.text
    return answer.json()["name"], answer.json()["role"]


def test_a_person_on_the_list_signs_in_and_goes_where_they_were_going(visitor, hub):
    ann = visitor()
    page = ann.get("/?tab=review")
    assert page.status_code == 303
    page = ann.get(page.headers["location"])
    assert "Sign in with Hugging Face" in page.text
    assert 'name="password"' in page.text
    answer = ann.sign_in(hub, Person("ann"), "/?tab=review")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?tab=review")
    assert role_of(ann) == ("hf:ann", "reviewer")
    asked = hub.asked[-1]
    assert asked["redirect_uri"] == f"https://{SPACE_HOST}/login/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert ann.get("/").status_code == 200
    ann.request("POST", "/logout")
    assert ann.call("users_me").status_code == 401


def test_cookies_work_inside_the_spaces_frame(visitor, hub):
    ann = visitor()
    ann.sign_in(hub, Person("ann"))
    ann.request("POST", "/logout")
    assert len(ann.set_cookies) >= 4  # of the flow and of the session, made and taken away
    for line in ann.set_cookies:
        for wanted in ("HttpOnly", "SameSite=none", "Secure", "Path=/", "Partitioned"):
            assert wanted in line, line
    framed = ann.get("/login", headers={"sec-fetch-dest": "iframe"}).text
    assert 'target="_blank"' in framed
    assert 'target="_blank"' not in ann.get("/login").text
    policy = ann.get("/login").headers["content-security-policy"]
    assert policy == "frame-ancestors 'self' https://huggingface.co"


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (Person(AUTHOR), "owner"),
        (Person("VIC"), "viewer"),
        (Person("bea", orgs=[org("readers"), org("acme")]), "reviewer"),
        (Person("cas", orgs=[org("other"), org("READERS")]), "viewer"),
        (Person("dot", orgs=[org(AUTHOR, roleInOrg="admin")]), "owner"),
        (Person("eve", orgs=[org(AUTHOR, roleInOrg="write")]), None),
        (Person("flo", orgs=[org("acme", securityRestrictions=["sso"])]), None),
        (Person("gus", orgs=[org("acme", pendingSSO=True)]), None),
        (Person("hal", orgs=[{"name": "acme", "sub": "x"}]), None),
        (Person("acme"), None),
        (Person("org:acme"), None),
        (Person("mallory"), None),
    ],
)
def test_the_list_gives_roles_by_name_and_by_organisation(visitor, hub, person, expected):
    who = visitor()
    answer = who.sign_in(hub, person)
    if expected is None:
        assert answer.status_code == 403
        assert "You may not come in yet" in answer.text
        assert f"Ask <strong>{AUTHOR}</strong>" in answer.text
        assert who.cookies == {}
        assert who.call("users_me").status_code == 401
    else:
        assert role_of(who) == (f"hf:{person.name}", expected)


# How an answer is spoilt, and what refuses it.
SPOILT: dict[str, tuple[dict[str, Any], str]] = {
    "another audience": ({"claims": {"aud": "another"}}, "InvalidClaimError"),
    "an audience beside ours": (
        {"claims": {"aud": [CLIENT_ID, "another"], "azp": "another"}},
        "InvalidClaimError",
    ),
    "no audience": ({"claims": {"aud": None}}, "MissingClaimError"),
    "another issuer": ({"claims": {"iss": "https://evil.example"}}, "InvalidClaimError"),
    "no issuer": ({"claims": {"iss": None}}, "MissingClaimError"),
    "expired": ({"claims": {"exp": int(time.time()) - 3600}}, "ExpiredTokenError"),
    "no expiry": ({"claims": {"exp": None}}, "MissingClaimError"),
    "from the future": ({"claims": {"iat": int(time.time()) + 36000}}, "InvalidClaimError"),
    "another nonce": ({"claims": {"nonce": "0123456789abcdef0123"}}, "InvalidClaimError"),
    "no nonce": ({"claims": {"nonce": None}}, "MissingClaimError"),
    "no subject": ({"claims": {"sub": None}}, "MissingClaimError"),
    "another access token": ({"claims": {"at_hash": "AAAAAAAAAAAAAAAA"}}, "InvalidClaimError"),
    "another's userinfo": ({"sub_of_userinfo": "sub-of-somebody-else"}, "ValueError"),
    "a stranger's key": ({"sign_with": "stranger"}, "BadSignatureError"),
    "no signature": ({"sign_with": "nothing"}, "UnsupportedAlgorithmError"),
    "a public key as secret": ({"sign_with": "public"}, "UnsupportedAlgorithmError"),
    "no id token": ({"leaves_out": "id_token"}, "ValueError"),
    "no access token": ({"leaves_out": "access_token"}, "UnsupportedTokenTypeError"),
}


@pytest.mark.parametrize("how", SPOILT)
def test_an_answer_that_does_not_hold_is_refused(visitor, hub, space, how):
    who, (changes, reason) = visitor(), SPOILT[how]
    logged = space.log.stat().st_size
    with hub.spoilt(**changes):
        answer = who.sign_in(hub, Person("ann"))
    assert answer.status_code == 400, how
    assert "Signing in did not work" in answer.text
    assert who.cookies == {}, how
    assert who.call("users_me").status_code == 401
    assert reason in space.log.read_bytes()[logged:].decode(), how  # not for another reason


def test_the_same_answer_unspoilt_is_taken(visitor, hub):
    """Else the refusals above would show nothing."""
    assert visitor().sign_in(hub, Person("ann")).status_code == 303


def test_state_code_and_browser_belong_together(visitor, hub):
    ann, other = visitor(), visitor()
    back = hub.consent(ann.begin(), Person("ann"))
    assert other.come_back(back).status_code == 400  # another browser, which began nothing
    other.begin()
    assert other.come_back(back).status_code == 400  # nor with a flow of its own
    query = {name: values[0] for name, values in parse_qs(urlsplit(back).query).items()}
    assert ann.get("/login/callback", params={"state": "guess", "code": query["code"]}).status_code
    assert ann.call("users_me").status_code == 401
    assert ann.come_back(back).status_code == 400  # a wrong state ends the flow
    back = hub.consent(ann.begin(), Person("ann"))
    flow = dict(ann.cookies)
    assert ann.come_back(back).status_code == 303
    thief = visitor()
    thief.cookies = flow  # even with the flow's cookie: a code counts once
    assert thief.come_back(back).status_code == 400
    for params in ({}, {"code": "x"}, {"state": "x"}, {"error": "access_denied"}):
        assert visitor().get("/login/callback", params=params).status_code == 400


def test_a_forged_or_old_flow_is_refused(visitor, hub):
    ann = visitor()
    back = hub.consent(ann.begin(), Person("ann"))
    name, value = next(iter(ann.cookies.items()))
    body, stamp, seal = value.rsplit(".", 2)
    for forged in (f"{body}.{stamp}.{seal[:-2]}xx", f"x{body}.{stamp}.{seal}", "", "a.b.c"):
        ann.cookies = {name: forged}
        assert ann.come_back(back).status_code == 400


def test_pkce_is_used(visitor, hub):
    """A code alone is worth nothing: the provider wants the verifier of the browser's flow."""
    ann, thief = visitor(), visitor()
    code = parse_qs(urlsplit(hub.consent(ann.begin(), Person("ann"))).query)["code"][0]
    state = parse_qs(urlsplit(thief.begin()).query)["state"][0]
    stolen = thief.get("/login/callback", params={"code": code, "state": state})
    assert stolen.status_code == 400
    assert thief.call("users_me").status_code == 401


def test_who_says_no_is_not_in(visitor, hub):
    ann = visitor()
    state = parse_qs(urlsplit(ann.begin()).query)["state"][0]
    answer = ann.get("/login/callback", params={"error": "access_denied", "state": state})
    assert answer.status_code == 400
    assert "did not sign you in" in answer.text


def test_new_keys_of_the_provider_are_fetched(visitor, hub):
    hub.keys["k2"] = RSAKey.generate_key(2048, {"kid": "k2", "use": "sig", "alg": "RS256"})
    assert visitor().sign_in(hub, Person("ann")).status_code == 303


def test_no_way_leads_to_another_site(visitor, hub):
    for target in ("//evil.example", "/\\evil.example", "https://evil.example", "javascript:1"):
        answer = visitor().sign_in(hub, Person("ann"), target)
        assert answer.headers["location"] == "/", target


def test_a_domain_of_ones_own_begins_at_the_spaces(visitor):
    answer = visitor().get(
        "/login/huggingface", params={"next": "/?tab=x"}, headers={"host": "studio.example"}
    )
    assert answer.status_code == 303
    split = urlsplit(answer.headers["location"])
    assert (split.scheme, split.netloc, split.path) == ("https", SPACE_HOST, "/login/huggingface")
    assert parse_qs(split.query)["next"] == ["/?tab=x"]


def test_failed_sign_ins_are_limited_by_address_and_only_there(visitor, hub):
    ann, other = visitor(), visitor()
    statuses = {ann.get("/login/callback").status_code for _ in range(25)}
    assert statuses == {400, 429}
    assert ann.come_back(hub.consent(ann.begin(), Person("ann"))).status_code == 429
    assert other.sign_in(hub, Person("ann")).status_code == 303


def test_wrong_passwords_are_counted_by_visitor_not_by_the_spaces_proxy(visitor):
    guesser, other = visitor(), visitor()
    form = {"user": "somebody", "password": "guess"}
    for _ in range(MAX_TRIES):
        assert guesser.request("POST", "/login", data=form).status_code == 401
    assert guesser.request("POST", "/login", data=form).status_code == 429
    guesser.address = f"{other.address}, {guesser.address}"  # what a visitor adds does not count
    assert guesser.request("POST", "/login", data=form).status_code == 429
    assert other.request("POST", "/login", data=form).status_code == 401


def test_no_name_of_hugging_face_opens_or_is_an_account_here(visitor, hub, space):
    """Two people called ann: one of Hugging Face, one with a password."""
    space.call("users_add", name="zoe", role="owner", password=WORDS)
    stranger = visitor()
    assert stranger.sign_in(hub, Person("zoe")).status_code == 403
    space.call("users_add", name="zoe", role="viewer", via="huggingface")
    guest, local = visitor(), visitor()
    assert guest.sign_in(hub, Person("zoe")).status_code == 303
    assert role_of(guest) == ("hf:zoe", "viewer")
    answer = local.request("POST", "/login", data={"user": "zoe", "password": WORDS})
    assert answer.status_code == 303
    assert role_of(local) == ("zoe", "owner")
    for user, password in (
        ("hf:zoe", WORDS),
        ("hf:zoe", ""),
        ("hf:zoe", "the studio's own"),
        ("HF:new", "the studio's own"),
        ("proxy:new", "the studio's own"),
    ):
        form = {"user": user, "password": password or " "}
        assert visitor().request("POST", "/login", data=form).status_code == 401, user
    for operation, arguments in (
        ("users_set_password", {"name": "hf:zoe", "password": WORDS}),
        ("users_invite", {"name": "hf:zoe"}),
        ("users_add", {"name": "hf:new", "role": "owner"}),
        ("users_add", {"name": "new", "via": "huggingface", "password": WORDS}),
    ):
        assert space.post(operation, **arguments).status_code == 400, operation


def test_a_name_that_changed_hands_is_refused_until_an_owner_lets_go(visitor, hub, space):
    space.call("users_add", name="Kim", role="reviewer", via="huggingface")
    assert visitor().sign_in(hub, Person("kim", sub="first")).status_code == 303
    answer = visitor().sign_in(hub, Person("kim", sub="second"))
    assert answer.status_code == 403
    assert "another person" in answer.text
    space.call("users_let_go", name="hf:kim")
    second = visitor()
    assert second.sign_in(hub, Person("kim", sub="second")).status_code == 303
    assert visitor().sign_in(hub, Person("kim", sub="first")).status_code == 403
    space.call("users_disable", name="hf:kim")
    assert second.call("users_me").status_code == 401  # at once
    for name in ("kim", "ann"):  # shut out under every name
        assert visitor().sign_in(hub, Person(name, sub="second")).status_code == 403


def test_the_higher_role_holds_and_only_the_list_takes_its_own_back(visitor, hub, space):
    vic = visitor()
    assert vic.sign_in(hub, Person("vic")).status_code == 303
    assert role_of(vic)[1] == "viewer"
    space.call("users_set_role", name="hf:vic", role="reviewer")
    assert role_of(vic)[1] == "reviewer"
    assert visitor().sign_in(hub, Person(AUTHOR)).status_code == 303
    answer = space.post("users_set_role", name=f"hf:{AUTHOR}", role="viewer")
    assert answer.status_code == 409
    listed = {row["name"].lower(): row for row in space.call("users_page")}
    assert listed["hf:vic"]["via"] == "huggingface"
    ways = space.call("users_ways")
    assert ways["author"] == AUTHOR
    assert ways["listed"]["org:acme"] == "reviewer"
    assert vic.call("users_ways").status_code == 403


def test_no_token_of_hugging_face_is_kept_anywhere(visitor, hub, space):
    assert visitor().sign_in(hub, Person("ann")).status_code == 303
    assert len(hub.tokens) > 2
    secrets = [token.encode() for token in [*hub.tokens, CLIENT_SECRET]]
    seen = 0
    for path in space.home.rglob("*"):
        if path.is_file():
            seen += 1
            content = path.read_bytes()
            assert not [s for s in secrets if s in content], path
    assert seen > 3
    for path in ("/config", "/gradio_api/info", "/login"):
        text = space_get(space, path)
        assert CLIENT_SECRET not in text


def space_get(space: RunningApp, path: str) -> str:
    owner = Visitor(space.url)
    token = json.loads((space.home / "server.json").read_text())["token"]
    answer = owner.get(path, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    owner.close()
    return answer.text
