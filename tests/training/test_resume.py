"""What a killed training stage goes on from."""

import os
from typing import Any

import pytest

from builders.contexts import stage_context
from common.files import append_json_line, read_json_lines, read_sealed, write_json
from training.resume import MARKER, CompleteCheckpoints, go_on, resume_folder, step_of

NONE: Any = None
"""What the callback is given by the trainer and does not read."""


@pytest.fixture
def notes():
    return []


@pytest.fixture
def context(tmp_path, notes):
    return stage_context(tmp_path, note=notes.append)


def checkpoint(context, step):
    """A complete checkpoint, as the trainer and the callback leave it, with a line logged for
    it."""
    append_json_line(context.folder / "metrics.jsonl", {"step": step, "word": "é"})
    folder = resume_folder(context) / f"checkpoint-{step}"
    (folder / "below").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "below" / "rng.pth").write_bytes(b"rng")
    state: Any = type("State", (), {"global_step": step})()
    CompleteCheckpoints(context, own_state).on_save(NONE, state, NONE)
    return folder


def own_state(folder):
    (folder / "ledger.sqlite").write_bytes(b"rows")


def steps(context):
    return [row["step"] for row in read_json_lines(context.folder / "metrics.jsonl")]


def test_a_stage_goes_on_from_its_newest_complete_checkpoint(context, notes):
    assert go_on(context) is None and step_of(None) == 0
    newest = [checkpoint(context, step) for step in (8, 20, 100)][-1]
    assert go_on(context) == newest and step_of(newest) == 100 and not notes
    marker = read_sealed(newest / MARKER)
    assert set(marker["files"]) == {"model.safetensors", "below/rng.pth", "ledger.sqlite"}
    assert steps(context) == [8, 20, 100]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda folder: (folder / MARKER).unlink(), None),
        (lambda folder: flip(folder / MARKER), MARKER),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"weigh"), "model.safetensors"),
        (lambda folder: flip(folder / "model.safetensors"), "model.safetensors: has changed"),
        (lambda folder: (folder / "below" / "rng.pth").unlink(), "rng.pth: is missing"),
        (lambda folder: (folder / "more").write_bytes(b""), "more: is not of the checkpoint"),
        (
            lambda folder: os.replace(folder / "ledger.sqlite", folder / "model.safetensors"),
            "is missing",
        ),
        (
            lambda folder: os.truncate(folder.parents[1] / "metrics.jsonl", 30),
            "metrics.jsonl: is not what it was",
        ),
    ],
    ids=[
        "no marker",
        "flipped marker",
        "shorter",
        "flipped",
        "missing",
        "more",
        "swapped",
        "log cut short",
    ],
)
def test_a_checkpoint_that_is_not_sound_is_named_and_not_used(context, notes, damage, word):
    whole, broken = checkpoint(context, 4), checkpoint(context, 6)
    damage(broken)
    assert go_on(context) == whole
    assert not broken.exists() and whole.exists() and steps(context) == [4]
    assert len(notes) == (word is not None)
    assert not word or (word in notes[0] and "before checkpoint 6" in notes[0])


def test_a_log_changed_before_the_first_checkpoint_leaves_none_to_go_on_from(context, notes):
    for step in (4, 6):
        checkpoint(context, step)
    log = context.folder / "metrics.jsonl"
    log.write_text(log.read_text().replace('"step": 4', '"step": 5'))
    assert go_on(context) is None and len(notes) == 2
    assert not log.exists()


def test_lines_after_the_checkpoint_are_taken_back(context):
    append_json_line(context.folder / "groups.jsonl", {"step": 0})
    start = checkpoint(context, 3)
    for name in ("metrics", "groups", "routing"):
        append_json_line(context.folder / f"{name}.jsonl", {"step": 4})
    with (context.folder / "metrics.jsonl").open("a") as handle:
        handle.write('{"step": 2, "wo')
    assert go_on(context) == start
    assert steps(context) == [3] and read_json_lines(context.folder / "groups.jsonl") == [
        {"step": 0}
    ]
    assert not (context.folder / "routing.jsonl").exists()


def test_a_stop_saves_once_and_not_at_the_end(context, tmp_path):
    asked = stage_context(tmp_path, stop_requested=lambda: True)
    for step, stopped in ((3, True), (9, False)):
        callback = CompleteCheckpoints(asked, lambda folder: None)
        control: Any = type("Control", (), {})()
        state: Any = type("State", (), {"global_step": step, "max_steps": 9})()
        callback.on_step_end(NONE, state, control)
        assert callback.stopped == stopped == hasattr(control, "should_training_stop")
    write_json(tmp_path / "unrelated.json", {})
    assert go_on(asked) is None
