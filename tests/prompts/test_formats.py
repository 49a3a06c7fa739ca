"""Files of every format: what is read, what is refused with which words, and that it streams."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.prompt_files import own, rows, text, write_recipe
from common.errors import BadInput
from pipeline.planning.bounds import bounds
from pipeline.planning.plan import build_plan
from pipeline.recipe.load import load_recipe
from prompts.json_documents import CHUNK, document_rows
from prompts.records import records
from prompts.sources import load_source


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstd,
}


def written(ending: str, content: list[dict[str, str]]) -> bytes:
    """The rows in the format of the ending."""
    if ending == ".jsonl":
        return text(*content)
    if ending == ".json":
        return json.dumps(content, indent=1).encode()
    if ending == ".parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(content), sink)
        return sink.getvalue()
    mark = "\t" if ending == ".tsv" else ","
    names = list(content[0])
    table = [names, *([row[name] for name in names] for row in content)]
    return "".join(f"{mark.join(cells)}\n" for cells in table).encode()


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
def test_every_format_gives_the_same_prompts_packed_or_not(tmp_path, ending, packer):
    path = tmp_path / f"mine{ending}{packer}"
    path.write_bytes(PACKERS[packer](written(ending, rows(0, 3))))
    prompts = load_source(own(path, "file"))
    assert [(p.messages[0]["content"], p.answer) for p in prompts] == [
        ("say 0", "0"), ("say 1", "1"), ("say 2", "2")]  # fmt: skip
    first = {".jsonl": ":1", ".csv": ":2", ".tsv": ":2"}.get(ending, ": row 1")
    assert prompts[0].place == path.name + first


@pytest.mark.parametrize("packer", [".gz", ".bz2", ".xz", ".zst"])
def test_an_archive_that_breaks_off_is_named_as_damaged(tmp_path, packer):
    data = PACKERS[packer](text(*rows(0, 3)))
    (tmp_path / f"mine.jsonl{packer}").write_bytes(data[:-5])
    with pytest.raises(BadInput, match=rf"mine\.jsonl\{packer}: damaged, it does not unpack"):
        load_source(own(tmp_path / f"mine.jsonl{packer}", "file", on_bad_row="skip"))


def test_archives_of_several_parts_are_read_to_the_end(tmp_path):
    for packer in (gzip.compress, zstd):
        (tmp_path / "mine.jsonl").write_bytes(packer(text(*rows(0, 2))) + packer(text(*rows(2, 2))))
        assert len(load_source(own(tmp_path / "mine.jsonl", "file"))) == 4


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"version": "1", "tags": ["x"], "data": rows(0, 2), "end": {"a": [1]}}, 2),
        (rows(0, 1)[0], 1),
        ({**rows(0, 1)[0], "tags": ["x", "y"]}, 1),
        ([], "holds no rows"),
        ({}, "exactly one of prompt, messages; got none|answer: is required"),
        ({"train": rows(0, 2), "test": rows(2, 1)}, "has the lists train, test\n.*split: train"),
        ([[1]], "row 1: not a JSON object but list"),
        ([*rows(0, 1), 3], "row 2: not a JSON object but int"),
        (3, "neither an array nor an object"),
    ],
)
def test_a_document_is_an_array_or_an_object_with_one_list(tmp_path, content, expected):
    (tmp_path / "mine.json").write_text(json.dumps(content))
    if isinstance(expected, int):
        assert len(load_source(own(tmp_path / "mine.json", "file"))) == expected
        return
    with pytest.raises(BadInput, match=rf"mine\.json.*({expected})"):
        load_source(own(tmp_path / "mine.json", "file"))


def test_a_split_names_a_list_of_a_document(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"train": rows(0, 2), "test": rows(2, 1)}))
    assert [p.answer for p in load_source(own(path, "file", split="test"))] == ["2"]
    with pytest.raises(BadInput, match="train, test, and no dev"):
        load_source(own(path, "file", split="dev"))
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 2)))
    with pytest.raises(BadInput, match=r"mine\.jsonl: has no splits, and the source names 'dev'"):
        load_source(own(tmp_path / "mine.jsonl", "file", split="dev"))


def test_a_json_file_may_hold_json_lines(tmp_path):
    for content in (text(*rows(0, 3)), b"\n" + text(*rows(0, 3))):
        (tmp_path / "mine.json").write_bytes(content)
        assert len(load_source(own(tmp_path / "mine.json", "file"))) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'[{"prompt": "q", "answer": "a"}, {"prompt": }]', "not JSON after row 1"),
        (b'[{"prompt": "q", "answer": "a"}', "not JSON after row 1.*end of the file"),
        (b'[{"prompt": "q", "answer": "a"}] x', "not JSON after row 1: more follows"),
        (b'[{"prompt": "q", "answer": "a', "not JSON before the first row: Unterminated string"),
        (b"\xff\xfe[", "not UTF-8"),
        (b"", "not JSON before the first row"),
    ],
)
def test_a_broken_document_is_refused_with_the_last_good_row(tmp_path, content, problem):
    (tmp_path / "mine.json").write_bytes(content)
    with pytest.raises(BadInput, match=problem):
        load_source(own(tmp_path / "mine.json", "file"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5), st.integers(1, 40))
def test_documents_are_read_in_pieces_as_the_json_module_reads_them_whole(content, size):
    """Whatever the pieces are: they may cut numbers, escapes and characters."""

    class Trickle(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            return super().read(size)

    for ascii_ in (True, False):
        data = json.dumps(content, ensure_ascii=ascii_).encode()
        read = [row for _, row in document_rows(Path("x"), Trickle(data), None)]
        assert read == json.loads(data)


def test_documents_and_lines_are_not_read_as_a_whole(tmp_path):
    """Of a file that never ends, the first rows are read."""
    line = json.dumps({"prompt": "q" * 500, "answer": "a"})

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 4 * CHUNK
            start = b"[" if not self.given else b""
            self.given += 1
            return start + f"{line},".encode() * (size // len(line))

    read = list(islice(document_rows(Path("x"), cast(BinaryIO, Endless()), None), 5))
    assert [place for place, _ in read] == [f": row {n}" for n in range(1, 6)]


def test_a_table_needs_names_and_as_many_cells_as_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(b"prompt,answer\nq,a\nq,a,b\n")
    with pytest.raises(BadInput, match=r"mine\.csv:3: not as many cells.*3 for 2"):
        load_source(own(path, "file"))
    for header in (b"prompt,prompt\nq,a\n", b"", b"prompt,\nq,a\n"):
        path.write_bytes(header)
        with pytest.raises(BadInput, match=r"mine\.csv:1: the first line must name the columns"):
            load_source(own(path, "file"))
    path.write_bytes("prompt,answer\nqué,a\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"mine\.csv: not UTF-8"):
        load_source(own(path, "file"))


def test_a_quote_that_is_not_closed_does_not_take_the_rest_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("prompts.formats.LONGEST_ROW", 1000)
    lines = "".join(f"q{n},a\n" for n in range(1000))
    (tmp_path / "mine.csv").write_text(f'prompt,answer\nq,a\n"open,a\n{lines}')
    with pytest.raises(BadInput, match=r"mine\.csv:3: not a table: field larger"):
        load_source(own(tmp_path / "mine.csv", "file"))


def test_long_cells_and_column_marks_in_the_first_line(tmp_path):
    (tmp_path / "mine.csv").write_text(f"prompt;answer\n{'x, ' * 100_000};a\n")
    (prompt,) = load_source(own(tmp_path / "mine.csv", "file"))
    assert prompt.messages[0]["content"] == "x, " * 100_000


ODD = "bom\ufeff rtl مرحبا\u200f cjk 日本語 emoji 👩\u200d👩 nul \x00 crlf\r\nend ls\u2028 nel\x85"


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
def test_texts_of_any_script_come_through_unchanged(tmp_path, ending):
    content = [{"prompt": ODD, "answer": "日本"}, {"prompt": "q", "answer": "a"}]
    data = written(ending, content)
    if ending == ".csv":
        data = f'prompt,answer\r\n"{ODD}",日本\r\nq,a\r\n'.encode()
    if ending in (".jsonl", ".json", ".csv"):
        data = b"\xef\xbb\xbf" + data
    if ending == ".jsonl":
        data = data.replace(b"\n", b"\r\n")
    (tmp_path / f"mine{ending}").write_bytes(data)
    read = load_source(own(tmp_path / f"mine{ending}", "file"))
    assert [p.messages[0]["content"] for p in read] == [ODD, "q"]
    assert read[0].answer == "日本"


def test_half_a_surrogate_pair_is_refused_with_its_line(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(
        text(*rows(0, 1)) + b'{"prompt": "\\ud83d", "answer": "a"}\n'
    )
    with pytest.raises(BadInput, match=r"mine\.jsonl:2: cannot be stored"):
        load_source(own(tmp_path / "mine.jsonl", "file"))


def test_a_pattern_names_shards_and_counts_by_their_content(tmp_path):
    for name, first in (("train-1", 2), ("train-0", 0), ("test-0", 9)):
        (tmp_path / f"{name}.jsonl").write_bytes(text(*rows(first, 2)))
    prompts = load_source(own(tmp_path / "train-*.jsonl", "file"))
    assert [p.place for p in prompts] == [
        "train-0.jsonl:1", "train-0.jsonl:2", "train-1.jsonl:1", "train-1.jsonl:2"]  # fmt: skip
    assert {p.source for p in prompts} == {"train-*.jsonl"}
    write_recipe(tmp_path, "'train-*.jsonl'", "file")

    def fingerprint() -> Any:
        return build_plan(load_recipe(tmp_path / "r.yaml"))["prompts"].fingerprint

    assert bounds(load_recipe(tmp_path / "r.yaml"))["prompts"] == {"prompts_at_most": 4}
    before = fingerprint()
    (tmp_path / "test-0.jsonl").write_bytes(text(*rows(20, 2)))
    assert fingerprint() == before
    (tmp_path / "train-1.jsonl").write_bytes(text(*rows(20, 2)))
    assert fingerprint() != before
    write_recipe(tmp_path, "'dev-*.jsonl'", "file")
    with pytest.raises(BadInput, match=r"prompts\[0\].path: .*no file matches this pattern"):
        load_recipe(tmp_path / "r.yaml")


def test_a_folder_may_hold_several_formats_and_what_is_published_beside_them(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.csv").write_bytes(written(".csv", rows(0, 1)))
    (folder / "b.parquet").write_bytes(written(".parquet", rows(1, 1)))
    (folder / "dataset_info.json").write_text("{}")
    (folder / "README.md").write_text("about")
    assert [place for place, _ in records(own(folder, "file"))] == [
        "mine/a.csv:2", "mine/b.parquet: row 1"]  # fmt: skip
