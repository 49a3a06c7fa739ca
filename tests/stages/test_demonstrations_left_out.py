"""Demonstrations beside prompts: RL and its ledger leave them out, SFT keeps them."""

import pytest

from builders.single_prompts import prompt_of
from common.errors import BadInput
from judges.verdict import Reply, Verdict
from prompts.parts import NOT_GRADED
from prompts.schema import write_prompts
from stages.judge_filter.judged_prompts import ledger_entries
from stages.rl.run import graded_prompts

SHOWN = prompt_of("shown", "say hi", "hi", verifier=NOT_GRADED)
TASK = prompt_of("task", "2 + 3?", "5")


def test_rl_reads_the_prompts_that_can_be_graded(tmp_path):
    write_prompts(tmp_path / "prompts.parquet", [SHOWN, TASK])
    assert graded_prompts(tmp_path / "prompts.parquet") == [TASK]


def test_rl_on_nothing_but_demonstrations_ends_before_its_engine_starts(tmp_path):
    write_prompts(tmp_path / "prompts.parquet", [SHOWN])
    with pytest.raises(BadInput, match="has nothing but demonstrations"):
        graded_prompts(tmp_path / "prompts.parquet")


def test_the_ledger_has_no_demonstrations():
    rated = [
        Verdict(one.id, "rubric", [Reply("2", "stop", 1, "2", 2.0, None)], 0.5)
        for one in (SHOWN, TASK)
    ]
    entries = ledger_entries(["shown", "task"], [SHOWN, TASK], [rated])
    assert [entry.id for entry in entries] == ["task"]
