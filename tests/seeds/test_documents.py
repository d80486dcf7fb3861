"""Text files and archives of them are read safely; what cannot be read is named."""

import io
import zipfile
from pathlib import Path

import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds import documents
from distill_studio.seeds.detect import detect_format
from distill_studio.seeds.documents import read_text, read_zip
from distill_studio.seeds.drafts import open_file


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def archive(path: Path, files: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def problems(path: Path) -> list[str]:
    return [row.problem for row in read_zip(path) if row.problem]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", "Once, long ago.", "text"),
        ("a.md", "[A link](http://x) and {braces}", "text"),
        ("a.md", "# Title\n\nText", "text"),
        ("a.MARKDOWN", "{curly}", "text"),
        ("a.txt", '{"prompt": "x"}\n{"prompt": "y"}', "jsonl"),
        ("a.txt", '[{"prompt": "x"}]', "json"),
    ],
)
def test_texts_are_told_from_data(tmp_path: Path, name: str, content: str, expected: str) -> None:
    assert detect_format(written(tmp_path / name, content)) == expected


def test_a_text_becomes_seeds_with_their_place(tmp_path: Path) -> None:
    path = written(tmp_path / "a.txt", "\ufeffOne two three.\r\n\r\n\r\nFour five six.\r\n")
    file = open_file(path, open_file(path).mapping.model_copy(update={"passage_words": 3}))
    rows = list(file.rows())
    assert [row.line for row in rows] == [1, 4]
    [draft] = rows[1].drafts
    assert draft.messages[0].content == "Four five six."
    assert draft.extra == {"document": "a.txt", "part": 2, "of": 2}


def test_an_archive_gives_its_texts_in_order(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a.zip",
        {
            "b/two.md": "Second",
            "a.txt": "First",
            "__MACOSX/a.txt": "x",
            ".hidden/a.txt": "x",
            "b/": "",
            "b\\three.txt": "Third",
            "pic.png": b"\x89PNG",
            "empty.txt": " \n",
            "bad.txt": b"good\nbad \xff",
            "binary.txt": b"a\0b",
        },
    )
    assert detect_format(path) == "zip"
    rows = list(read_zip(path))
    documents_read = [row.values["document"] for row in rows if row.values]
    assert documents_read == ["a.txt", "b/two.md", "b/three.txt"]
    assert [row.line for row in rows] == list(range(1, 8))
    assert sorted(problems(path)) == [
        "bad.txt: line 2: Not valid UTF-8: byte 5 of the line is 0xFF. Save the file as UTF-8.",
        "binary.txt: line 1: Holds binary data, not text.",
        "empty.txt: It holds no words.",
        "pic.png is no text or Markdown file.",
    ]


@pytest.mark.parametrize("name", ["../up.txt", "/etc/root.txt", "a/../../up.txt", "C:/x.txt"])
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {name: "x", "ok.txt": "fine"})
    assert [row.values["document"] for row in read_zip(path) if row.values] == ["ok.txt"]
    assert "leads out of the archive" in problems(path)[0]
    assert list(tmp_path.iterdir()) == [path]


def test_an_encrypted_file_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "x", "b.txt": "fine"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag, in the file's own header and in the directory
    directory = data.index(b"PK\x01\x02")
    data[directory + 8] |= 1
    path.write_bytes(bytes(data))
    assert problems(path) == ["a.txt is encrypted. Pack it without a password."]
    assert [row.values["text"] for row in read_zip(path) if row.values] == ["fine"]


def test_a_damaged_file_costs_that_file_only(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a.txt": "x" * 1000, "b.txt": "fine"})
    data = bytearray(path.read_bytes())
    data[37] ^= 0xFF
    path.write_bytes(bytes(data))
    [problem] = problems(path)
    assert problem.startswith("a.txt cannot be read (")
    assert [row.values["text"] for row in read_zip(path) if row.values] == ["fine"]


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT_BYTES", 1000)
    monkeypatch.setattr(documents, "MAX_ARCHIVE_BYTES", 2500)
    path = archive(tmp_path / "a.zip", {"a.txt": "a " * 10**6, "b.txt": "fine"})
    assert "a.txt is larger than" in problems(path)[0]
    assert "is larger than" in next(read_text(written(tmp_path / "a.txt", "a " * 600))).problem
    many = archive(tmp_path / "b.zip", {f"{n}.txt": "word " * 180 for n in range(9)})
    assert "2.txt and what follows" in problems(many)[-1]


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"PK\x03\x04rest", "no readable ZIP"), (b"hello", "is no ZIP archive")],
)
def test_a_bad_archive_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        open_file(written(tmp_path / "a.zip", content))


def test_cut_off_office_and_crowded_archives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = archive(tmp_path / "a.zip", {"a.txt": "x" * 5000, "b.txt": "fine"}).read_bytes()
    with pytest.raises(InvalidInput, match="no readable ZIP"):
        open_file(written(tmp_path / "b.zip", whole[: len(whole) - 30]))
    office = archive(tmp_path / "c.zip", {"[Content_Types].xml": "x", "word/document.xml": "x"})
    with pytest.raises(InvalidInput, match="office document"):
        open_file(office)
    monkeypatch.setattr(documents, "MAX_DOCUMENTS", 1)
    with pytest.raises(InvalidInput, match="holds 2 files"):
        open_file(tmp_path / "a.zip")


def test_an_archive_in_memory_is_never_written_out(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("x.txt", "x")
    path = archive(tmp_path / "a.zip", {"in.zip": inner.getvalue(), "a.txt": "fine"})
    assert problems(path) == ["in.zip is no text or Markdown file."]
    assert list(tmp_path.iterdir()) == [path]
