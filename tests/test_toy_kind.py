"""A kind of stage that a folder of the tests alone knows goes through every command.
It is checked, planned, run, adopted, pruned and verified as one of ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = """\
name: {name}
model: {{preset: nano}}
prompts:
  - {{source: reasoning_gym, family: chain_sum, count: 20}}
stages:
{stages}
runtime: {{keep: {{last: 1, best: 0}}, stages: {{half: {{rows_per_forward: 5}}}}}}
"""
FIRST = """\
  - {id: half, kind: scale, teacher: base, factor: 0.5}
  - {id: quarter, kind: scale, teacher: half, factor: 0.5}"""
SECOND = """\
  - {id: half, kind: adopt, folder: runs/first/04-quarter}
  - {id: eighth, kind: scale, teacher: half, factor: 0.5}"""


@pytest.fixture
def uphill(tmp_path):
    """The command line with the toy kind, in `tmp_path`."""

    def run(*words):
        command = [sys.executable, str(ROOT / "tests" / "toy_kind" / "uphill.py"), *words]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300
        )

    return run


def write(folder, name, stages):
    (folder / f"{name}.yaml").write_text(RECIPE.format(name=name, stages=stages))


def rows(done):
    assert done.returncode == 0, done.stderr
    return {row["id"]: row for row in json.loads(done.stdout)["stages"]}


def test_a_kind_from_this_folder_goes_through_everything(tmp_path, uphill):
    write(tmp_path, "first", FIRST)
    planned = rows(uphill("plan", "first.yaml", "--json"))
    assert planned["quarter"]["expected"] == {"checkpoints_at_most": 1}
    assert planned["quarter"]["disk"]["kept_gib"] > 0 and planned["quarter"]["state"] == "todo"

    done = rows(uphill("run", "first.yaml", "--json"))
    assert {row["state"] for row in done.values()} == {"done"}
    assert done["half"]["metrics"] == {"rows_per_forward": 5}

    # `keep: {last: 1}`: what a finished stage read is pruned, its last reader keeps its weights.
    run = tmp_path / "runs" / "first"
    assert (run / "03-half" / "pruned.json").exists()
    assert (run / "04-quarter" / "checkpoint" / "model.safetensors").exists()

    verified = uphill("verify", "first", "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["problems"] == []
    exported = uphill("export", "first", "out", "--json")
    assert json.loads(exported.stdout)["stage"] == "quarter"

    write(tmp_path, "second", SECOND.replace("half: {rows", "eighth: {rows"))
    text = (tmp_path / "second.yaml").read_text()
    (tmp_path / "second.yaml").write_text(text.replace("stages: {half:", "stages: {eighth:"))
    adopted = rows(uphill("run", "second.yaml", "--json"))
    assert adopted["half"]["note"] == "adopted from another run"
    assert adopted["eighth"]["state"] == "done"


def test_a_weight_input_of_any_name_must_not_have_been_pruned(tmp_path, uphill):
    write(tmp_path, "first", FIRST)
    assert uphill("run", "first.yaml").returncode == 0
    write(tmp_path, "first", FIRST + "\n  - {id: late, kind: scale, teacher: half}")
    done = uphill("run", "first.yaml")
    assert done.returncode == 1 and "its weights were removed by `runtime.keep`" in done.stderr


def test_what_is_wrong_is_said_as_of_our_own_kinds(tmp_path, uphill):
    write(tmp_path, "first", FIRST.replace("teacher: half", "teacher: prompts"))
    wrong = uphill("plan", "first.yaml")
    assert wrong.returncode == 2
    assert "stages[1].teacher: 'prompts' produces no checkpoint" in wrong.stderr
    write(tmp_path, "first", FIRST.replace("factor: 0.5", "factor: 0", 1))
    assert (
        "stages[0].factor: must be a number greater than 0" in uphill("plan", "first.yaml").stderr
    )


def test_changed_execution_settings_leave_a_finished_stage_done(tmp_path, uphill):
    write(tmp_path, "first", FIRST)
    assert uphill("run", "first.yaml").returncode == 0
    again = uphill("run", "first.yaml", "--set", "runtime.stages.half.rows_per_forward=1", "--json")
    assert rows(again)["half"]["metrics"] == {"rows_per_forward": 5}
    record = json.loads((tmp_path / "runs" / "first" / "03-half" / "record.json").read_text())
    assert record["execution"] == {"rows_per_forward": 5}
    assert "rows_per_forward" not in str(record["identity"])
    unread = uphill("plan", "first.yaml", "--set", "runtime.stages.half.save_every=1")
    assert "runtime.stages.half.save_every: the stage 'half' does not read it" in unread.stderr
