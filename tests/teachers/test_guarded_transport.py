"""A teacher's URL leads nowhere inside: by number, by name, by redirect, by a name that changes.

Real servers on 127.0.0.1; only the name server is played, and public addresses are lent to the
loopback interface by the played `connect`.
"""

import ast
import asyncio
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpcore2
import httpx2
import pytest

from distill_studio.core.errors import InvalidInput, TeacherAddressRefused, TeacherUnreachable
from distill_studio.core.protocols import ChatRequest
from distill_studio.core.reach import Reach
from distill_studio.core.records import Message, TeacherConfig, TeacherKind
from distill_studio.teachers import openai_compatible
from distill_studio.teachers.openai_compatible import OpenAIChatModel
from tests.stub_openai import Answer, StubServer

GUARDED = Reach(is_open=False)
PUBLIC = "93.184.216.34"


@pytest.fixture
def stub() -> Iterator[StubServer]:
    server = StubServer()
    yield server
    server.close()


def port_of(stub: StubServer) -> int:
    return httpx2.URL(stub.url).port


def teacher(url: str, *more: str, retries: int = 3) -> TeacherConfig:
    return TeacherConfig(
        name="T", kind=TeacherKind.OPENAI, model="stub-1", base_url=url, base_urls=more,
        timeout_s=5.0, max_retries=retries,
    )  # fmt: skip


REQUEST = ChatRequest(key="1", messages=(Message(role="user", content="Hello"),))


def ask(url: str, reach: Reach, *more: str):
    async def asked():
        model = OpenAIChatModel(teacher(url, *more), "sk-secret", reach=reach)
        try:
            replies = [reply async for reply in model.generate([REQUEST])]
            return replies[0]
        finally:
            await model.aclose()

    return asyncio.run(asked())


