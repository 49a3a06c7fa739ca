"""The difficulty ledger: evidence, states, and files that are whole or refused."""

import json
import random
import shutil
import sqlite3

import pytest

from common.errors import RunFailed
from curriculum.config import CurriculumConfig
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.rows import Entry
from curriculum.select import draw, transitions

CONFIG = CurriculumConfig()


def filled(path=None, count=3):
    ledger = Ledger(path)
    ledger.add(Entry(f"p{n}", "c", "s", Beta(1, 1), {"passed": n}) for n in range(count))
    return ledger


def test_evidence_fades_by_version_and_faults_are_no_evidence():
    ledger = filled()
    ledger.observe("p0", 6, 2, {}, 3, step=3, decay=0.5)
    ledger.observe("p0", 0, 0, {"verifier_crash": 8}, 4, step=4, decay=0.5)
    seen = ledger.row("p0")
    assert (seen.passes, seen.fails, seen.faults, seen.drawn) == (3.0, 1.0, {"verifier_crash": 8}, 2)
    assert seen.posterior(0.5, 4).mean == pytest.approx(4 / 6)
    assert seen.posterior(0.5, 5).mean == pytest.approx(2.5 / 4)
    with pytest.raises(ValueError, match="later policy"):
        ledger.observe("p0", 1, 0, {}, 2, step=5, decay=0.5)


def test_adding_again_changes_nothing_and_a_mismatch_is_refused():
    ledger = filled()
    ledger.observe("p1", 1, 0, {}, 0, step=0, decay=1.0)
    before = ledger.dump()
    ledger.add([Entry("p1", "c", "s", Beta(1, 1), {"passed": 1})])
    assert ledger.dump() == before
    with pytest.raises(RunFailed, match="p1 with capability 'c'"):
        ledger.add([Entry("new", "c", "s", Beta(1, 1)), Entry("p1", "other", "s", Beta(1, 1), {"passed": 1})])
    assert ledger.dump() == before


def test_states_move_only_along_their_arrows():
    ledger = filled()
    ledger.retire(["p0", "p1"], 5)
    ledger.recall(["p1"], 7)
    assert ledger.counts() == {"active": 1, "retired": 1, "recalled": 1}
    assert ledger.row("p1").state_version == 7
    with pytest.raises(ValueError, match="p2 is active"):
        ledger.recall(["p0", "p2"], 8)
    assert ledger.row("p0").state == "retired"
    with pytest.raises(KeyError, match="no prompt nobody"):
        ledger.retire(["nobody"], 8)


def test_the_same_operations_give_the_same_bytes_on_disk_and_in_memory(tmp_path):
    ledgers = [filled(tmp_path / "ledger.sqlite"), filled()]
    for ledger in ledgers:
        ledger.observe("p2", 3, 5, {"timeout": 1}, 1, step=1, decay=0.9)
        ledger.observe("p2", 1, 0, {"b": 1, "a": 2}, 4, step=4, decay=0.9)
        ledger.retire(["p0"], 4)
    assert ledgers[0].dump() == ledgers[1].dump()
    ledgers[0].close()
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert again.dump() == ledgers[1].dump()


def test_a_transaction_is_all_or_nothing():
    ledger = filled()
    before = ledger.dump()
    with pytest.raises(RuntimeError), ledger.transaction():
        ledger.observe("p0", 1, 0, {}, 0, step=0, decay=1.0)
        ledger.retire(["p1"], 0)
        raise RuntimeError
    assert ledger.dump() == before


def test_a_snapshot_is_restored_over_what_came_later(tmp_path):
    ledger = filled(tmp_path / "ledger.sqlite")
    ledger.snapshot(tmp_path / "saved.sqlite")
    saved = ledger.dump()
    ledger.retire(["p0"], 1)
    ledger.close()
    restored = Ledger.restore(tmp_path / "saved.sqlite", tmp_path / "ledger.sqlite")
    assert restored.dump() == saved
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.sqlite", "saved.sqlite"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "foreign"])
def test_a_broken_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "ledger.sqlite"
    if damage == "foreign":
        sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    else:
        filled(path, count=400).close()
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"x" * 4096}[damage])
    with pytest.raises(RunFailed, match=r"ledger\.sqlite"):
        Ledger(path)
    with pytest.raises(RunFailed, match=r"ledger\.sqlite"):
        Ledger.restore(path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


def test_a_change_cut_off_half_way_is_taken_back_on_opening(tmp_path):
    path, crashed = tmp_path / "ledger.sqlite", tmp_path / "crashed"
    ledger = filled(path, count=2000)
    before = ledger.dump()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA cache_size = 2")  # so that changed pages reach the file before the commit
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE prompts SET passes = 99")
    crashed.mkdir()
    for file in tmp_path.glob("ledger.sqlite*"):
        shutil.copy(file, crashed)
    assert (crashed / "ledger.sqlite-journal").stat().st_size > 0
    assert Ledger(crashed / "ledger.sqlite").dump() == before


def test_retiring_and_recalling_through_the_ledger():
    ledger, chance = filled(count=2), random.Random(0)
    for step in range(12):
        for id, rate in (("p0", 1.0), ("p1", 0.5)):
            passes = sum(chance.random() < rate for _ in range(8))
            ledger.observe(id, passes, 8 - passes, {}, step, step=step, decay=CONFIG.decay)
        change = transitions(ledger.rows(), CONFIG, step)
        ledger.retire(change.retire, step)
    assert {row.id: row.state for row in ledger.rows()} == {"p0": "retired", "p1": "active"}
    assert draw(ledger.rows(), 2, CONFIG, 8, 12, 0).ids == ["p1"]
    assert json.loads(ledger.dump().splitlines()[1])[0] == "p0"
