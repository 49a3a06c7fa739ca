"""SFT with `stop_when` on the nano model: when it ends, which weights it keeps, that a killed stage
ends in the same bytes, and that probes change nothing of what is trained."""

import pytest
import torch
from safetensors.torch import load_file

from builders.nano_rl import DEV_IDS, Killed
from builders.nano_sft import STOP, NanoSft
from common.errors import RunFailed
from common.files import checksum, files_below, read_json, read_json_lines
from evals.parts import DEV, part_of
from stages.sft import run as sft

RISES = {2: 1, 4: 4, 6: 4, 8: 3}
"""Dev prompts that the policy of a step answers correctly: the best step is in the middle."""


def outputs_of(folder):
    """Checksums of a stage's files, apart from what it goes on from."""
    names = [path for path in files_below(folder) if "resume" not in path.parts]
    return {str(path.relative_to(folder)): checksum(path) for path in names}


def rows_of(folder):
    return read_json_lines(folder / "probes.jsonl")


def same_weights(folder, published):
    stored = load_file(folder / "checkpoint" / "model.safetensors")
    return all(torch.equal(stored[name], published[name]) for name in stored)


@pytest.mark.parametrize("train", [{"train": "full"}, {"lora": {"rank": 4}, "train": "lora"}])
def test_a_killed_stage_ends_in_the_bytes_of_an_unbroken_one(tmp_path, monkeypatch, train):
    stage = NanoSft(tmp_path, monkeypatch, RISES)
    whole, outputs = stage.run("whole", STOP, **train)
    # Steps 4 and 6 are equal: the earlier one is kept, and two probes bring nothing better.
    assert [row["step"] for row in rows_of(whole)] == [2, 4, 6, 8]
    assert same_weights(whole, stage.engine.published[4])
    metrics = outputs.metrics
    assert (metrics["steps"], metrics["ended"], metrics["kept_step"]) == (8, "patience", 4)
    assert (metrics["kept_pass_at_k"], metrics["kept_pass_at_1"]) == (4 / 6, 4 / 6)
    assert metrics["kept_format"] == 1.0 and metrics["kept_entropy"] == rows_of(whole)[1]["entropy"]
    assert outputs.tokens_generated == sum(row["tokens"] for row in rows_of(whole)) > 0
    config = read_json(whole / "checkpoint" / "config.json")
    assert config["use_cache"] and config["architectures"] == ["Llama4ForCausalLM"]
    # A probe is two calls of the engine: publish, then sample. Steps 3 and 6 are saved.
    for call in (2, 3, 4, 5, 2):
        with pytest.raises(Killed):
            stage.run("killed", STOP, killed_at=call, **train)
    killed, again = stage.run("killed", STOP, **train)
    assert outputs_of(killed) == outputs_of(whole) and again == outputs
    # Killed after its last step, before its record: it trains no further and starts no engine.
    started = len(stage.engines)
    assert stage.run("killed", STOP, **train)[1] == outputs
    assert outputs_of(killed) == outputs_of(whole) and len(stage.engines) == started


def test_probes_change_nothing_of_what_is_trained(tmp_path, monkeypatch):
    stage = NanoSft(tmp_path, monkeypatch, {2: 3, 4: 2}, formless=range(100))
    plain, outputs = stage.run("plain", None, epochs=2)
    assert not stage.engines and not (plain / "probes.jsonl").exists()
    assert "ended" not in outputs.metrics and outputs.tokens_generated == 0
    probed, others = stage.run("probed", STOP, epochs=2)
    # No probe was valid: the last weights are kept, which are those of the plain stage.
    mine, theirs = outputs_of(probed), outputs_of(plain)
    for name in theirs.keys() - {"metrics.jsonl"}:
        assert mine[name] == theirs[name], name
    added = {"probe/pass_at_k", "probe/pass_at_1", "probe/entropy", "probe/format"}
    added |= {"tokens_generated_total"}
    rows = read_json_lines(probed / "metrics.jsonl")
    assert [{k: v for k, v in row.items() if k not in added} for row in rows] == read_json_lines(
        plain / "metrics.jsonl"
    )
    assert [row.get("probe/pass_at_1") for row in rows] == [None, 0.5, None, 2 / 6, None, 0.0]
    assert (others.metrics["ended"], others.metrics["kept_step"]) == ("epochs", 6)
    assert len(stage.notes) == 1 and "the highest was 0.00" in stage.notes[0]
    assert stage.notes[0].endswith("so the last step's weights are kept")


def test_the_dev_part_alone_is_asked_with_the_same_seeds(tmp_path, monkeypatch):
    stage = NanoSft(tmp_path, monkeypatch, RISES)
    seeds = []
    generate = NanoSft._engine

    def noting(self, killed_at):
        start = generate(self, killed_at)

        def started(checkpoint, *rest):
            engine = start(checkpoint, *rest)
            asked = engine.generate

            def called(prompts, **settings):
                seeds.append(tuple(settings["seeds"]))
                assert (settings["temperature"], settings["samples"]) == (1.0, 2)
                return asked(prompts, **settings)

            engine.generate = called
            return engine

        return started

    monkeypatch.setattr(NanoSft, "_engine", noting)
    folder, _ = stage.run("seeds", STOP)
    assert len(seeds) == 4 and len(set(seeds)) == 1 and len(set(seeds[0])) == len(DEV_IDS)
    asked = rows_of(folder)[0]["correct"]
    assert set(asked) == set(DEV_IDS) and {part_of(id) for id in asked} == {DEV}


def test_a_reached_pass_rate_ends_sft_and_its_weights_are_kept(tmp_path, monkeypatch):
    stage = NanoSft(tmp_path, monkeypatch, {2: 2, 4: 3, 6: 6}, formless=(2,))
    folder, outputs = stage.run("reached", {**STOP, "pass_at_k": 0.3})
    # Step 2 had reached it too, without the format.
    assert (outputs.metrics["ended"], outputs.metrics["kept_step"]) == ("pass_at_k", 4)
    assert outputs.metrics["steps"] == 4 and same_weights(folder, stage.engine.published[4])
    assert not (folder / "resume" / "best").exists()


def test_a_fallen_entropy_ends_sft_whatever_the_format(tmp_path, monkeypatch):
    stage = NanoSft(tmp_path, monkeypatch, RISES, formless=(4,))
    high = {**STOP, "entropy": 100.0}
    folder, outputs = stage.run("fallen", high)
    assert (outputs.metrics["ended"], outputs.metrics["steps"]) == ("entropy", 2)
    assert same_weights(folder, stage.engine.published[2])


def test_a_policy_that_diverged_is_not_probed_first(tmp_path, monkeypatch):
    stage = NanoSft(tmp_path, monkeypatch)
    monkeypatch.setattr(
        sft.RowTrainer, "_get_grad_norm", lambda *a, **k: float("nan"), raising=True
    )
    with pytest.raises(RunFailed, match="is not finite"):
        stage.run("diverged", {**STOP, "every": 1})
    assert not stage.engine.published


@pytest.mark.parametrize("stop_when", [None, {**STOP, "patience": None}])
def test_a_stage_killed_after_a_last_step_within_an_epoch_trains_no_further(
    tmp_path, monkeypatch, stop_when
):
    stage = NanoSft(tmp_path, monkeypatch, RISES)
    folder, outputs = stage.run("once", stop_when, epochs=1.4)
    before = outputs_of(folder)
    assert outputs.metrics["steps"] == 5
    assert stage.run("once", stop_when, epochs=1.4)[1] == outputs
    assert outputs_of(folder) == before
