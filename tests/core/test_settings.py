"""Who could reach the app, and what keeps them out."""

import pytest

from distill_studio.core.settings import Settings


@pytest.mark.parametrize(
    ("host", "password", "is_locked"),
    [
        ("127.0.0.1", None, False),
        ("localhost", "", False),
        ("0.0.0.0", None, True),
        ("0.0.0.0", "", True),  # an unset variable passed on is no password
        ("0.0.0.0", "secret", False),
        ("192.168.1.5", None, True),
    ],
)
def test_another_host_is_locked_until_a_password_is_set(host, password, is_locked):
    assert Settings(host=host, password=password).is_locked is is_locked


def test_a_space_is_never_loopback(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert Settings().host == "0.0.0.0"
    assert Settings(host="127.0.0.1").is_locked
