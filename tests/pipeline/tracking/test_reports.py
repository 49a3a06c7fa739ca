"""What a tracker gets of a stage: every step once, whatever happened to the stage."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.recording_tracker import Recorder, Stage, reports
from common.files import read_json_lines
from pipeline.tracking.follow import Follower

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(1, 4)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("kill stage"), st.integers(0, 3)),
        st.tuples(st.just("kill runner"), st.integers(0, 3)),
    ),
    max_size=25,
)
"""A stage's steps, looks of the sender, and kills with the steps that the log is cut back by."""


def cut_back(log, lines):
    """Leave out the last lines, as a resumed stage does."""
    kept = log.read_bytes().splitlines(keepends=True) if log.exists() else []
    kept = kept[: max(0, len(kept) - lines)]
    if log.exists():
        os.truncate(log, sum(map(len, kept)))
    return len(kept)


@given(EVENTS, st.booleans())
@settings(max_examples=150)
def test_a_curve_has_one_value_a_step_whatever_was_killed(events, rewrites):
    with TemporaryDirectory() as folder:
        run = Path(folder)
        tracker, stage, step, attempt, highest = Recorder(rewrites), Stage(run), 0, 0, 0
        stage.begin()
        sender = reports(tracker, run)
        sender.begin(stage.id, stage.folder, stage.partial)
        for event, count in events:
            if event == "step":
                for _ in range(count):
                    step += 1
                    stage.step(step, step + attempt / 100)
                highest = max(highest, step)
            elif event == "look":
                sender.follow()
            else:
                attempt += 1
                if event == "kill runner":
                    sender.leave()
                    sender = reports(tracker, run)
                sender.begin(stage.id, stage.folder, stage.partial)
                if count % 2:
                    sender.follow()  # before the stage has cut its log back
                step = cut_back(stage.log, count)
        for last in range(step + 1, highest + 3):  # a resumed stage gets as far as the killed one
            stage.step(last, float(last))
        stage.finish()
        sender.finish(stage.id, stage.folder, stage.partial)
        log = read_json_lines(stage.folder / "metrics.jsonl")
        [(name, points)] = tracker.runs.items()
        assert list(points) == [row["step"] for row in log]
        if rewrites:
            assert [point["loss"] for point in points.values()] == [row["loss"] for row in log]
        assert list(tracker.summaries) == [name]


@pytest.mark.parametrize("rewrites", [True, False])
def test_a_stage_killed_at_step_37_goes_on_from_31(tmp_path, rewrites):
    tracker, stage = Recorder(rewrites), Stage(tmp_path)
    stage.begin()
    before = reports(tracker, tmp_path)
    before.begin(stage.id, stage.folder, stage.partial)
    for step in range(1, 38):
        stage.step(step, 1.0)
    before.leave()
    second = reports(tracker, tmp_path)
    second.begin(stage.id, stage.folder, stage.partial)
    cut_back(stage.log, 7)
    for step in range(31, 51):
        stage.step(step, 2.0)
        second.follow()
    stage.finish()
    second.finish(stage.id, stage.folder, stage.partial)
    [points] = tracker.runs.values()
    assert list(points) == list(range(1, 51))
    first = next(step for step in points if points[step]["loss"] == 2.0)
    assert first == (31 if rewrites else 38)
    assert [complete for _, complete in tracker.ended] == [False, True]


def test_a_finished_stage_is_not_sent_twice_and_one_that_was_missed_is(tmp_path):
    tracker, stage = Recorder(False), Stage(tmp_path)
    stage.begin()
    stage.step(1, 0.5)
    stage.finish(seconds=2.5)
    for _ in range(2):  # each as a run that skips the stage
        reports(tracker, tmp_path).finish(stage.id, stage.folder, stage.partial)
    assert list(tracker.runs.values()) == [{1: {"loss": 0.5}}]
    assert list(tracker.summaries.values()) == [{"summary/loss": 0.5, "summary/seconds": 2.5}]


def test_a_stage_that_was_run_again_is_another_run(tmp_path):
    tracker = Recorder(False)
    for started in ("2026-01-01T00:00:00", "2026-01-02T00:00:00"):
        stage = Stage(tmp_path, started=started)
        stage.begin()
        stage.step(1, 0.5)
        stage.finish()
        reports(tracker, tmp_path).finish(stage.id, stage.folder, stage.partial)
        stage.folder.rename(tmp_path / started)
    runs = list(tracker.configs.values())
    assert [run.name for run in runs] == ["sft", "sft-2"] and runs[0].id != runs[1].id
    assert [len(points) for points in tracker.runs.values()] == [1, 1]
    assert runs[0].project == "recipe" and runs[0].group == tmp_path.name


def test_the_config_goes_along_and_an_interrupted_stage_is_not_complete(tmp_path):
    tracker, stage = Recorder(False), Stage(tmp_path)
    stage.begin()
    stage.step(1, 0.5)
    sender = reports(tracker, tmp_path)
    sender.begin(stage.id, stage.folder, stage.partial)
    sender.leave()
    [run] = tracker.configs.values()
    assert run.config == {"kind": "toy", "config": {"learning_rate": 0.1}}
    assert [complete for _, complete in tracker.ended] == [False] and not tracker.summaries


def test_half_a_line_is_read_when_it_is_whole(tmp_path):
    log = tmp_path / "log"
    follower = Follower(log)
    assert follower.read() == (False, [])
    log.write_text('{"step": 1}\n{"st')
    assert follower.read() == (False, [{"step": 1}])
    with log.open("a") as handle:
        handle.write('ep": 2}\n')
    assert follower.read() == (False, [{"step": 2}])
    log.write_text('{"step": 1}\n{"step": 3}\n{"step": 4}\n')  # cut back, and longer than before
    assert follower.read() == (True, [{"step": 1}, {"step": 3}, {"step": 4}])
    log.unlink()
    assert follower.read() == (True, [])


def test_a_log_that_grew_again_to_the_same_last_line_is_found_out_in_the_end(tmp_path):
    tracker, stage = Recorder(True), Stage(tmp_path)
    stage.begin()
    stage.step(1, 1.0)
    stage.step(2, 2.0)
    sender = reports(tracker, tmp_path)
    sender.begin(stage.id, stage.folder, stage.partial)
    sender.follow()
    stage.log.unlink()
    stage.step(1, 7.0)
    stage.step(2, 2.0)
    sender.follow()
    assert [points[1]["loss"] for points in tracker.runs.values()] == [1.0]
    stage.finish()
    sender.finish(stage.id, stage.folder, stage.partial)
    assert [points[1]["loss"] for points in tracker.runs.values()] == [7.0]
