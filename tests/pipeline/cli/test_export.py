"""`uphill export --force` replaces a checkpoint in one step, and never anything else."""

import json
from pathlib import Path

import pytest

from builders.command_line import pretend
from common.errors import BadInput
from models.nano import nano_model, nano_tokenizer
from pipeline.cli import export as module
from pipeline.cli.export import CHECKPOINT_FILES

OUT = Path("out/a")


@pytest.fixture
def exported(folder, uphill):
    """A finished run, and the checkpoint of `sft` in `out/a`."""
    pretend({"base": 2, "sft": 2, "more": 2})
    assert uphill("export", "small:sft", str(OUT))[0] == 0
    return uphill


def held():
    """What is in `out` and in `out/a`."""
    names = sorted(path.name for path in OUT.parent.iterdir())
    return names, {path.name: path.read_bytes() for path in OUT.iterdir() if path.is_file()}


def test_a_checkpoint_is_replaced_whole(exported):
    (OUT / "tokenizer.json").write_text("{}")
    (OUT / "model-00001-of-00002.safetensors").write_bytes(b"an older, sharded one")
    code, out, _ = exported("export", "small:more", str(OUT), "--force", "--json")
    assert code == 0 and json.loads(out)["replaced"] is True
    names, files = held()
    assert b"# `small-more`" in files.pop("README.md")
    assert (names, files) == (["a"], {"config.json": b"{}", "model.safetensors": b"more"})


def test_force_needs_nothing_to_be_there(exported):
    code, out, _ = exported("export", "small:more", "out/b", "--force", "--json")
    assert code == 0 and json.loads(out)["replaced"] is False


def add_notes(place):
    (place / "notes.txt").write_text("mine")


def add_folder(place):
    (place / "tokenizer.json").mkdir()


def add_link(place):
    (place / "tokenizer.json").symlink_to(place / "config.json")


def add_other_weights(place):
    (place / "adapter_model.safetensors").write_bytes(b"mine")


def no_weights(place):
    (place / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_notes, "contains notes.txt, not part of a checkpoint"),
        (add_folder, "contains tokenizer.json, not part of a checkpoint"),
        (add_link, "contains tokenizer.json, not part of a checkpoint"),
        (add_other_weights, "contains adapter_model.safetensors, not part of a checkpoint"),
        (no_weights, "is not a checkpoint (config.json and *.safetensors)"),
    ],
)
def test_what_is_not_a_checkpoint_alone_is_never_replaced(exported, change, words):
    change(OUT)
    before = held()
    code, _, err = exported("export", "small:more", str(OUT), "--force")
    assert code == 2 and words in err and held() == before


def test_a_link_and_a_file_are_never_replaced(exported):
    Path("link").symlink_to(OUT)
    assert exported("export", "small:more", "link", "--force")[0] == 2 and Path("link").is_symlink()
    assert (
        exported("export", "small:more", "small.yaml", "--force")[0] == 2
        and Path("small.yaml").is_file()
    )


@pytest.mark.parametrize("target", ["runs/small/03-sft/checkpoint", "runs/small/03-sft/new"])
def test_a_runs_own_checkpoint_is_never_replaced(exported, target):
    code, _, err = exported("export", "small:more", target, "--force")
    assert code == 2 and "a stage's folder of a run" in err and exported("verify", "small")[0] == 0


def test_a_damaged_source_leaves_the_old_checkpoint(exported):
    Path("runs/small/04-more/checkpoint/model.safetensors").write_bytes(b"mare")
    code, _, err = exported("export", "small:more", str(OUT), "--force")
    assert (
        code == 1
        and "has changed" in err
        and held()[1]["model.safetensors"] == b"sft"
        and held()[0] == ["a"]
    )


def test_what_is_added_meanwhile_is_not_deleted(exported, monkeypatch):
    exchange = module._exchange

    def late(partial, place):
        add_notes(place)
        exchange(partial, place)

    monkeypatch.setattr(module, "_exchange", late)
    code, _, err = exported("export", "small:more", str(OUT), "--force")
    assert code == 1 and "notes.txt was added" in err and held()[1]["model.safetensors"] == b"more"
    assert exported("export", "small:sft", str(OUT), "--force")[0] == 2
    assert Path("out/.a.uphill-export/notes.txt").read_text() == "mine"


def test_a_file_system_that_cannot_exchange_folders_keeps_the_old_one(exported, tmp_path):
    with pytest.raises(OSError, match="No such file"):
        module._exchange(tmp_path / "no", tmp_path / "none")
    Path("x/y").mkdir(parents=True)
    with pytest.raises(
        BadInput, match="cannot exchange folders"
    ):  # none can, a folder with one inside of it
        module._exchange(Path("x"), Path("x/y"))


def test_somebody_elses_folder_beside_the_target_stays(exported):
    Path("out/b.partial").mkdir()
    Path("out/b.partial/mine").write_text("mine")
    assert (
        exported("export", "small", "out/b")[0] == 0
        and Path("out/b.partial/mine").read_text() == "mine"
    )


def test_the_current_folder_is_not_taken_away(exported, monkeypatch):
    Path("here").mkdir()
    monkeypatch.chdir("here")
    code, _, err = exported("export", "small", ".", "--runs-dir", "../runs")
    assert code == 2 and "is the current folder" in err and Path().absolute().is_dir()


def test_what_a_killed_export_left_is_no_hindrance(exported):
    Path("out/.a.uphill-export").mkdir()
    Path("out/.a.uphill-export/model.safetensors").write_bytes(b"ha")
    assert exported("export", "small:more", str(OUT), "--force")[0] == 0 and held()[0] == ["a"]


def test_all_that_a_stage_saves_is_known_as_a_checkpoints_file(tmp_path):
    from models.checkpoint import save_policy

    tokenizer = nano_tokenizer()
    save_policy(nano_model(tokenizer, seed=3), tokenizer, tmp_path)
    assert [
        path.name for path in tmp_path.iterdir() if not CHECKPOINT_FILES.fullmatch(path.name)
    ] == []
