import json
from collections.abc import Iterator

import pytest

from distill_studio.core.actor import Actor, Role
from distill_studio.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from distill_studio.core.records import Message, Pair, TeacherConfig, TeacherKind
from distill_studio.services import hub_tokens, operations
from distill_studio.services.generation_planning import GenerationWish
from distill_studio.services.jobs import NeedsKey
from distill_studio.services.teachers import STARTER
from distill_studio.services.workspace import Workspace
from distill_studio.store import pairs as pairs_table
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from tests.stub_openai import StubServer, failure

KEY = "sk-very-secret-0123456789"
REVIEWER = Actor(user="r", role=Role.REVIEWER)
VIEWER = Actor(user="v", role=Role.VIEWER)


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def config(url: str, **fields) -> TeacherConfig:
    return TeacherConfig(
        name="Stub", kind=TeacherKind.OPENAI, model="stub-1", base_url=url, **fields
    )


def test_the_starter_teacher_comes_first_and_stays(workspace: Workspace, owner: Actor) -> None:
    assert [t.name for t in workspace.teachers.page(VIEWER)] == [STARTER.name]
    workspace.teachers.save(owner, config("http://127.0.0.1:1/v1").model_copy(update={"name": "A"}))
    assert [t.name for t in workspace.teachers.page(VIEWER)] == [STARTER.name, "A"]
    with pytest.raises(Conflict):
        workspace.teachers.delete(owner, STARTER.name)
    with pytest.raises(Conflict):
        workspace.teachers.save(owner, STARTER)
    with pytest.raises(Conflict):  # its key would be given to the Hub
        workspace.teachers.save(
            owner, config("http://127.0.0.1:1/v1").model_copy(update={"name": hub_tokens.HUB})
        )
    workspace.teachers.delete(owner, "A")
    with pytest.raises(NotFound):
        workspace.teachers.delete(owner, "A")
    assert workspace.teachers.model(STARTER.name).name == "smollm2-135m-instruct"


def test_presets_are_usable(workspace: Workspace, owner: Actor) -> None:
    for preset in workspace.teachers.presets(VIEWER):
        saved = workspace.teachers.save(
            owner, config(preset["base_url"], key_env=preset["key_env"])
        )
        assert saved.base_url == preset["base_url"]


