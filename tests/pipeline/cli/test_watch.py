"""`uphill watch`: snapshots of run folders in every state, at several widths, with hostile text."""

import io
import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from builders.command_line import pretend
from builders.shown_runs import HOSTILE, attempt_of, rl_works, shown_plan, works
from common.files import write_json
from pipeline.cli.watch.reading import Tail, last_rows
from pipeline.cli.watch.snapshot import Watcher
from pipeline.cli.watch.view import BLOCKS, curve, view

NOW = 1_000_000.0


@pytest.fixture
def shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shown_plan(tmp_path)


@pytest.fixture
def running(shown):
    """RL runs since 20 seconds, after 10 seconds of an earlier attempt."""
    plan, run = shown
    partial = rl_works(plan, run)
    (partial / "stage.log").write_text(f"noise\nnote: {HOSTILE} is odd\n{'x' * 300_000}\n")
    with (partial / "stage.log").open("a") as log:
        log.write(f"note: newest {HOSTILE}\nmore\n")
    with attempt_of(run, partial):
        attempt = {"runner": os.getpid(), "started": NOW - 20, "seconds_before": 10.0}
        write_json(partial / "attempt.json", attempt)
        yield run


def shown_of(watcher) -> Any:
    return watcher.snapshot(NOW).shown


def drawn(snapshot, width):
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, emoji=False, highlight=False)
    console.print(view(snapshot, width))
    return out.getvalue()


@pytest.mark.parametrize("width", [20, 40, 80, 160])
def test_a_running_stage_is_drawn_within_the_width_and_as_text(running, width):
    text = drawn(Watcher(running).snapshot(NOW), width)
    assert {one for one in text if unicodedata.category(one) in ("Cc", "Cf", "Cs")} == {"\n"}
    assert all(cell_len(line) <= width for line in text.split("\n"))
    assert "rl: step 2/4" in text and "▁" in text and "█" in text
    if width >= 80:
        assert "rl      running 0:00:30" in text
        assert "rl: step 2/4, 2.0 s/step, 50 tokens/s, 0:00:04 left" in text
        assert r"newest \x1b[2J\x1b]0;owned\x07\u202egnp.exe" in text
        assert r"reward 0, 2 tokens yes \x1b[2J\x1b]0;owned" in text and "0.25 to 0.5" in text


def test_what_a_stage_writes_meanwhile_is_seen_and_a_half_line_is_not(running):
    watcher = Watcher(running)
    assert shown_of(watcher).curves["reward"] == [0.25, 0.5]
    metrics = next(running.glob("*-rl.partial/metrics.jsonl"))
    whole = metrics.read_bytes()[: metrics.read_bytes().rfind(b"\n") + 1]
    row = {"step": 3, "reward": 1.0, "loss": float("nan"), "step_time": 4.0}
    metrics.write_bytes(whole + json.dumps(row).encode() + b'\n{"step": 4, "rew')
    shown = shown_of(watcher)
    assert shown.step == 3 and shown.curves["reward"] == [0.25, 0.5, 1.0]
    assert len(shown.curves["loss"]) == 2 and shown.seconds_left == pytest.approx(8 / 3)


def test_untimed_steps_have_the_pace_that_was_seen(shown):
    plan, run = shown
    rows = [{"step": n, "epoch": n / 10, "loss": 1.0} for n in (1, 2, 3)]
    metrics = works(plan, run, "sft", lines={"metrics.jsonl": rows[:1]}) / "metrics.jsonl"
    watcher = Watcher(run, "sft")
    os.utime(metrics, (NOW, NOW))
    assert shown_of(watcher).seconds_per_step is None
    with metrics.open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows[1:]))
    os.utime(metrics, (NOW + 8, NOW + 8))
    assert shown_of(watcher).seconds_per_step == 4


def test_a_run_that_has_not_started_and_one_that_failed(shown, uphill):
    plan, run = shown
    code, out, _ = uphill("watch", "shown")
    assert code == 0 and "nothing runs, 0 of 6 stages done" in out and "rl" in out
    partial = rl_works(plan, run)
    write_json(partial / "failure.json", {"message": f"it diverged {HOSTILE}\nmore"})
    code, out, _ = uphill("watch", "shown", "--once")
    assert code == 0 and "failed" in out and r"it diverged \x1b[2J" in out and "left" not in out
    assert uphill("watch", "nothing")[0] == 2 and uphill("watch", "shown:nothing")[0] == 2


def test_a_finished_run_is_drawn_once(folder, uphill):
    pretend({"base": 2, "sft": 5, "more": 6})
    code, out, err = uphill("watch", "small")
    assert code == 0 and "small: finished, 7 of 7 stages done" in out, err


def test_epochs_give_the_number_of_steps(shown):
    plan, run = shown
    rows = [{"step": 10, "epoch": 0.25, "loss": 1.0, "num_tokens": 500.0}]
    works(plan, run, "sft", lines={"metrics.jsonl": rows})
    found = shown_of(Watcher(run, "sft"))
    assert (found.step, found.total, found.curves) == (
        10,
        40 * plan["sft"].config["epochs"],
        {"loss": [1.0]},
    )


def test_a_file_that_was_cut_back_or_replaced_is_read_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    tail = Tail(path, ["step"])
    assert tail.update() == []
    path.write_text('{"step": 1, "x": 2}\nno json\n[1]\n{"step": 2}\n{"st')
    assert tail.update() == [{"step": 1}, {"step": 2}] == tail.update()
    path.write_text('{"step": 1}\n')
    assert tail.update() == [{"step": 1}]
    Path(tmp_path / "new").write_text('{"step": 7}\n{"step": 8}\n')
    os.replace(tmp_path / "new", path)
    assert tail.update() == [{"step": 7}, {"step": 8}]
    path.unlink()
    assert tail.update() == []


@pytest.mark.parametrize(
    ("most", "steps"), [(3, []), (24, [2, 3]), (25, [2, 3]), (1_000, [1, 2, 3])]
)
def test_the_last_rows_are_whole_lines(tmp_path, most, steps):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"step": {n}}}\n' for n in (1, 2, 3)))
    assert [row["step"] for row in last_rows(path, most)] == steps


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 80))
def test_a_curve_has_its_room_and_its_ends(values, width):
    drawn_curve = curve(values, width)
    assert len(drawn_curve) == min(width, len(values)) and set(drawn_curve) <= set(BLOCKS)
    if len(values) <= width and max(values) > min(values):
        assert drawn_curve[values.index(max(values))] == "█"
        assert drawn_curve[values.index(min(values))] == "▁"
