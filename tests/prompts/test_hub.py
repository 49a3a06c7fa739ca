"""Data sets of the hub, without a network: a copy on disk, or a clear refusal."""

import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from pydantic import TypeAdapter

from builders.prompt_files import rows
from common.errors import BadInput
from prompts.config import HubSource
from prompts.sources import load_source

CLOSED = "http://127.0.0.1:9"


def hub(path, **fields):
    values = {"source": "hub", "path": str(path), "capability": "c", "verifier": "exact", **fields}
    return TypeAdapter(HubSource).validate_python(values)


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "ENDPOINT", CLOSED)
    monkeypatch.setenv("HF_ENDPOINT", CLOSED)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)


def test_without_a_network_a_name_is_refused_quickly_with_what_to_do():
    start = time.perf_counter()
    with pytest.raises(
        BadInput, match="openai/gsm8k main train: the hub cannot be reached"
    ) as said:
        load_source(hub("openai/gsm8k", config="main", split="train"))
    assert CLOSED in said.value.message and "`source: file`" in said.value.remedy
    assert time.perf_counter() - start < 10


def test_a_copy_on_disk_is_read_and_its_split_is_named(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for split, count in (("train", 3), ("test", 2)):
        pq.write_table(pa.Table.from_pylist(rows(0, count)), folder / f"{split}.parquet")
    prompts = load_source(hub(folder, split="test"))
    assert [p.answer for p in prompts] == ["0", "1"]
    assert prompts[1].place == f"{folder} test: row 2"
    with pytest.raises(BadInput, match="holds the splits train, test"):
        load_source(hub(folder))