def test_session_keys_are_in_memory_only(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    saved = workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    assert saved.needs_key
    assert workspace.teachers.test(owner, "Stub").ok
    assert stub.headers[-1]["authorization"] == f"Bearer {KEY}"
    preview = workspace.generate.preview(owner, GenerationWish(teachers=["Stub"]))
    everything = json.dumps([workspace.db.rows("SELECT * FROM teachers"), preview], default=str)
    assert KEY not in everything
    workspace.db.checkpoint()
    assert KEY.encode() not in workspace.db.path.read_bytes()

    # edited without the key: kept at the same address, dropped at another one
    workspace.teachers.save(owner, config(stub.url, concurrency=2))
    assert workspace.teachers.test(owner, "Stub").ok
    moved = workspace.teachers.save(owner, config("http://127.0.0.1:9/v1"))
    assert not moved.needs_key
    assert KEY not in workspace.studio.session_keys.values()


def test_a_key_that_is_gone_is_asked_for(
    workspace: Workspace, owner: Actor, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    workspace.studio.session_keys.clear()  # as after a restart
    with pytest.raises(NeedsKey):
        workspace.teachers.model("Stub")
    assert workspace.teachers.test(owner, "Stub").code == "needs_key"
    workspace.teachers.key(owner, "Stub", KEY)
    assert workspace.teachers.test(owner, "Stub").ok

    workspace.teachers.save(owner, config(stub.url, key_env="STUB_KEY"))
    with pytest.raises(NeedsKey, match="STUB_KEY"):
        workspace.teachers.model("Stub")
    monkeypatch.setenv("STUB_KEY", "from-environment")
    assert workspace.teachers.test(owner, "Stub").ok
    assert stub.headers[-1]["authorization"] == "Bearer from-environment"


def test_the_hubs_token_is_the_key_at_the_hubs_own_addresses_only(
    workspace: Workspace, owner: Actor, stub: StubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)  # nobody is logged in here
    workspace.teachers.save(owner, config(stub.url, key_env="HF_TOKEN"))
    hub_tokens.give(workspace, "hf_mine")
    assert workspace.teachers.test(owner, "Stub").code == "needs_key"  # somebody else's server

    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stub.url.removesuffix("/v1"))
    assert workspace.teachers.test(owner, "Stub").ok
    assert stub.headers[-1]["authorization"] == "Bearer hf_mine"
    workspace.studio.session_keys.clear()  # as after a restart
    with pytest.raises(NeedsKey) as waits:
        workspace.teachers.model("Stub")
    assert waits.value.teacher == hub_tokens.HUB  # its jobs go on when the token is given again


@pytest.mark.parametrize(
    ("url", "is_theirs"),
    [
        ("https://router.huggingface.co/v1", True),
        ("https://Router.HuggingFace.co/v1", True),
        ("https://a1.eu-west-1.aws.endpoints.huggingface.cloud/v1", False),  # anybody's
        ("http://router.huggingface.co/v1", False),
        ("https://evil-huggingface.co/v1", False),
        ("https://router.huggingface.co.example.com/v1", False),
    ],
)
def test_which_addresses_are_the_hubs(url: str, is_theirs: bool) -> None:
    assert hub_tokens.goes_to(url) == is_theirs


def test_keys_of_two_workspaces_do_not_mix(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    workspace.teachers.save(owner, config(stub.url), session_key=KEY)
    other = workspace.studio.workspace("other", create=True)
    other.teachers.save(owner, config("http://127.0.0.1:9/v1"))
    other.teachers.model("Stub")
    assert workspace.studio.session_keys == {"main/Stub": KEY}


def test_only_an_owner_names_addresses(workspace: Workspace, stub: StubServer) -> None:
    teachers = workspace.teachers
    for refused in (
        lambda: teachers.save(REVIEWER, config(stub.url)),
        lambda: teachers.delete(REVIEWER, "Stub"),
        lambda: teachers.key(REVIEWER, "Stub", KEY),
        lambda: teachers.models(REVIEWER, stub.url),
        lambda: teachers.test(REVIEWER, teacher=config(stub.url)),
        lambda: teachers.test(VIEWER, STARTER.name),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert not stub.headers


def test_lists_models_and_explains_failure(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    listed = operations.call(
        workspace, owner, "teachers_models", {"base_url": stub.url, "session_key": KEY}
    )
    assert listed == ["stub-1", "stub-2"]

    stub.behave = lambda body: failure(404, f"The model {body['model']} does not exist")
    result = workspace.teachers.test(owner, teacher=config(stub.url, key_env=""))
    assert (result.ok, result.code) == (False, "unknown_model")
    assert "stub-2" in result.hint

    stub.behave = lambda body: failure(401, f"bad key {KEY}")
    result = workspace.teachers.test(owner, teacher=config(stub.url), session_key=KEY)
    assert (result.ok, result.code) == (False, "unauthorised")
    assert KEY not in result.model_dump_json()

    result = workspace.teachers.test(owner, teacher=config("http://127.0.0.1:1/v1"))
    assert (result.ok, result.code) == (False, "unreachable")
    assert result.hint
    with pytest.raises(InvalidInput):
        workspace.teachers.models(owner, "file:///etc/passwd")


def test_each_address_is_tested(workspace: Workspace, owner: Actor, stub: StubServer) -> None:
    dead = "http://127.0.0.1:1/v1"
    second = StubServer(lambda body: failure(401, f"bad key {KEY}"))
    try:
        urls = (dead, second.url)
        result = workspace.teachers.test(
            owner, teacher=config(stub.url, base_urls=urls), session_key=KEY
        )
        assert [(t.url, t.ok, t.code) for t in result.urls] == [
            (stub.url, True, ""),
            (dead, False, "unreachable"),
            (second.url, False, "unauthorised"),
        ]
        assert (result.ok, result.message) == (True, "1 of 3 addresses answers.")
        assert result.sample.startswith("Answer to:")
        assert all(t.message and t.hint for t in result.urls[1:])
        assert KEY not in result.model_dump_json()
        assert len(stub.requests) == len(second.requests) == 1

        second.behave = stub.behave
        workspace.teachers.save(owner, config(stub.url, base_urls=(second.url,)))
        result = workspace.teachers.test(owner, "Stub")
        assert (result.ok, result.message) == (True, "2 of 2 addresses answer.")
        result = workspace.teachers.test(
            owner, teacher=config(dead, base_urls=("http://127.0.0.1:2/v1",))
        )
        assert (result.ok, result.code) == (False, "unreachable")
        assert result.message == "None of 2 addresses answers."
    finally:
        second.close()


def test_a_key_goes_to_no_address_added_later(
    workspace: Workspace, owner: Actor, stub: StubServer
) -> None:
    second = StubServer()
    try:
        both = config(stub.url, base_urls=(second.url, f"{stub.url}/chat/completions"))
        saved = workspace.teachers.save(owner, both, session_key=KEY)
        assert saved.urls == (stub.url, second.url), "canonical, each once"
        kept = workspace.teachers.save(owner, config(second.url))
        assert kept.needs_key, "an address less is no new one"
        more = workspace.teachers.save(owner, config(second.url, base_urls=("http://x.example",)))
        assert not more.needs_key
        assert KEY not in workspace.studio.session_keys.values()
        with pytest.raises(InvalidInput):
            workspace.teachers.save(owner, config(stub.url, base_urls=("http://me:pw@x/v1",)))
    finally:
        second.close()


def test_prices_costs_and_estimates(workspace: Workspace, owner: Actor) -> None:
    teachers = workspace.teachers
    at_openai = config("https://api.openai.com/v1").model_copy(update={"model": "gpt-4.1-mini"})
    teachers.save(owner, at_openai.model_copy(update={"name": "Mini", "spend_limit_usd": 0.01}))
    teachers.save(owner, config("https://unknown.example/v1"))
    prices = {price.teacher: price for price in teachers.prices(VIEWER)}
    assert (prices[STARTER.name].usd_in, prices[STARTER.name].is_known) == (0.0, True)
    assert (prices["Mini"].usd_in, prices["Mini"].usd_out) == (0.4, 1.6)
    assert prices["Mini"].as_of >= "2026"
    assert not prices["Stub"].is_known
    assert teachers.cost("Mini", 1_000_000, 500_000) == pytest.approx(1.2)
    assert teachers.cost("Stub", 1, 1) is None
    assert teachers.cost(STARTER.name, 1e6, 1e6) == 0
    guess = teachers.estimate(VIEWER, "Mini", 100, 40_000, max_tokens=200)
    assert (guess.prompt_tokens, guess.completion_tokens) == (10_000, 10_000)
    assert guess.usd == pytest.approx(0.02)
    assert guess.is_over_limit
    assert "half" in guess.basis
    pairs_table.insert(
        workspace.db,
        [
            Pair(
                seed_id=f"s{n}", messages=(Message(role="user", content="q"),), answer="a",
                teacher="Mini", completion_tokens=n,
            )
            for n in (20, 40)
        ],
    )  # fmt: skip
    known = teachers.estimate(VIEWER, "Mini", 100, 40_000, max_tokens=200)
    assert (known.completion_tokens, known.basis) == (3000, "its answers so far")
    assert not known.is_over_limit
    assert teachers.estimate(VIEWER, "Stub", 1, 1).usd is None


def test_limits_that_cannot_hold_are_refused(workspace: Workspace, owner: Actor) -> None:
    somewhere = "https://unknown.example/v1"
    with pytest.raises(InvalidInput, match="cannot hold"):
        workspace.teachers.save(owner, config(somewhere, spend_limit_usd=1.0))
    with pytest.raises(InvalidInput, match="one of the two prices"):
        workspace.teachers.save(owner, config(somewhere, price_in=1.0))
    priced = config(somewhere, spend_limit_usd=1.0, price_in=1.0, price_out=2.0)
    assert workspace.teachers.save(owner, priced).spend_limit_usd == 1.0


def test_models_of_one_teacher_share_its_pace(workspace: Workspace, owner: Actor) -> None:
    workspace.teachers.save(owner, config("http://127.0.0.1:9/v1", requests_per_min=60))
    first, second = workspace.teachers.model("Stub"), workspace.teachers.model("Stub")
    assert isinstance(first, OpenAIChatModel)
    assert isinstance(second, OpenAIChatModel)
    assert first.limit is second.limit
    assert first.spending is not second.spending
    spent = workspace.teachers.model("Stub", spent_usd=0.5)
    assert isinstance(spent, OpenAIChatModel)
    assert spent.spending.spent_usd == 0.5
