"""Importers: good rows come out, bad ones are named, nothing raises for one bad row."""

import json
import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill_studio.core.errors import InvalidInput
from distill_studio.seeds import IMPORTERS
from distill_studio.seeds.detect import detect_format
from distill_studio.seeds.source import SourceRow

ROW = {"instruction": "Say hello", "output": "Hello"}


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> list[SourceRow]:
    return list(IMPORTERS[detect_format(path)](path))


def values(rows: list[SourceRow]) -> list[dict]:
    return [row.values for row in rows if row.values is not None]


def problems(rows: list[SourceRow]) -> list[tuple[int, str]]:
    return [(row.line, row.problem) for row in rows if row.values is None]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"a": 1}\n{"a": 2}\n', "jsonl"),
        ("a.json", '[{"a": 1}]', "json"),
        ("lines.json", '{"a": 1}\n{"a": 2}\n', "jsonl"),
        ("array.jsonl", '[{"a": 1}]', "json"),
        ("a.csv", "a,b\n1,2\n", "csv"),
        ("no_ending", '{"a": 1}\n{"a": 2}\n', "jsonl"),
        ("no_ending_csv", "a,b\n1,2\n", "csv"),
        ("bom.jsonl", b'\xef\xbb\xbf{"a": 1}\n', "jsonl"),
        ("pretty.json", '{\n "data": [{"a": 1}]\n}', "json"),
    ],
)
def test_format_follows_the_content(tmp_path: Path, name: str, content, expected: str) -> None:
    path = written(tmp_path / name, content)
    assert detect_format(path) == expected
    assert values(read(path))
    assert not problems(read(path))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl", "", "is empty"),
        ("a.csv", " \n\n", "is empty"),
        ("a.parquet", "PAR", "is no Parquet file"),
        ("a.jsonl", b"\x1f\x8b\x08rest", "gzip"),
        ("a.csv", b"PK\x03\x04rest", "spreadsheet"),
        ("a.json", '[{"a": 1}]'.encode("utf-16"), "UTF-16"),
        ("a.bin", "one line of prose", "neither JSON"),
    ],
)
def test_files_that_cannot_be_used_are_refused(tmp_path: Path, name, content, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        detect_format(written(tmp_path / name, content))


def test_broken_json_on_line_7_is_listed_and_the_rest_goes_in(tmp_path: Path) -> None:
    lines = [json.dumps({**ROW, "n": n}) for n in range(1, 11)]
    lines[6] = '{"instruction": "broken'
    rows = read(written(tmp_path / "a.jsonl", "\n".join(lines)))
    assert [row["n"] for row in values(rows)] == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    [(line, reason)] = problems(rows)
    assert line == 7
    assert "Broken JSON at column" in reason


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("[1, 2]", "found a list"),
        ('"text"', "found text"),
        ("[" * 100_000, "deeper than"),
        ('{"a": ' * 70 + "1" + "}" * 70, "deeper than"),
        ('{"a": ' + "9" * 5000 + "}", "Broken JSON"),
        ("not json", "Broken JSON"),
    ],
)
def test_a_bad_line_costs_that_line_only(tmp_path: Path, bad: str, says: str) -> None:
    good = json.dumps(ROW)
    rows = read(written(tmp_path / "a.jsonl", f"{good}\n{bad}\n\n{good}\n"))
    assert values(rows) == [ROW, ROW]
    [(line, reason)] = problems(rows)
    assert line == 2
    assert says in reason


def test_invalid_utf8_names_line_and_byte(tmp_path: Path) -> None:
    content = json.dumps(ROW).encode() + b'\n{"a": "\xff"}\n' + json.dumps(ROW).encode()
    rows = read(written(tmp_path / "a.jsonl", content))
    assert values(rows) == [ROW, ROW]
    assert problems(rows) == [
        (2, "Not valid UTF-8: byte 8 of the line is 0xFF. Save the file as UTF-8.")
    ]


def test_a_100_mb_line_is_named_and_never_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": "')
        for _ in range(100):
            file.write(b"x" * 1024 * 1024)
        file.write(b'"}\n' + json.dumps(ROW).encode())
    tracemalloc.start()
    rows = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert values(rows) == [ROW]
    assert problems(rows) == [(1, "The line is longer than 16 MiB and was not read.")]
    assert peak < 64 * 1024 * 1024


