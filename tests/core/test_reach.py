"""Which addresses count as private, in all spellings, and what a list of exceptions allows."""

import ipaddress

import pytest

from distill_studio.core.reach import AddressRefused, Reach, checked_entries, is_public, literal
from distill_studio.core.settings import Settings

INSIDE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.5",
    "172.16.3.4",
    "192.168.1.1",
    "169.254.169.254",  # metadata of AWS, Azure, Google
    "100.100.100.200",  # metadata of Alibaba, in the carriers' range
    "168.63.129.16",  # Azure's host, public by number
    "192.0.0.192",  # metadata of Oracle
    "224.0.0.1",
    "255.255.255.255",
    "240.0.0.1",
    "::",
    "::1",
    "fd00:ec2::254",  # metadata of AWS
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0a00:0005",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
    "2002:7f00:1::",  # 6to4 of 127.0.0.1
    "2001:db8::1",
]
OUTSIDE = ["8.8.8.8", "104.18.33.45", "2606:4700::6812:212d", "::ffff:8.8.8.8", "64:ff9b::808:808"]
GUARDED = Reach(is_open=False)


@pytest.mark.parametrize("address", INSIDE)
def test_inside(address):
    assert not is_public(ipaddress.ip_address(address))
    with pytest.raises(AddressRefused):
        GUARDED.check("harmless.example", address, 443)


@pytest.mark.parametrize("address", OUTSIDE)
def test_outside(address):
    GUARDED.check("harmless.example", address, 443)


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "[::1]", "localhost",
     "LOCALHOST.", "db.localhost", "2852039166", "0", "[::ffff:7f00:1]"],
)  # fmt: skip
def test_numbers_in_any_spelling(host):
    assert literal(host) is not None
    with pytest.raises(AddressRefused):
        GUARDED.check_literal(host, 80)


def test_a_name_is_not_a_number():
    assert literal("api.openai.com") is None
    assert literal("dead.beef") is None
    GUARDED.check_literal("api.openai.com", 443)


def test_what_is_not_a_number_at_the_socket_is_refused():
    with pytest.raises(AddressRefused):
        GUARDED.check("x", "not-a-number", 80)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port"),
    [
        ("ollama.lan", "ollama.lan", "10.0.0.5", 11434),
        ("OLLAMA.lan", "ollama.LAN.", "10.0.0.5", 11434),
        ("*.corp.example", "a.b.corp.example", "192.168.0.7", 80),
        ("ollama.lan:11434", "ollama.lan", "10.0.0.5", 11434),
        ("10.0.0.0/8", "whatever.example", "10.200.1.1", 80),
        ("10.0.0.0/8", "whatever.example", "::ffff:10.200.1.1", 80),
        ("10.0.0.5", "10.0.0.5", "10.0.0.5", 80),
        ("10.0.0.5:8000", "10.0.0.5", "10.0.0.5", 8000),
        ("[fd00::7]:8000", "fd00::7", "fd00::7", 8000),
        ("fd00::/8", "x", "fd00:ec2::254", 80),
        ("*", "anything", "127.0.0.1", 1),
    ],
)
def test_exceptions(entry, host, address, port):
    Reach(is_open=False, allowed=checked_entries(entry)).check(host, address, port)


@pytest.mark.parametrize(
    ("entry", "host", "address", "port"),
    [
        ("ollama.lan", "other.lan", "10.0.0.5", 80),
        ("ollama.lan:11434", "ollama.lan", "10.0.0.5", 22),
        ("*.corp.example", "corp.example.evil.example", "10.0.0.5", 80),
        ("*.corp.example", "xcorp.example", "10.0.0.5", 80),
        ("10.0.0.5:8000", "x", "10.0.0.5", 8001),
        ("10.0.0.0/24", "x", "10.0.1.5", 80),
        ("0.0.0.0/0", "x", "fd00::1", 80),
    ],
)
def test_exceptions_allow_nothing_else(entry, host, address, port):
    with pytest.raises(AddressRefused):
        Reach(is_open=False, allowed=checked_entries(entry)).check(host, address, port)


def test_servers_started_here_are_reached_and_their_neighbours_are_not():
    reach = Reach(is_open=False, own_ports=lambda: {8123})
    reach.check("127.0.0.1", "127.0.0.1", 8123)
    for address, port in (("127.0.0.1", 8124), ("127.0.0.2", 8123), ("::1", 8123)):
        with pytest.raises(AddressRefused):
            reach.check("x", address, port)


def test_a_child_is_told(monkeypatch):
    assert Reach().environment() == {}
    assert Reach.of_this_process().is_open
    told = Reach(is_open=False, allowed=("a.example",), own_ports=lambda: {8123}).environment()
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    child = Reach.of_this_process()
    assert not child.is_open
    assert child.trusts("a.example")
    child.check("x", "127.0.0.1", 8123)
    with pytest.raises(AddressRefused):
        child.check("x", "127.0.0.1", 8124)


def test_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert Settings(home=tmp_path).reach.is_open, "a laptop's own Ollama"
    assert not Settings(home=tmp_path, host="0.0.0.0").reach.is_open
    monkeypatch.setenv("DISTILL_STUDIO_ALLOW_HOSTS", "ollama.lan, 10.0.0.0/8")
    guarded = Settings(home=tmp_path)
    assert guarded.allow_hosts == ("ollama.lan", "10.0.0.0/8")
    assert not guarded.reach.is_open, "a list holds on loopback too: behind a proxy, say"
    monkeypatch.setenv("DISTILL_STUDIO_ALLOW_HOSTS", "")
    assert Settings(home=tmp_path).reach.is_open
    monkeypatch.setenv("SPACE_ID", "ann/studio")
    on_a_space = Settings(home=tmp_path, host="127.0.0.1").reach
    assert not on_a_space.is_open
    assert on_a_space.trusts("router.huggingface.co"), "the Hub is inside, seen from a Space"
    assert not on_a_space.trusts("huggingface.co.evil.example")
    monkeypatch.setenv("DISTILL_STUDIO_ALLOW_HOSTS", "http://x/")
    with pytest.raises(ValueError, match="no host, address or network"):
        Settings(home=tmp_path)
