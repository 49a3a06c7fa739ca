"""What figures are called in trackers."""

from pathlib import Path

from pipeline.tracking.names import RENAMED, curve_values, summary_values

STEP = {
    "step": 3,
    "loss": 0.5,
    "reward": 0.25,
    "reward/exact": 0.5,
    "cut_off_share": 0.125,
    "mixed_share": 0.75,
    "rollouts": 8,
    "tokens_generated": 40,
    "parity/largest_gap": 1e-5,
    "ledger/active": 30,
    "note": "no figure",
    "grad_norm": float("inf"),
}


def test_figures_have_the_names_that_trl_gives_them():
    assert curve_values(STEP, "train/") == {
        "train/loss": 0.5,
        "train/reward": 0.25,
        "train/rewards/exact/mean": 0.5,
        "train/completions/clipped_ratio": 0.125,
        "train/completions/mean_length": 5.0,
        "train/frac_reward_zero_std": 0.25,
        "train/mixed_share": 0.75,
        "train/rollouts": 8,
        "train/tokens_generated": 40,
        "train/sampling/sampling_logp_difference/max": 1e-5,
        "train/ledger/active": 30,
    }


def test_groups_that_are_dropped_with_a_spread_are_not_called_groups_without_one():
    assert "frac_reward_zero_std" not in curve_values(STEP | {"curriculum/tokens/surplus": 0.1})
    assert "frac_reward_zero_std" in curve_values(STEP | {"curriculum/tokens/surplus": 0.0})


def test_trl_still_has_the_names():
    import trl

    source = (Path(trl.__file__).parent / "trainer" / "grpo_trainer.py").read_text()
    names = [*RENAMED.values(), "completions/mean_length", "frac_reward_zero_std"]
    assert [name for name in names if f'"{name}"' not in source] == []
    assert '"rewards/{reward_func_name}/mean"' in source


def test_the_figures_of_a_stage_are_those_of_its_record():
    record = {
        "metrics": {"loss": 0.5, "held_out": {"score": 1.0}, "ended": "early"},
        "seconds": 2.5,
        "tokens_generated": 7,
        "peak_memory_mib": None,
    }
    values = {"summary/loss": 0.5, "summary/seconds": 2.5, "summary/tokens_generated": 7}
    assert summary_values(record) == values
