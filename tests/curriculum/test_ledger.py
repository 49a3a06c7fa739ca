"""The difficulty ledger: evidence, states, and files that are complete or refused."""

import json
import shutil
import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunFailed
from curriculum.database import canonicalise
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt, Observation


def filled(path=None, count=3):
    ledger = Ledger(path)
    ledger.add(NewPrompt(f"p{n}", "c", "s", Beta(1, 1), {"passed": n}) for n in range(count))
    return ledger


def observe(ledger, version, id, passes, fails, faults=None, decay=0.9):
    ledger.observe([Observation(id, passes, fails, faults or {})], version, decay=decay)


def test_evidence_fades_by_version_and_faults_are_no_evidence():
    ledger = filled()
    observe(ledger, 3, "p0", 6, 2, decay=0.5)
    observe(ledger, 4, "p0", 0, 0, {"verifier_crash": 8}, decay=0.5)
    record = ledger.record("p0")
    assert (record.passes, record.fails, record.drawn) == (3.0, 1.0, 2)
    assert record.faults == {"verifier_crash": 8}
    assert record.posterior(0.5, 4).mean == pytest.approx(4 / 6)
    assert record.posterior(0.5, 5).mean == pytest.approx(2.5 / 4)
    with pytest.raises(ValueError, match="later policy"):
        observe(ledger, 2, "p0", 1, 0, decay=0.5)


def test_training_on_a_prompt_fades_its_own_evidence():
    ledger = filled()
    observe(ledger, 3, "p0", 6, 2)
    observe(ledger, 3, "p1", 6, 2)
    ledger.trained(["p0"], decay=0.5)
    assert [ledger.record(id).evidence(0.9, 3) for id in ("p0", "p1")] == [(3.0, 1.0), (6.0, 2.0)]
    assert ledger.record("p0").drawn == 1


def test_adding_again_changes_nothing_and_a_mismatch_is_refused():
    ledger = filled()
    observe(ledger, 0, "p1", 1, 0)
    before = ledger.dump()
    ledger.add([NewPrompt("p1", "c", "s", Beta(1, 1), {"passed": 1})])
    assert ledger.dump() == before
    with pytest.raises(RunFailed, match="p1 with capability 'c'"):
        ledger.add(
            [
                NewPrompt("new", "c", "s", Beta(1, 1)),
                NewPrompt("p1", "other", "s", Beta(1, 1), {"passed": 1}),
            ]
        )
    assert ledger.dump() == before


def test_states_change_only_along_allowed_transitions():
    ledger = filled()
    ledger.retire(["p0", "p1"], 5)
    ledger.reactivate(["p1"], 7)
    assert ledger.counts() == {"active": 1, "retired": 1, "reactivated": 1}
    assert ledger.record("p1").state_version == 7
    with pytest.raises(ValueError, match="p2 is active"):
        ledger.reactivate(["p0", "p2"], 8)
    assert ledger.record("p0").state == "retired"
    with pytest.raises(KeyError, match="no prompt nobody"):
        ledger.retire(["nobody"], 8)


def test_the_same_operations_give_the_same_bytes_on_disk_and_in_memory(tmp_path):
    ledgers = [filled(tmp_path / "ledger.sqlite"), filled()]
    for ledger in ledgers:
        observe(ledger, 1, "p2", 3, 5, {"timeout": 1})
        observe(ledger, 4, "p2", 1, 0, {"b": 1, "a": 2})
        ledger.retire(["p0"], 4)
    assert ledgers[0].dump() == ledgers[1].dump()
    ledgers[0].close()
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert again.dump() == ledgers[1].dump()


def test_the_bytes_of_a_canonical_file_depend_only_on_its_content(tmp_path):
    paths = [tmp_path / "straight.sqlite", tmp_path / "around.sqlite"]
    for path in paths:
        with filled(path) as ledger:
            if path == paths[1]:
                for n in range(3):
                    ledger.remember("n", n)
            ledger.remember("n", 2)
            before = ledger.dump()
        canonicalise(path)
        with Ledger(path) as ledger:
            assert ledger.dump() == before
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_transaction_is_all_or_nothing():
    ledger = filled()
    before = ledger.dump()
    with pytest.raises(RuntimeError), ledger.transaction():
        observe(ledger, 0, "p0", 1, 0)
        ledger.retire(["p1"], 0)
        raise RuntimeError
    assert ledger.dump() == before


