"""The runner: what is skipped, refused, resumed and thrown away."""

import json
import os
from pathlib import Path

import pytest

from builders.toy_runs import ONE, SLOW, TWO, gone, record_of, start, states, toy_plan, wait_for
from common.errors import BadInput, RunFailed
from common.files import read_sealed, write_json, write_sealed
from pipeline.cli.status import status_of
from pipeline.execution.run_folder import save_plan
from pipeline.store.lock import owned
from pipeline.store.record import verify


def test_a_run_records_every_stage_and_skips_it_afterwards(tmp_path, toy):
    assert toy([ONE, TWO])[0] == 0
    record = record_of(tmp_path / "02-two")
    assert (record["metrics"], record["tokens_generated"], record["attempts"]) == (
        {"count": 6.0},
        3,
        1,
    )
    assert set(record["files"]) == {"count.txt", "metrics.jsonl", "starts.jsonl", "stage.log"}
    assert record["inputs"]["before"]["stage"] == "one"
    assert not list(tmp_path.glob("*/resume")) and not list(tmp_path.glob("*.partial"))
    before = (tmp_path / "02-two" / "record.json").stat().st_mtime_ns
    code, stderr = toy([ONE, TWO])
    assert code == 0 and stderr.count("already done, skipped") == 2
    assert (tmp_path / "02-two" / "record.json").stat().st_mtime_ns == before


def test_library_chatter_goes_to_the_log_and_not_to_the_screen(tmp_path, toy):
    _, stderr = toy([ONE])
    assert "toy log line" not in stderr
    assert "toy log line of one" in (tmp_path / "01-one" / "stage.log").read_text()
    assert len(stderr.splitlines()) == 2


def test_a_note_of_a_stage_is_said_at_once_and_kept_in_its_log(tmp_path, toy):
    code, stderr = toy([ONE | {"ending": "noted"}])
    assert code == 0 and stderr.splitlines()[1] == "[1/1] one: the toy is short of paint"
    assert "note: the toy is short of paint" in (tmp_path / "01-one" / "stage.log").read_text()


def test_a_changed_config_is_refused_naming_the_field(tmp_path, toy):
    toy([ONE, TWO])
    code, stderr = toy([{**ONE, "steps": 4}, TWO])
    assert code == 2
    assert "steps was 3 and is now 4" in stderr and "--redo one" in stderr
    assert states(tmp_path, [ONE, TWO]) == {"one": "done", "two": "done"}


def test_redo_makes_a_stage_and_what_came_from_it_again(tmp_path, toy):
    toy([ONE, TWO])
    changed = [{**ONE, "steps": 4}, TWO]
    assert toy(changed, "--redo", "one")[0] == 0
    assert record_of(tmp_path / "02-two")["metrics"] == {"count": 7.0}
    assert record_of(tmp_path / "replaced" / "01-one")["metrics"] == {"count": 3.0}


def test_redo_keeps_the_checkpoints_of_an_unfinished_stage(tmp_path, toy):
    toy([ONE, {**TWO, "ending": "crash"}])
    checkpoint = tmp_path / "02-two.partial" / "resume" / "checkpoint-1"
    checkpoint.mkdir()
    (checkpoint / "weights").write_text("of hours")
    code, stderr = toy([ONE, TWO], "--redo", "two")
    kept = tmp_path / "replaced" / "02-two.partial" / "resume" / "checkpoint-1" / "weights"
    assert code == 0 and kept.read_text() == "of hours" and "replaced/02-two.partial" in stderr
    assert record_of(tmp_path / "02-two")["attempts"] == 1


def test_redo_removes_what_an_unfinished_stage_without_checkpoints_left(tmp_path, toy):
    toy([ONE, {**TWO, "ending": "crash"}])
    assert toy([ONE, TWO], "--redo", "one", "--redo", "two", "--until", "two")[0] == 0
    assert not (tmp_path / "replaced" / "02-two.partial").exists()


def test_redo_within_a_range_leaves_later_stages_stale(tmp_path, toy):
    toy([ONE, TWO])
    assert toy([ONE, TWO], "--redo", "one", "--until", "one")[0] == 0
    assert states(tmp_path, [ONE, TWO]) == {"one": "done", "two": "stale"}
    code, stderr = toy([ONE, TWO])
    assert code == 2 and "made from another run of one" in stderr and "--redo two" in stderr
    assert toy([ONE, TWO], "--redo", "two")[0] == 0


def test_one_stage_alone_needs_its_inputs(tmp_path, toy):
    code, stderr = toy([ONE, TWO], "--stage", "two")
    assert code == 2 and "'two' needs 'one', which is todo" in stderr
    assert not (tmp_path / "02-two.partial").exists()


