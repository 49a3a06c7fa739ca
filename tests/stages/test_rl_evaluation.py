"""RL's own evaluation on the nano model: what it asks, what is kept, and that a killed stage ends
in the same bytes."""

import pytest
import torch
from safetensors.torch import load_file

from builders.nano_rl import DEV_IDS, Killed, NanoRl
from common.errors import RunFailed
from common.files import files_below, read_json, read_json_lines
from stages.rl import trainer
from stages.rl.loss import dapo_loss
from training.best import BEST

RIGHT = {2: 3, 4: 4, 6: 2}
"""Dev prompts that the policy of a version answers correctly: the best step is in the middle."""
EVERY_2 = {"every": 2, "max_tokens": 2}
KILLS = {0: (6, 6, 9, 10), 1: (7, 8, 9)}
"""By steps ahead: the calls of the engine at which one attempt after another ends. They are in an
evaluation before the first checkpoint, in one after it, between checkpoints and at publications."""


def rows_of(folder):
    """The lines of `metrics.jsonl` without what differs from run to run."""
    rows = read_json_lines(folder / "metrics.jsonl")
    return [{k: v for k, v in row.items() if "time" not in k} for row in rows]


def outputs_of(folder):
    """The bytes of a stage's files, and its figures."""
    names = [path for path in files_below(folder) if "resume" not in path.parts]
    plain = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in names
        if path.name not in ("metrics.jsonl", "curriculum.png")
    }
    return plain, rows_of(folder)


def same_weights(folder, published):
    stored = load_file(folder / "checkpoint" / "model.safetensors")
    return all(torch.equal(stored[name], published[name]) for name in stored)


@pytest.mark.parametrize("ahead", [0, 1])
def test_a_killed_stage_keeps_the_best_weights_of_an_undisturbed_one(tmp_path, monkeypatch, ahead):
    rl, best = NanoRl(tmp_path, monkeypatch, RIGHT), {**EVERY_2, "keep_best": True}
    whole, outputs = rl.run("whole", best, ahead=ahead)
    assert (outputs.metrics["kept_step"], outputs.metrics["kept_dev_score"]) == (4, 4 / 6)
    assert outputs.metrics["dev/score"] == 2 / 6 and same_weights(whole, rl.engine.published[4])
    assert read_json(whole / "parity.json")["mean_gap"] < 1e-5
    asked = [one for one in rl.engine.asked if one[1] == 0]
    assert asked == [(version, 0.0, len(DEV_IDS)) for version in (2, 4, 6)]
    for call in KILLS[ahead]:
        with pytest.raises(Killed):
            rl.run("killed", best, killed_at=call, ahead=ahead)
    killed, again = rl.run("killed", best, ahead=ahead)
    assert outputs_of(killed) == outputs_of(whole) and again == outputs
    # Killed after its last step, before its record: nothing is asked again.
    rl.run("killed", best, ahead=ahead)
    assert outputs_of(killed) == outputs_of(whole) and not rl.engine.asked


@pytest.mark.parametrize("ahead", [0, 1])
def test_evaluations_change_nothing_of_what_is_trained(tmp_path, monkeypatch, ahead):
    rl = NanoRl(tmp_path, monkeypatch, {**RIGHT, 3: 1})
    without, _ = rl.run("without", steps=3, ahead=ahead)
    evaluated, _ = rl.run("evaluated", EVERY_2, steps=3, ahead=ahead)
    (plain, rows), (others, more) = outputs_of(without), outputs_of(evaluated)
    dev = others.pop("dev.jsonl")
    assert others == plain and dev.count(b"\n") == 2
    assert [row.pop("dev/score", None) for row in more] == [None, 3 / 6, 1 / 6]
    spent = [one.pop("tokens_generated_total") for one in more]
    before = [one.pop("tokens_generated_total") for one in rows]
    assert more == rows
    assert [a - b for a, b in zip(spent, before, strict=True)] == [0, 12, 24]
    assert not (without / "dev.jsonl").exists() and not (evaluated / "resume" / BEST).exists()


def test_equal_scores_keep_the_later_step_and_adapters_are_merged(tmp_path, monkeypatch):
    rl = NanoRl(tmp_path, monkeypatch, {2: 3, 3: 3})
    best = {**EVERY_2, "keep_best": True}
    folder, outputs = rl.run("lora", best, steps=3, train="lora", lora={"rank": 4})
    assert outputs.metrics["kept_step"] == 3 and same_weights(folder, rl.engine.published[3])
    config = read_json(folder / "checkpoint" / "config.json")
    assert config["use_cache"] and config["architectures"] == ["Llama4ForCausalLM"]


def test_a_policy_that_diverged_is_not_evaluated_first(tmp_path, monkeypatch):
    rl = NanoRl(tmp_path, monkeypatch)

    def without_end(*given):
        of_pass, kl = dapo_loss(*given)
        return of_pass * float("nan"), kl

    monkeypatch.setattr(trainer, "dapo_loss", without_end)
    with pytest.raises(RunFailed, match="is not finite") as failed:
        rl.run("diverged", {"every": 1, "max_tokens": 2})
    assert failed.value.remedy == "lower learning_rate"
