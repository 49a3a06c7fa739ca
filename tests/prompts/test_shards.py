"""Folders of shards, and packed files."""

import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builders.prompt_files import own, rows, text, write_recipe
from common.errors import BadInput
from pipeline.planning.bounds import bounds
from pipeline.recipe.load import load_recipe
from prompts.sources import load_source


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_folder_of_shards_is_read_in_the_order_of_names(tmp_path, kind):
    folder = tmp_path / "shards"
    (folder / "below").mkdir(parents=True)
    for name, first in (("part-1", 2), ("part-0", 0), ("_part-2", 8), ("below/part-3", 9)):
        if kind == "jsonl":
            (folder / f"{name}.jsonl").write_bytes(text(*rows(first, 2)))
        else:
            pq.write_table(pa.Table.from_pylist(rows(first, 2)), folder / f"{name}.parquet")
    (folder / "README.md").write_text("about")
    prompts = load_source(own(folder, kind))
    assert [p.answer for p in prompts] == ["0", "1", "2", "3"] and {p.source for p in prompts} == {
        "shards"
    }
    last = "shards/part-1.jsonl:2" if kind == "jsonl" else "shards/part-1.parquet: row 2"
    assert prompts[-1].place == last
    write_recipe(tmp_path, "shards", kind)
    bound = bounds(load_recipe(tmp_path / "r.yaml"))["prompts"]
    assert bound == ({"prompts_at_most": 4} if kind == "jsonl" else {})


def test_a_folder_without_shards_names_its_folders(tmp_path):
    (tmp_path / "shards" / "train").mkdir(parents=True)
    write_recipe(tmp_path, "shards", "jsonl")
    with pytest.raises(
        BadInput, match=r"prompts\[0\].path: .*/shards: a folder without \*\.jsonl.*\n.*train"
    ):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_packed_files_are_read_whatever_they_are_called(tmp_path, pack):
    plain = own(tmp_path / "mine.jsonl")
    (tmp_path / "mine.jsonl").write_bytes(text(*rows(0, 3)))
    read = load_source(plain)
    data = pack(text(*rows(0, 3)))
    (tmp_path / "mine.jsonl").write_bytes(data)
    assert load_source(plain) == read
    (tmp_path / "mine.jsonl").write_bytes(data[:-9])
    with pytest.raises(BadInput, match=r"mine\.jsonl: damaged"):
        load_source(plain)


@pytest.mark.parametrize(
    ("start", "packer"), [(b"\x04\x22\x4d\x18", "lz4"), (b"PK\x03\x04", "zip")]
)
def test_other_packers_are_named_with_what_to_do(tmp_path, start, packer):
    (tmp_path / "mine.jsonl.x").write_bytes(start + b"x" * 9)
    with pytest.raises(BadInput, match=rf"mine\.jsonl\.x: packed with {packer}") as caught:
        load_source(own(tmp_path / "mine.jsonl.x"))
    assert "unpack it, or pack it as .gz" in caught.value.remedy
