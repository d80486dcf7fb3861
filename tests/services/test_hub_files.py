"""A dataset of the Hub reads files of the Hub and no others."""

import json
import subprocess
import sys

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.services.hub_files import check_files


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "http://169.254.169.254/latest", "zip://a.csv::https://x.example/a.zip",
     "webhdfs://10.0.0.1/x", "hf://datasets/a/b::file:///etc/passwd"],
)  # fmt: skip
def test_files_from_elsewhere_are_refused(path):
    with pytest.raises(InvalidInput, match="not a file of the Hub"):
        check_files({"train": ["hf://datasets/a/b@1/x.csv"], "test": [path]})


def test_files_of_the_hub_pass():
    check_files({"train": ["hf://datasets/a/b@1/x.csv", "zip://a.csv::hf://datasets/a/b@1/x.zip"]})


def test_a_folder_of_this_machine_is_no_dataset_of_the_hub(tmp_path):
    """`datasets` itself takes the path of a folder for a dataset's name."""
    (tmp_path / "rows.jsonl").write_text(json.dumps({"a": 1}) + "\n", encoding="utf-8")
    program = f"""
from distill_studio.core.errors import StudioError
from distill_studio.services.hub_data import HubPlace, stream
from distill_studio.services.hub_files import keep_to_the_hub
try:
    print(list(stream(HubPlace(dataset={str(tmp_path)!r}), False)[1]))
except StudioError as err:
    print("refused", err.user_message)
keep_to_the_hub()
import fsspec
for url in ("http://127.0.0.1/x", "webhdfs://127.0.0.1/x", "github://a:b@/x", "ftp://127.0.0.1/x"):
    try:
        fsspec.open(url).open()
        print("opened", url)
    except ValueError as err:
        print(err)
from fsspec.core import url_to_fs
from datasets.data_files import HfFileSystem
print(type(url_to_fs("hf://datasets/a/b")[0]).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    assert lines[0].startswith("refused "), lines
    assert [line for line in lines[1:-1] if "not known" in line] == lines[1:-1], lines
    assert len(lines) == 6
    assert lines[-1] == "HfFileSystem"