def test_nan_counts_as_empty(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.jsonl", '{"a": NaN, "b": -Infinity, "c": 1.5}'))
    assert values(rows) == [{"a": None, "b": None, "c": 1.5}]


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
def test_json_arrays_keep_rows_and_lines(tmp_path: Path, indent: int | None) -> None:
    data = [{"text": '],"{}[\\"\n', "n": n, "more": [{"x": [1, {}]}]} for n in range(50)]
    path = written(tmp_path / "a.json", json.dumps(data, indent=indent))
    rows = read(path)
    assert values(rows) == data
    lines = path.read_text().splitlines()
    if indent:
        assert all(lines[row.line - 1].strip() == "{" for row in rows)


def test_an_array_cut_off_gives_the_rows_before_the_cut(tmp_path: Path) -> None:
    text = json.dumps([{**ROW, "n": n} for n in range(5)], indent=1)
    rows = read(written(tmp_path / "a.json", text[:-20]))
    assert [row["n"] for row in values(rows)] == [0, 1, 2, 3]
    [(line, reason)] = problems(rows)
    assert line == 1 + 4 * 5 + 1
    assert "never closed" in reason


@pytest.mark.parametrize("bad", ['{"n": 3, "a": "open}', '{"n": 3, "a": ', '{"n": 3}}', '{"n": 3]'])
def test_a_broken_element_of_an_array_is_listed(tmp_path: Path, bad: str) -> None:
    elements = [json.dumps({"n": n, "a": "x"}) for n in range(6)]
    elements[3] = bad
    rows = read(written(tmp_path / "a.json", "[\n  " + ",\n  ".join(elements) + "\n]"))
    kept = [row["n"] for row in values(rows)]
    assert [n for n in kept if n != 3] == [0, 1, 2, 4, 5]
    assert problems(rows)[0][0] == 5


def test_invalid_utf8_in_an_array_names_its_line(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.json", b'[\n{"a": 1},\n{"a":\n"\xe9"},\n{"a": 3}\n]'))
    assert values(rows) == [{"a": 1}, {"a": 3}]
    [(line, reason)] = problems(rows)
    assert line == 4
    assert "0xE9" in reason


def test_backslashes_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [{"a": '\\"' * n + "é\\", "b": "]"} for n in range(20)]
    path = written(tmp_path / "a.json", json.dumps(data, ensure_ascii=False))
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr("distill_studio.seeds.json_file.CHUNK_BYTES", size)
        assert values(read(path)) == data


def test_csv_ragged_rows_are_listed(tmp_path: Path) -> None:
    text = 'question,answer\n"a, ""b""\nc",d\nonly one\n1,2,3\n\ne,f\n'
    rows = read(written(tmp_path / "a.csv", text))
    assert values(rows) == [
        {"question": 'a, "b"\nc', "answer": "d"},
        {"question": "e", "answer": "f"},
    ]
    assert [line for line, _ in problems(rows)] == [4, 5]
    assert "3 fields where the header has 2 (question, answer)" in problems(rows)[1][1]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_csv_with_other_separators(tmp_path: Path, mark: str) -> None:
    rows = read(written(tmp_path / "a.csv", f"q{mark}a\n1{mark}2, 3\n"))
    assert values(rows) == [{"q": "1", "a": "2, 3"}]


def test_csv_problems_are_located(tmp_path: Path) -> None:
    rows = read(written(tmp_path / "a.csv", b'q,a\n1,\xff\n2,b\n3,"open\n4,d\n'))
    assert values(rows) == [{"q": "2", "a": "b"}]
    (line, reason), (open_line, open_reason) = problems(rows)
    assert (line, "0xFF" in reason) == (2, True)
    assert (open_line, "lines 4 to 5 were not read" in open_reason) == (4, True)


def test_csv_header_must_be_clear(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="twice: a"):
        read(written(tmp_path / "a.csv", "a,b,a\n1,2,3\n"))


def test_parquet_rows_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    data = [{"q": f"q{n}", "m": [{"role": "user", "content": "x"}]} for n in range(2500)]
    pq.write_table(pa.Table.from_pylist(data), path, row_group_size=500)
    rows = read(path)
    assert values(rows) == data
    assert [rows[0].line, rows[-1].line] == [1, 2500]
    damaged = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    damaged[start : start + 40] = b"\xff" * 40
    rows = read(written(tmp_path / "b.parquet", bytes(damaged)))
    assert len(values(rows)) == 2000
    [(line, reason)] = problems(rows)
    assert line == 501
    assert "Rows 501 to 1000 cannot be read" in reason
    with pytest.raises(InvalidInput, match="no readable Parquet"):
        read(written(tmp_path / "c.parquet", path.read_bytes()[:-30]))
