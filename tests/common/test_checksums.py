"""A cached checksum is used only for a file that cannot have changed, and a message says so."""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from builders.command_line import pretend
from common import checksums
from common.checksums import LARGE, Checksums
from common.files import checksum, read_sealed, write_sealed
from pipeline.recipe.user_files import content_checksum


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file large enough for the cache, whose last change counts as long ago."""
    monkeypatch.setattr(checksums, "SETTLED_NS", 0)
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"a" * LARGE)
    return path


def never(path):
    pytest.fail(f"{path} was read again")


def test_an_unchanged_file_is_read_once_and_reported(large, tmp_path, monkeypatch):
    first = Checksums(tmp_path / "kept")
    assert first.of(large) == checksum(large) and first.trusted == []
    monkeypatch.setattr(checksums, "checksum", never)
    again = Checksums(tmp_path / "kept")
    assert again.of(large) == again.of(large) == checksum(large)
    assert again.trusted == [large]
    assert again.remarks() == [
        f"checksum of {large} trusted from {tmp_path / 'kept'} "
        "(size, times and inode unchanged; delete that folder to have it read again)"
    ]


def other_bytes(path):
    path.write_bytes(b"b" * LARGE)


def other_bytes_and_the_old_time(path):
    before = path.stat()
    path.write_bytes(b"b" * LARGE)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def another_file_of_the_same_time(path):
    before = path.stat()
    path.with_name("new").write_bytes(b"b" * LARGE)
    os.utime(path.with_name("new"), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_name("new").rename(path)


@pytest.mark.parametrize(
    "change", [other_bytes, other_bytes_and_the_old_time, another_file_of_the_same_time]
)
def test_a_changed_file_is_read_again(large, tmp_path, change):
    sums = Checksums(tmp_path / "kept")
    before = sums.of(large)
    change(large)
    assert sums.of(large) == checksum(large) != before and sums.trusted == []


def test_a_file_that_changed_just_before_it_was_read_is_not_trusted(large, tmp_path, monkeypatch):
    monkeypatch.setattr(checksums, "SETTLED_NS", 60 * 10**9)
    assert Checksums(tmp_path / "kept").of(large) and not (tmp_path / "kept").exists()


def test_a_file_that_changes_while_it_is_read_is_not_trusted(large, tmp_path, monkeypatch):
    def slow(path):
        computed = checksum(path)
        other_bytes(path)
        return computed

    monkeypatch.setattr(checksums, "checksum", slow)
    assert Checksums(tmp_path / "kept").of(large) and not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[:-20], lambda text: text.replace("checksum", "chocksum"), lambda text: ""],
)
def test_a_damaged_cached_checksum_is_ignored_and_replaced(large, tmp_path, damage):
    sums = Checksums(tmp_path / "kept")
    sums.of(large)
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_text(damage(kept.read_text()))
    assert sums.of(large) == checksum(large) and sums.trusted == []
    assert read_sealed(kept)["checksum"] == checksum(large)
    kept.unlink()
    assert sums.of(large) == checksum(large)


def test_concurrent_runs_share_the_cache(large, tmp_path):
    with ProcessPoolExecutor(4) as pool:
        computed = set(pool.map(Checksums(tmp_path / "kept").of, [large] * 40))
    assert computed == {checksum(large)} and len(list((tmp_path / "kept").iterdir())) == 1


def test_without_a_cache_every_byte_is_read_and_a_message_says_so(large, tmp_path):
    (tmp_path / "kept").write_text("a file")
    sums = Checksums(tmp_path / "kept")
    assert sums.of(large) == checksum(large) and "cannot be cached" in sums.remarks()[0]


def test_small_files_are_always_read(large, tmp_path):
    large.write_bytes(b"a" * (LARGE - 1))
    sums = Checksums(tmp_path / "kept")
    assert sums.of(large) == sums.of(large) == checksum(large) and sums.trusted == []


def test_plan_run_and_eval_trust_a_checkpoint_and_say_so(folder, uphill, monkeypatch):
    monkeypatch.setenv("UPHILL_CACHE", str(folder / "cache"))
    monkeypatch.setattr(checksums, "SETTLED_NS", 0)
    pretend({"base": 2}, until="base")
    Path("model").mkdir()
    Path("model/config.json").write_text("{}")
    Path("model/model.safetensors").write_bytes(b"w" * LARGE)
    plan = ("plan", "small.yaml", "--json", "--set", "model={checkpoint: model}")
    before, after = (json.loads(uphill(*plan)[1]) for _ in range(2))
    assert (before["trusted"], after["trusted"]) == (
        [],
        [str(folder / "model" / "model.safetensors")],
    )
    assert before["stages"] == after["stages"]
    message = (
        f"checksum of {folder / 'model' / 'model.safetensors'} trusted from"
        f" {folder / 'cache' / 'checksums'} (size"
    )
    assert message in uphill(*plan)[2]
    run = ("run", "small.yaml", "--set", "model={checkpoint: model}", "--stage", "prompts")
    assert message in uphill(*run)[2]
    Path("model/model.safetensors").write_bytes(b"v" * LARGE)
    assert json.loads(uphill(*plan)[1])["trusted"] == []
    cached = Checksums(folder / "cache" / "checksums")
    assert content_checksum(folder / "model", cached.of) == content_checksum(folder / "model")


def test_a_checksum_of_another_stamp_is_not_used(large, tmp_path):
    sums = Checksums(tmp_path / "kept")
    sums.of(large)
    (kept,) = (tmp_path / "kept").iterdir()
    write_sealed(kept, {**read_sealed(kept), "stamp": "1 2 3 4", "checksum": "0" * 64})
    assert sums.of(large) == checksum(large)
