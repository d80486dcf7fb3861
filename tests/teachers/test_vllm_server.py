"""What starts a vLLM server, and what is read from it; the server itself: services/test_servers."""

from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput, Unavailable
from distill_studio.teachers import vllm_install, vllm_server
from distill_studio.teachers.vllm_server import Dtype, ServerOptions


def test_the_command_is_a_list_bound_to_this_machine() -> None:
    options = ServerOptions(
        model="owner/name",
        dtype=Dtype.BFLOAT16,
        max_length=2048,
        tensor_parallel=2,
        extra=("--max-num-seqs", "64; rm -rf /"),
    )
    argv = vllm_server.command(options, python=Path("/py"), source="/models/m", port=81)
    text = " ".join(argv)
    assert "--host 127.0.0.1 --port 81" in text
    assert "--model /models/m --served-model-name owner/name" in text
    assert "--max-model-len 2048 --tensor-parallel-size 2" in text
    assert "data-parallel" not in text
    assert argv[-1] == "64; rm -rf /"  # one argument: no shell reads it


@pytest.mark.parametrize("chosen", ["--max-logprobs", "--max-logprobs=512", "--max_logprobs"])
def test_more_log_probabilities_than_by_default_unless_chosen(chosen: str) -> None:
    plain = vllm_server.command(ServerOptions(model="m"), python=Path("/py"), source="m", port=81)
    place = plain.index("--max-logprobs")
    assert plain[place + 1] == str(vllm_server.MAX_LOGPROBS)
    options = ServerOptions(model="m", extra=(chosen, "512"))
    argv = vllm_server.command(options, python=Path("/py"), source="m", port=81)
    assert str(vllm_server.MAX_LOGPROBS) not in argv
    assert sum(argument.startswith("--max") for argument in argv) == 1


@pytest.mark.parametrize("argument", ["--host", "--port=1", "--served_model_name", "--api-key=x"])
def test_what_the_app_sets_cannot_be_set_twice(argument: str) -> None:
    options = ServerOptions(model="m", extra=(argument,))
    with pytest.raises(InvalidInput, match="set by the app"):
        vllm_server.command(options, python=Path("/py"), source="m", port=81)


def test_a_missing_installation_says_how_to_install(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="make vllm"):
        vllm_server.interpreter(tmp_path / "python")


def test_the_log_gives_its_last_lines_and_its_last_error(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert vllm_server.tail(log, 5) == ""
    log.write_text("one\nValueError: too long\ntwo\n")
    assert vllm_server.tail(log, 2) == "ValueError: too long\ntwo"
    assert vllm_server.last_error(log) == "ValueError: too long"


def test_the_cpu_build_is_installed_without_what_text_models_do_not_need() -> None:
    named = [
        'torch==2.13.0+cpu; platform_machine == "x86_64"',
        "torchaudio",
        'torchcodec>=0.14; platform_machine != "riscv64"',
        "numpy",
        'scipy; extra == "bench"',
    ]
    assert vllm_install.wanted(named) == [
        'torch==2.13.0; platform_machine == "x86_64"',
        "numpy",
    ]
