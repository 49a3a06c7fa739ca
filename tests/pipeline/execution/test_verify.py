"""`uphill verify`: every byte of a finished run, from the last stage back to the first."""

import json
from pathlib import Path

import pytest

from builders import toy_runs
from builders.toy_runs import found_in
from common.errors import BadInput
from common.files import files_below, read_sealed, write_sealed
from pipeline.cli.commands import run_command
from pipeline.execution.verify import verify_run, verify_table
from pipeline.store.record import commit

SPECS = [{"id": "one"}, {"id": "two", "after": "one"}, {"id": "three", "after": "two"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toy")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        assert toy_runs.main([str(folder), json.dumps(SPECS)]) == 0
    return folder


def flipped(data, place):
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def test_a_sound_run_is_walked_from_its_end(run):
    found = verify_run(run)
    assert found["problems"] == []
    assert [row["id"] for row in found["stages"]] == ["three", "two", "one"]
    assert [row["made_from"] for row in found["stages"]] == [["two"], ["one"], []]
    assert [row["id"] for row in verify_run(run, "two")["stages"]] == ["two", "one"]
    assert len(verify_table(found)) == 4


def test_one_changed_byte_of_any_file_is_found_and_named(run):
    files = [path for path in files_below(run) if path.stat().st_size]
    assert {path.name for path in files} >= {
        "plan.json",
        "record.json",
        "count.txt",
        "stage.log",
        "metrics.jsonl",
    }
    for path in files:
        data = path.read_bytes()
        places = (
            range(len(data))
            if len(data) < 20
            else (0, len(data) // 3, len(data) // 2, len(data) - 1)
        )
        for place in places:
            path.write_bytes(flipped(data, place))
            assert str(path) in found_in(run), (path, place)
        path.write_bytes(data)
    assert found_in(run) == ""


@pytest.mark.parametrize("name", ["01-one/count.txt", "01-one/stage.log"])
def test_a_missing_or_shorter_file_is_named(run, name):
    data = (run / name).read_bytes()
    (run / name).unlink()
    assert f"{run / name}: is missing" in found_in(run)
    (run / name).write_bytes(data[:-1])
    assert f"{run / name}: has {len(data) - 1} bytes" in found_in(run)
    (run / name).write_bytes(data)
    assert found_in(run) == ""


def test_a_file_too_many_is_named(run):
    (run / "01-one" / "adapter_config.json").write_text("{}")
    assert "adapter_config.json: is not among the files that the stage wrote" in found_in(run)
    (run / "01-one" / "adapter_config.json").unlink()


def test_an_exchanged_input_breaks_the_chain(run):
    """A record that is sound in itself but not the one that the next stage was made from."""
    path = run / "01-one" / "record.json"
    before = path.read_bytes()
    write_sealed(path, read_sealed(path) | {"attempts": 7})
    assert "02-two: was made from another run of one" in found_in(run)
    path.write_bytes(before)
    assert found_in(run) == ""


def test_the_command_gives_one_document_and_exit_code_1_for_damage(run, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["uphill", "verify", str(run), "--json"])
    assert run_command() == 0 and json.loads(capsys.readouterr().out)["problems"] == []
    path = run / "02-two" / "count.txt"
    data = path.read_bytes()
    path.write_bytes(flipped(data, 0))
    assert run_command() == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"] == [
        f"{path}: has changed since it was recorded (its SHA-256 differs)"
    ]
    assert str(path) in err and "remedy" in err
    path.write_bytes(data)


def test_a_stage_that_is_not_there_is_refused(run):
    with pytest.raises(BadInput, match="no stage 'fuor'"):
        verify_run(run, "fuor")


def test_a_git_that_was_killed_is_asked_again(tmp_path, monkeypatch):
    """It would otherwise look like a checkout without git, and the record would name no commit."""
    fake = tmp_path / "git"
    fake.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/asked ] || {{ : > {tmp_path}/asked; kill -9 $$; }}\necho"
        ' "$3"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert commit(tmp_path) == "rev-parse+dirty"
    fake.write_text("#!/bin/sh\nexit 128\n")
    assert commit(tmp_path) is None
