"""What a killed training stage goes on from."""

import json

import pytest

from common.files import append_json_line, read_json_lines, write_json
from common.stage import StageContext
from stages.resume import MARKER, CompleteCheckpoints, latest, resume_folder, step_of, take_back


@pytest.fixture
def context(tmp_path):
    return StageContext(tmp_path, 0, lambda *_, **__: None, lambda: False, 1)


def checkpoint(context, step):
    """A complete checkpoint, as the trainer and the callback leave it."""
    folder = resume_folder(context) / f"checkpoint-{step}"
    (folder / "below").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "below" / "rng.pth").write_bytes(b"rng")
    state = type("State", (), {"global_step": step})()
    CompleteCheckpoints(context, lambda f: (f / "ledger.sqlite").write_bytes(b"rows")).on_save(None, state, None)
    return folder


def test_a_stage_goes_on_from_its_newest_complete_checkpoint(context):
    assert latest(context) is None and step_of(None) == 0
    newest = [checkpoint(context, step) for step in (8, 100, 20)][1]
    assert latest(context) == newest and step_of(newest) == 100
    assert set(json.loads((newest / MARKER).read_text())) == {"model.safetensors", "below/rng.pth", "ledger.sqlite"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / MARKER).unlink(),
        lambda folder: (folder / "model.safetensors").write_bytes(b"weigh"),
        lambda folder: (folder / "below" / "rng.pth").unlink(),
        lambda folder: (folder / "more").write_bytes(b""),
    ],
    ids=["no marker", "shorter", "missing", "more"],
)
def test_an_incomplete_checkpoint_is_deleted(context, damage):
    whole, broken = checkpoint(context, 4), checkpoint(context, 6)
    damage(broken)
    assert latest(context) == whole
    assert not broken.exists() and whole.exists()


def test_lines_after_the_checkpoint_are_taken_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3, 3, 4):
        append_json_line(path, {"step": step, "word": "é"})
    with path.open("a") as handle:
        handle.write('{"step": 2, "wo')
    take_back(path, 3)
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3, 3]
    assert path.read_text().endswith('"é"}\n')
    take_back(path, 0)
    assert path.read_text() == ""


def test_a_stop_saves_once_and_not_at_the_end(context, tmp_path):
    asked = StageContext(tmp_path, 0, context.progress, lambda: True, 1)
    for step, stopped in ((3, True), (9, False)):
        callback, control = CompleteCheckpoints(asked), type("Control", (), {})()
        callback.on_step_end(None, type("State", (), {"global_step": step, "max_steps": 9})(), control)
        assert callback.stopped == stopped == hasattr(control, "should_training_stop")
    write_json(tmp_path / "unrelated.json", {})
    assert latest(asked) is None
