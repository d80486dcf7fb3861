import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.teachers.addresses import checked_url, checked_variable


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("localhost:11434", "http://localhost:11434/v1"),
        (" https://api.example.com/v1/chat/completions ", "https://api.example.com/v1"),
        ("https://host/openai/deployments/x", "https://host/openai/deployments/x"),
        ("http://[::1]:8000", "http://[::1]:8000/v1"),
    ],
)
def test_brings_addresses_into_form(given: str, wanted: str) -> None:
    assert checked_url(given) == wanted


@pytest.mark.parametrize(
    "given",
    [
        "",
        "ftp://host/v1",
        "http://",
        "http://host:99999/v1",
        "http://[",
        "file:///etc/passwd",
        "http://me:secret@host/v1",
        "http://host/v1?api-key=secret",
    ],
)
def test_refuses_what_is_no_address_and_does_not_repeat_secrets(given: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked_url(given)
    assert "secret" not in str(refused.value)


def test_a_key_in_the_place_of_a_variable_is_refused_and_not_repeated() -> None:
    assert checked_variable(" HF_TOKEN ") == "HF_TOKEN"
    assert checked_variable("") == ""
    for given in ("sk-abc123", "hf_AbCdEf", "DISTILL_STUDIO_PASSWORD"):
        with pytest.raises(InvalidInput) as refused:
            checked_variable(given)
        assert given not in str(refused.value)
