"""TensorBoard and trackio themselves, and W&B offline where it is installed: written, then read
back with their own readers."""

import html
import json
import os
import sys
from subprocess import run as program

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from builders.toy_runs import start, wait_for
from pipeline.tracking.interface import StageRun, Table
from pipeline.tracking.to_tensorboard import TensorBoardTracker, escaped

RUN = StageRun("recipe", "folder", "sft", "sft", "abc123", {"learning_rate": 0.1})
HOSTILE = "<script>x</script>\n| a | `b` [c](d)"
STEPS = 40
READ_TRACKIO = """
import json, sys
import trackio
from trackio.sqlite_storage import SQLiteStorage
runs = [(run.name, run.config) for run in trackio.Api().runs("toy")]
print(json.dumps([[name, config, SQLiteStorage.get_logs("toy", name)] for name, config in runs]))
"""


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    return events


def curve(events, name):
    tensors = events.Tensors(name)
    return [(one.step, round(one.tensor_proto.float_val[0], 5)) for one in tensors]


def test_tensorboard_has_the_last_curve_alone_and_samples_as_text(tmp_path):
    tracker = TensorBoardTracker(tmp_path)
    tracker.begin(RUN, None)
    for step in range(1, 38):
        tracker.log(step, {"train/loss": 9.0})
    tracker.begin(RUN, "sft")
    for step in range(1, 51):
        tracker.log(step, {"train/loss": 1 / step})
    tracker.table(50, Table("samples", ("id", "text"), [["p1", HOSTILE]]))
    tracker.end(50, {"summary/loss": 0.5}, True)
    events = read(tmp_path / "tensorboard" / "sft")
    assert curve(events, "train/loss") == [(step, round(1 / step, 5)) for step in range(1, 51)]
    assert curve(events, "summary/loss") == [(50, 0.5)]
    [text] = events.Tensors("samples")[0].tensor_proto.string_val
    assert b"<script" not in text and text.count(b"\n") == 2 and text.count(b"|") == 9


def test_tensorboard_renders_a_hostile_text_as_it_is():
    from tensorboard.plugin_util import markdown_to_safe_html

    rendered = markdown_to_safe_html(f"| a |\n| --- |\n| {escaped(HOSTILE)} |")
    cell = rendered.split("<td>")[1].split("</td>")[0]
    assert "<" not in cell and html.unescape(cell) == HOSTILE


def test_a_killed_run_has_one_curve_in_tensorboard_and_in_trackio(tmp_path, toy, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path.parent / f"{tmp_path.name}-trackio"))
    options = "--runtime", json.dumps({"report_to": ["tensorboard", "trackio"]})
    specs = [{"id": "one", "steps": STEPS}]
    process = start(tmp_path, specs, *options)
    partial = tmp_path / "01-one.partial"
    wait_for(partial / "resume" / "step")
    while not int((partial / "resume" / "step").read_text() or 0) > 10:
        pass
    process.kill()
    process.communicate()
    log = partial / "metrics.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:7]))
    (partial / "resume" / "step").write_text("7")
    code, stderr = toy(specs, *options)
    assert code == 0 and "trackio" not in stderr and "tensorboard" not in stderr
    points = [(step, round(1 / (step + 1), 5)) for step in range(STEPS)]
    assert curve(read(tmp_path / "tracking" / "tensorboard" / "one"), "train/loss") == points
    done = program([sys.executable, "-c", READ_TRACKIO], capture_output=True, check=True)
    [[name, config, rows]] = json.loads(done.stdout)
    assert name == "one" and config["kind"] == "toy" and config["_Group"] == tmp_path.name
    found = [(r["step"], round(r["train/loss"], 5)) for r in rows if "train/loss" in r]
    assert found == points and rows[-1]["summary/count"] == STEPS


def test_a_name_that_trackio_has_already_gets_a_number(tmp_path):
    code = """
from pathlib import Path
from pipeline.tracking.interface import StageRun, Table
from pipeline.tracking.to_trackio import TrackioTracker
tracker, names = TrackioTracker(Path()), []
for known in (None, None, "sft"):
    name, last = tracker.begin(StageRun("recipe", "folder", "sft", "sft", "a"), known)
    tracker.log((last or 0) + 1, {"train/loss": 1.0})
    tracker.table(2, Table("samples", ("id",), [["<b>"]]))
    tracker.end(2, {}, True)
    names.append((name, last))
from trackio.sqlite_storage import SQLiteStorage
cells = [r["samples"]["_value"] for r in SQLiteStorage.get_logs("recipe", "sft") if "samples" in r]
assert cells == [[{"id": "<b>"}]] * 2, cells
assert names == [("sft", None), ("sft-2", None), ("sft", 2)], names
"""
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path)}
    done = program([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_wandb_offline_keeps_the_run_in_the_folder(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not in the lock: its real test is skipped")
    code = f"""
from pathlib import Path
from pipeline.tracking.interface import StageRun, Table
from pipeline.tracking.to_wandb import WandbTracker
tracker = WandbTracker(Path({str(tmp_path)!r}))
tracker.check()
assert tracker.begin(StageRun("recipe", "folder", "sft", "sft", "abc"), None) == ("abc", None)
tracker.log(1, {{"train/loss": 1.0}})
tracker.table(1, Table("samples", ("id", "n"), [["<b>", 1], [None, 0.5]]))
tracker.end(1, {{"summary/loss": 1.0}}, True)
"""
    environment = {**os.environ, "WANDB_MODE": "offline"}
    done = program([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("wandb/offline-run-*-abc/run-abc.wandb"))