def test_restoring_a_snapshot_discards_later_changes(tmp_path):
    ledger = filled(tmp_path / "ledger.sqlite")
    ledger.snapshot(tmp_path / "saved.sqlite")
    saved = ledger.dump()
    ledger.retire(["p0"], 1)
    ledger.close()
    restored = Ledger.restore(tmp_path / "saved.sqlite", tmp_path / "ledger.sqlite")
    assert restored.dump() == saved
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.sqlite", "saved.sqlite"]


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "foreign"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path, damage):
    path = tmp_path / "ledger.sqlite"
    if damage == "foreign":
        sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    else:
        filled(path, count=400).close()
        content = path.read_bytes()
        path.write_bytes(
            {"empty": b"", "truncated": content[: len(content) // 2], "text": b"x" * 4096}[damage]
        )
    with pytest.raises(RunFailed, match=r"ledger\.sqlite"):
        Ledger(path)
    with pytest.raises(RunFailed, match=r"ledger\.sqlite"):
        Ledger.restore(path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


def test_an_interrupted_change_is_rolled_back_on_opening(tmp_path):
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


counts = st.tuples(
    st.sampled_from(["p0", "p1", "p2"]), st.integers(0, 8), st.integers(0, 8), st.integers(0, 2)
)
groups = st.lists(counts, max_size=12)


def observations(groups):
    return [Observation(id, p, f, {"timeout": t} if t else {}) for id, p, f, t in groups]


def close(one, other):
    """Equal up to the rounding of sums in another order."""
    for mine, theirs in zip(
        map(json.loads, one.dump().splitlines()),
        map(json.loads, other.dump().splitlines()),
        strict=True,
    ):
        assert mine == [
            pytest.approx(value, abs=1e-9) if isinstance(value, float) else value
            for value in theirs
        ]


@settings(max_examples=40, deadline=None)
@given(groups, st.randoms(use_true_random=False))
def test_within_a_version_the_order_of_observations_does_not_matter(drawn, shuffler):
    one, other = filled(), filled()
    one.observe(observations(drawn), 3, decay=0.9)
    for part in observations(shuffler.sample(drawn, len(drawn))):
        other.observe([part], 3, decay=0.9)
    close(one, other)


@settings(max_examples=40, deadline=None)
@given(st.lists(groups, max_size=5), st.data())
def test_merged_ledgers_equal_one_with_all_observations(versions, data):
    """For any division of the observations over two ledgers, merged in either direction."""
    whole, parts = filled(), [filled(), filled()]
    for version, drawn in enumerate(versions):
        whole.observe(observations(drawn), version, decay=0.8)
        for group in drawn:
            parts[data.draw(st.integers(0, 1))].observe(observations([group]), version, decay=0.8)
    into, other = parts if data.draw(st.booleans()) else parts[::-1]
    into.merge(other, decay=0.8)
    versions_seen = [record.seen_version for record in whole.records()]
    latest = max((version for version in versions_seen if version is not None), default=0)
    for mine, theirs in zip(whole.records(), into.records(), strict=True):
        assert mine.evidence(0.8, latest) == pytest.approx(theirs.evidence(0.8, latest))
        assert (mine.drawn, mine.faults) == (theirs.drawn, theirs.faults)
    for id, group in whole.difficulty_groups().items():
        one, two = group.at(latest, 0.8), into.difficulty_groups()[id].at(latest, 0.8)
        assert one.rollout_groups == pytest.approx(two.rollout_groups)
        assert one.rates == pytest.approx(two.rates)
    assert whole.difficulty_groups().keys() == into.difficulty_groups().keys()


def test_a_merge_takes_the_later_state():
    one, other = filled(), filled()
    one.retire(["p0", "p1"], 3)
    other.retire(["p1"], 2)
    other.reactivate(["p1"], 5)
    other.retire(["p2"], 1)
    one.merge(other, decay=0.9)
    assert [one.record(f"p{n}").state for n in range(3)] == ["retired", "reactivated", "retired"]


def test_remembered_values_are_in_the_file(tmp_path):
    with filled(tmp_path / "ledger.sqlite") as ledger:
        ledger.remember("sums", {"tokens": [1, 2.5]})
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert again.remembered("sums", None) == {"tokens": [1, 2.5]}
        assert again.remembered("nothing", 7) == 7


def test_similar_prompts_share_difficulty_groups_and_a_rolled_back_add_leaves_none():
    ledger = Ledger(None)
    with pytest.raises(RunFailed), ledger.transaction():
        ledger.add([NewPrompt("x", "math", "s", Beta(1, 1))])
        ledger.add([NewPrompt("x", "other", "s", Beta(1, 1))])
    assert ledger.difficulty_groups() == {}
    verdict = {"passed": 1, "graded": 2}
    ledger.add(
        NewPrompt(f"p{n}", "math", "s", Beta(1 + n, 1), verdict, settings="3 terms")
        for n in range(2)
    )
    ledger.add([NewPrompt("q", "math", "s", Beta(1, 1), verdict, settings="4 terms")])
    groups = ledger.difficulty_groups()
    assert [(group.name, group.members) for group in groups.values()] == [
        ("math", 3),
        ("s", 3),
        ("3 terms", 2),
        ("sometimes", 2),
        ("4 terms", 1),
        ("sometimes", 1),
    ]
    p0, p1, q = (ledger.record(id).difficulty_group for id in ("p0", "p1", "q"))
    assert p0 == p1 != q
    assert groups[4].prior_means == pytest.approx(1 / 2 + 2 / 3)
