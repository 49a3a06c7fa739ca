"""Which checkpoint `chat` and `serve` take, and how long a conversation may be."""

from pathlib import Path

import pytest

from builders.command_line import pretend
from common.errors import BadInput, RunFailed
from common.files import write_json
from pipeline.cli.served_model import compared_model, served_model

RUNS = Path("runs")


@pytest.fixture
def run(folder):
    pretend({"base": 2, "sft": 2, "more": 2})


def test_a_stage_is_served_under_the_name_of_run_and_stage(run):
    model = served_model("small:sft", RUNS, None)
    assert (model.name, model.folder.parent.name) == ("small-sft", "03-sft")
    assert model.rollouts.max_model_len == 4096 and served_model("small", RUNS, None).name == (
        "small-more"
    )


def test_another_stage_of_the_run_or_a_folder_is_compared(run, tmp_path):
    model = served_model("small:sft", RUNS, 64)
    assert compared_model("more", model, RUNS, 64).name == "small-more"
    other = compared_model("runs/small/04-more/checkpoint", model, RUNS, 64)
    assert other.name == "checkpoint" and other.rollouts.max_model_len == 64
    with pytest.raises(BadInput, match="no stage 'most'"):
        compared_model("most", model, RUNS, 64)


def test_the_context_of_the_model_is_the_limit(tmp_path):
    write_json(tmp_path / "config.json", {"max_position_embeddings": 128})
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert served_model(str(tmp_path), RUNS, None).rollouts.max_model_len == 128
    with pytest.raises(BadInput, match="above the context"):
        served_model(str(tmp_path), RUNS, 129)


def test_a_changed_byte_is_never_served(run):
    Path("runs/small/04-more/checkpoint/model.safetensors").write_bytes(b"mare")
    with pytest.raises(RunFailed, match="has changed since it was recorded"):
        served_model("small:more", RUNS, None)