@pytest.mark.parametrize("half", [{}, {"steps": 150}])
def test_a_killed_runner_takes_its_stage_along_and_the_next_goes_on(tmp_path, toy, half):
    process = start(tmp_path, [ONE, SLOW])
    step = tmp_path / "02-two.partial" / "resume" / "step"
    wait_for(step)
    assert states(tmp_path, [ONE, SLOW])["two"] == "running"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.communicate()
    assert children and gone(children)
    reached = int(step.read_text())
    assert states(tmp_path, [ONE, SLOW])["two"] == "todo"
    step.write_text("198")  # go on near the end, to be quick
    half_written = (
        tmp_path / "02-two.partial" / "checkpoint" / ".tmpIOacnL"
    )  # as a killed library leaves it
    half_written.parent.mkdir()
    half_written.write_text("half")
    spec = {**SLOW, **half}
    if half:
        spec["steps"] = 2
    code, stderr = toy([ONE, spec])
    assert code == 0 and reached >= 1
    begins = [
        json.loads(line)["from"]
        for line in (tmp_path / "02-two" / "starts.jsonl").read_text().splitlines()
    ]
    assert begins == ([0] if half else [0, 198])
    assert ("starts over" if half else "continues from attempt 1") in stderr
    assert record_of(tmp_path / "02-two")["attempts"] == (1 if half else 2)
    assert not (tmp_path / "02-two" / "checkpoint").exists()


def test_two_runs_at_once_are_refused(tmp_path, toy):
    with owned(tmp_path):
        code, stderr = toy([ONE])
    assert code == 2 and f"process {os.getpid()} on " in stderr
    assert toy([ONE])[0] == 0


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), owned(tmp_path / "file" / "run"):
        pass


def test_a_changed_input_file_stops_the_next_stage(tmp_path, toy):
    toy([ONE])
    (tmp_path / "01-one" / "count.txt").write_text("4")
    verify(tmp_path / "01-one", "one", whole=False)
    with pytest.raises(RunFailed, match=r"count.txt: has changed"):
        verify(tmp_path / "01-one", "one", whole=True)
    code, stderr = toy([ONE, TWO])
    assert code == 1 and "count.txt" in stderr and "--redo one" in stderr


def test_a_missing_output_of_a_finished_stage_is_noticed(tmp_path, toy):
    toy([ONE])
    (tmp_path / "01-one" / "count.txt").unlink()
    code, stderr = toy([ONE])
    assert code == 1 and "count.txt: is missing" in stderr


def test_a_record_without_its_final_name_is_taken_over(tmp_path, toy):
    toy([ONE])
    folder = tmp_path / "01-one"
    folder.rename(tmp_path / "01-one.partial")
    before = (tmp_path / "01-one.partial" / "record.json").read_bytes()
    assert toy([ONE])[0] == 0
    assert (folder / "record.json").read_bytes() == before


def test_a_stage_keeps_its_folder_when_its_number_changes(tmp_path, toy):
    toy([ONE])
    specs = [{"id": "zero", "steps": 1}, ONE]
    assert states(tmp_path, specs) == {"zero": "todo", "one": "done"}


def test_what_an_attempt_under_other_settings_saved_is_kept(tmp_path, toy):
    toy([{**ONE, "ending": "crash"}])
    checkpoint = tmp_path / "01-one.partial" / "resume" / "checkpoint-1"
    checkpoint.mkdir()
    code, stderr = toy([{**ONE, "steps": 4}])
    assert code == 0 and "starts over" in stderr and "replaced/01-one.partial" in stderr
    assert (tmp_path / "replaced" / "01-one.partial" / "resume" / "checkpoint-1").is_dir()
    assert record_of(tmp_path / "01-one")["metrics"] == {"count": 4.0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 3}, "by a newer version of uphill (format 3"),
        (None, "by an older version of uphill (format 0"),
    ],
)
def test_a_run_folder_of_another_format_is_refused_with_the_reason(tmp_path, toy, change, words):
    toy([ONE])
    path = tmp_path / "01-one" / "record.json"
    record = read_sealed(path)
    if change:
        write_sealed(path, record | change)
    else:
        del record["format"]
        write_json(path, record)
    code, stderr = toy([ONE])
    assert code == 2 and words in stderr and str(path) in stderr


def test_status_reads_the_run_folder_alone(tmp_path, toy):
    toy([ONE, {**TWO, "ending": "crash"}])
    one, two = status_of(tmp_path)["stages"]
    assert (one["state"], one["tokens_generated"], one["metrics"]) == ("done", 3, {"count": 3.0})
    assert (two["state"], two["metrics"], two["seconds"]) == (
        "failed",
        {"step": 0, "loss": 1.0},
        None,
    )
    assert "crashed" in two["note"] and two["path"].endswith("02-two.partial")
    save_plan(tmp_path, toy_plan([{**ONE, "steps": 9}]))
    assert status_of(tmp_path)["stages"][0]["state"] == "stale"