class Names:
    """A played name server: each name's answers in turn, the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: list[list[str]]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): list(all_) for name, all_ in answers.items()}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host, port, *rest, **options):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self._answers:
            return self._real(host, port, *rest, **options)
        self.asked.append(name)
        answers = self._answers[name]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [
            (socket.AF_INET6 if ":" in a else socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port))
            for a in addresses
        ]


@pytest.fixture
def internet(monkeypatch) -> list[tuple[str, int]]:
    """Lends PUBLIC to this machine: connections to it end on 127.0.0.1, same port."""
    connected: list[tuple[str, int]] = []
    plain = httpcore2.AnyIOBackend.connect_tcp

    async def connect(self, host, port, *rest, **options):
        connected.append((host, port))
        return await plain(self, "127.0.0.1" if host == PUBLIC else host, port, *rest, **options)

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    return connected


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::ffff:7f00:1]"],
)
def test_this_machine_in_any_spelling(stub, host):
    url = f"http://{host}:{port_of(stub)}/v1"
    assert ask(url, Reach()).is_ok, "on a laptop it is reached"
    reply = ask(url, GUARDED)
    assert reply.error_code == "address_refused"
    assert "DISTILL_STUDIO_ALLOW_HOSTS" in reply.error
    assert "sk-secret" not in reply.error
    assert len(stub.requests) == 1, "nothing more was sent"


@pytest.mark.parametrize("address", ["169.254.169.254", "10.0.0.7", "fd00:ec2::254", "::1"])
def test_a_name_that_leads_inside(monkeypatch, internet, address):
    names = Names(monkeypatch, teacher_example=[[address]])
    reply = ask("http://teacher.example/v1", GUARDED)
    assert reply.error_code == "address_refused"
    assert address in reply.error
    assert internet == [], "no connection was tried"
    assert names.asked == ["teacher.example"], "and it was not tried again"


def test_one_bad_address_among_good_ones(monkeypatch, internet, stub):
    Names(monkeypatch, teacher_example=[[PUBLIC, "127.0.0.1"]])
    reply = ask(f"http://teacher.example:{port_of(stub)}/v1", GUARDED)
    assert reply.error_code == "address_refused"
    assert internet == []


def test_a_name_that_answers_differently_the_second_time(monkeypatch, internet, stub):
    names = Names(monkeypatch, teacher_example=[[PUBLIC], ["127.0.0.1"]])
    url = f"http://teacher.example:{port_of(stub)}/v1"
    assert ask(url, GUARDED).is_ok
    assert names.asked == ["teacher.example"], "resolved once: what was judged was connected to"
    assert internet == [(PUBLIC, port_of(stub))]
    assert stub.headers[0]["host"] == f"teacher.example:{port_of(stub)}"
    second = ask(url, GUARDED)  # a new connection: the answer of now is judged
    assert second.error_code == "address_refused"
    assert len(stub.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_leads_nowhere(monkeypatch, internet, stub, status):
    inside = StubServer()
    try:
        Names(monkeypatch, teacher_example=[[PUBLIC]])
        location = f"http://127.0.0.1:{port_of(inside)}/v1/chat/completions"
        stub.behave = lambda _: Answer({}, status, headers={"Location": location})
        reply = ask(f"http://teacher.example:{port_of(stub)}/v1", GUARDED)
        assert not reply.is_ok
        assert inside.paths == []
    finally:
        inside.close()


def test_even_a_client_that_follows_redirects_is_stopped(monkeypatch, internet, stub):
    from distill_studio.teachers.guarded_transport import guarded_transport

    inside = StubServer()
    Names(monkeypatch, teacher_example=[[PUBLIC]])
    location = f"http://127.0.0.1:{port_of(inside)}/v1/models"
    stub.behave = lambda _: Answer({}, 303, headers={"Location": location})

    async def fetch() -> None:
        transport = guarded_transport(GUARDED, httpx2.create_ssl_context(), httpx2.Limits())
        async with httpx2.AsyncClient(transport=transport, follow_redirects=True) as client:
            await client.post(
                f"http://teacher.example:{port_of(stub)}/v1/chat/completions", json={"messages": []}
            )

    try:
        with pytest.raises(httpx2.ConnectError, match="private or local"):
            asyncio.run(fetch())
        assert inside.paths == []
    finally:
        inside.close()


def test_no_proxy_of_the_environment_resolves_instead(monkeypatch, stub):
    proxy = StubServer()
    try:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.setenv("ALL_PROXY", proxy.url.removesuffix("/v1"))
        Names(monkeypatch, teacher_example=[["10.0.0.7"]])
        assert ask("http://teacher.example/v1", GUARDED).error_code == "address_refused"
        assert proxy.paths == []
    finally:
        proxy.close()


def test_an_allowed_name_and_a_server_started_here_are_reached(monkeypatch, stub):
    Names(monkeypatch, ollama_lan=[["127.0.0.1"]])
    port = port_of(stub)
    allowed = Reach(is_open=False, allowed=(f"ollama.lan:{port}",))
    assert ask(f"http://ollama.lan:{port}/v1", allowed).is_ok
    network = Reach(is_open=False, allowed=("127.0.0.0/8",))
    assert ask(f"http://ollama.lan:{port}/v1", network).is_ok
    own = Reach(is_open=False, own_ports=lambda: {port})
    assert ask(stub.url, own).is_ok
    assert len(stub.requests) == 3


def test_another_url_of_the_teacher_serves(monkeypatch, internet, stub):
    Names(monkeypatch, good_example=[[PUBLIC]])
    reply = ask("http://10.0.0.9/v1", GUARDED, f"http://good.example:{port_of(stub)}/v1")
    assert reply.is_ok


def test_streams_and_lists_of_models_are_guarded_too(stub):
    model = OpenAIChatModel(teacher(stub.url), reach=GUARDED)

    async def stream() -> None:
        async for _ in model.stream(REQUEST):
            pass

    for call in (stream, model.list_models):
        with pytest.raises(TeacherAddressRefused):
            asyncio.run(call())
    assert stub.paths == []


def test_unknown_and_silent_hosts_are_unreachable_not_refused(monkeypatch, internet):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    model = OpenAIChatModel(teacher("http://nowhere.example/v1"), reach=GUARDED)
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(TeacherUnreachable, match="not known"):
            asyncio.run(model.list_models())
    Names(monkeypatch, teacher_example=[[PUBLIC]])
    model = OpenAIChatModel(teacher("http://teacher.example:9/v1"), reach=GUARDED)
    with pytest.raises(TeacherUnreachable):
        asyncio.run(model.list_models())


def test_the_second_address_is_tried_when_the_first_is_silent(monkeypatch, internet, stub):
    other = "93.184.216.35"
    real = httpcore2.AnyIOBackend.connect_tcp

    async def connect(self, host, port, *rest, **options):
        if host == other:
            raise httpcore2.ConnectError("nobody there")
        return await real(self, host, port, *rest, **options)

    monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", connect)
    Names(monkeypatch, teacher_example=[[other, PUBLIC]])
    assert ask(f"http://teacher.example:{port_of(stub)}/v1", GUARDED).is_ok


def test_a_child_that_was_told_is_guarded_without_asking_for_it(monkeypatch, stub):
    for name, value in GUARDED.environment().items():
        monkeypatch.setenv(name, value)
    assert ask(stub.url, None).error_code == "address_refused"
    assert stub.paths == []


def test_no_room_of_the_package_asks_a_teacher_unguarded():
    """But for the trainers: they run in a child, which was told by its environment."""
    package = Path(openai_compatible.__file__).parents[1]
    clients = {"OpenAIChatModel", "PromptScorer", "new_client", "Endpoints", "server_findings"}
    unguarded = []
    for path in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            is_told = any("reach" in ast.unparse(given) for given in [*node.args, *node.keywords])
            if node.func.id in clients and not is_told and "trainers" not in path.parts:
                unguarded.append(path.name)
    assert unguarded == ["generation_planning.py"], "that one only shows what would be sent"


# -- the service ------------------------------------------------------------------------------


@pytest.fixture
def guarded_workspace(workspace, monkeypatch):
    settings = workspace.studio.settings.model_copy(update={"host": "0.0.0.0"})
    monkeypatch.setattr(workspace.studio, "settings", settings)
    return workspace


def test_every_way_to_ask_is_guarded(guarded_workspace, owner, stub, monkeypatch):
    teachers = guarded_workspace.teachers
    with pytest.raises(InvalidInput, match="private or local"):
        teachers.save(owner, teacher(stub.url))
    with pytest.raises(InvalidInput, match="private or local"):
        teachers.save(owner, teacher("https://api.example.com/v1", "http://0x7f.1:80/v1"))
    with pytest.raises(InvalidInput, match="private or local"):
        teachers.models(owner, stub.url)
    assert teachers.test(owner, teacher=teacher(stub.url)).code == "address_refused"

    Names(monkeypatch, rebound_example=[["127.0.0.1"]])
    named = f"http://rebound.example:{port_of(stub)}/v1"
    teachers.save(owner, teacher(named))
    assert teachers.test(owner, name="T").code == "address_refused"
    with pytest.raises(TeacherAddressRefused):
        teachers.models(owner, named)
    assert stub.paths == []


def test_a_teacher_saved_on_a_laptop_stays_but_is_not_reached(workspace, owner, stub, monkeypatch):
    teachers = workspace.teachers
    saved = teachers.save(owner, teacher(stub.url))
    assert teachers.test(owner, name="T").ok
    settings = workspace.studio.settings.model_copy(update={"host": "0.0.0.0"})
    monkeypatch.setattr(workspace.studio, "settings", settings)
    assert teachers.test(owner, name="T").code == "address_refused"
    teachers.save(owner, saved.model_copy(update={"concurrency": 2}))  # its limits can be changed


def test_the_server_that_the_app_started_stays_reachable(guarded_workspace, owner, stub):
    """A row of the servers table whose process lives: this very test's."""
    import psutil

    from distill_studio.store import servers as table
    from distill_studio.teachers.vllm_server import ServerOptions

    options = ServerOptions(model="stub-1", name="Ours")
    row = {
        "name": "Ours",
        "options": options.model_dump_json(),
        "port": port_of(stub),
        "pid": psutil.Process().pid,
        "pid_started": psutil.Process().create_time(),
        "was_ready": True,
        "stopped_at": None,
        "created_at": datetime.now(UTC) - timedelta(seconds=5),
    }
    table.save(guarded_workspace.db, row)
    teachers = guarded_workspace.teachers
    teachers.save(owner, teacher(stub.url))
    assert teachers.test(owner, name="T").ok
    table.update(guarded_workspace.db, "Ours", stopped_at=datetime.now(UTC))
    assert teachers.test(owner, name="T").code == "address_refused"
