"""What RL does with prompts that cannot be rolled out, with a stop in the middle of a step, and
without a judge."""

import pytest

from builders.scripted_collector import KINDS, MIXED, SOLVED, collector
from builders.single_prompts import prompt_of
from common.errors import BadInput, Interrupted, RunFailed
from common.faults import CUT_OFF, NOT_ENCODED, TOO_LONG
from curriculum.ledger import Ledger
from curriculum.posterior import Beta
from curriculum.records import NewPrompt
from curriculum.requests import RolloutRequest
from curriculum.stage_start import begin_stage
from rewards.grader import Grade
from rollouts.interface import Rollout
from stages.rl import collector as collector_module
from stages.rl.ledgers import open_ledger
from stages.rl.notes import Notes


def test_prompts_without_room_are_refused_by_name_where_there_are_no_others():
    collecting, _, engine = collector({"endless" * 72: MIXED, "endless" * 73: MIXED}, max_tokens=9)
    with pytest.raises(BadInput, match=r"prompt endless.*: 511 tokens, prompt .*: 504 tokens"):
        collecting.encoder.usable(4)
    collecting, _, engine = collector(
        {"endless" * 72: MIXED, "endless" * 71: MIXED, "a": MIXED}, max_tokens=9
    )
    assert collecting.encoder.usable(4) == ["endless" * 71, "a"] and collecting.encoder.usable(
        1
    ) == ["endless" * 71]
    assert not engine.asked


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pilot", [0, 2])
def test_a_drawn_prompt_without_room_is_booked_retired_and_never_sampled(kind, pilot):
    long = {f"{n}" * 300: MIXED for n in range(6)}
    settings = {
        "prompts_per_step": 8,
        "max_tokens": 300,
        "curriculum": {"kind": kind, "pilot": pilot},
    }
    collecting, ledger, engine = collector(long | {f"m{n}": MIXED for n in range(6)}, **settings)
    told: list[str] = []
    notes = Notes(collecting.prompts, collecting.encoder.limit, 99, told.append)
    for step in range(12):
        batch = collecting.collect(step)
        notes.step(step, batch)
        assert {group.prompt_id for group in batch.rolled_out} <= {f"m{n}" for n in range(6)}
    assert not any(name in long for names, _, _ in engine.asked for name in names)
    for row in (row for row in ledger.records() if row.id in long):
        assert row.retired and row.faults == {TOO_LONG: 1} and (row.passes, row.fails) == (0, 0)
    told = [text for text in told if "falls short of its share" not in text]
    text = " ".join(told)
    assert (
        text.count("longer than 212 tokens (rollouts.max_model_len less max_tokens): ")
        == len(told)
        >= 1
    )
    assert len(told) > 1 or " and 3 more" in text
    begin_stage(ledger)
    assert not any(row.retired for row in ledger.records() if row.id in long)


def test_a_prompt_that_the_chat_template_refuses_ends_no_run():
    collecting, ledger, engine = collector({f"m{n}": MIXED for n in range(6)}, prompts_per_step=6)
    encode = engine.encode

    def refusing(messages):
        if messages[-1]["content"] == "m3":
            raise KeyError("role")
        return encode(messages)

    engine.encode = refusing
    batch = collecting.collect(0)
    told: list[str] = []
    Notes(collecting.prompts, collecting.encoder.limit, 99, told.append).step(0, batch)
    assert batch.unusable == {"m3": NOT_ENCODED} and len(batch.trained) == 5
    assert ledger.record("m3").retired and "prompt m3" in told[0] and "chat template" in told[0]
    collecting.encoder.prompts = {"m3": collecting.prompts["m3"]}
    with pytest.raises(BadInput, match="not one of 1 prompts can be encoded"):
        collecting.encoder.usable(4)


def test_prompts_are_tokenised_when_they_are_drawn():
    collecting, _, engine = collector(
        {f"m{n}": MIXED for n in range(500)}, system_prompts=("a", "b")
    )
    encoded, encode = [], engine.encode

    def counted(messages):
        encoded.append(messages)
        return encode(messages)

    engine.encode = counted
    batch = collecting.collect(0)
    assert len(encoded) == 2 * len(batch.rolled_out) <= 16


@pytest.mark.parametrize("kind", KINDS)
def test_rollouts_come_in_chunks_between_which_a_stop_is_heeded_and_the_result_is_the_same(
    kind, monkeypatch
):
    script = {f"m{n}": MIXED for n in range(40)} | {f"s{n}": SOLVED for n in range(40)}
    seen = {}
    for chunk in (10_000, 12):
        monkeypatch.setattr(collector_module, "CHUNK", chunk)
        collecting, ledger, engine = collector(
            script, prompts_per_step=8, curriculum={"kind": kind}
        )
        looks: list[bool] = []
        collecting.before_chunk = looks.append
        done = [collecting.collect(step) for step in range(2)]
        lines = [
            group.to_json(step, ()) for step, one in enumerate(done) for group in one.rolled_out
        ]
        seen[chunk] = lines, ledger.dump(), [one.metrics for one in done], len(engine.asked)
        assert len(looks) == len(engine.asked) and looks[0] is False
        assert all(sum(samples) <= chunk for _, samples, _ in engine.asked)
    assert seen[12][:3] == seen[10_000][:3] and seen[12][3] > seen[10_000][3]


@pytest.mark.parametrize(
    ("chunk", "calls"),
    [(512, [[9, 2, 6, 4]]), (8, [[9], [2, 6], [4]]), (7, [[9], [2], [6], [4]])],
)
def test_requests_of_several_sizes_go_to_the_engine_together(chunk, calls, monkeypatch):
    monkeypatch.setattr(collector_module, "CHUNK", chunk)
    collecting, _, engine = collector(dict.fromkeys("abcd", MIXED))
    looks: list[bool] = []
    collecting.before_chunk = looks.append
    requests = [
        RolloutRequest("a", 9, "group"),
        RolloutRequest("b", 2, "pilot"),
        RolloutRequest("c", 6, "rest"),
        RolloutRequest("d", 4, "probe"),
    ]
    groups = collecting._in_chunks(requests, 0, False)
    assert [samples for _, samples, _ in engine.asked] == calls and len(looks) == len(calls)
    assert [len(groups[name]().members) for name in "abcd"] == [9, 2, 6, 4]
    assert [groups[name]().probe for name in "abcd"] == [False, False, False, True]


def test_a_stop_within_a_long_probe_ends_the_step_before_anything_is_booked(monkeypatch):
    monkeypatch.setattr(collector_module, "CHUNK", 12)
    collecting, ledger, engine = collector(
        {f"m{n}": MIXED for n in range(40)}, curriculum={"kind": "refilter"}
    )
    before = ledger.dump()

    def stop(booked):
        if len(engine.asked) == 2:
            raise Interrupted("stopped", "")

    collecting.before_chunk = stop
    with pytest.raises(Interrupted):
        collecting.collect(0)
    assert len(engine.asked) == 2 and ledger.dump() == before


def test_what_the_grader_calls_cut_off_is_treated_as_the_engines():
    thinking = Grade(0.0, CUT_OFF, None)
    for cut_off, expected in (("mask", (0.0, CUT_OFF, True)), ("zero", (0.0, None, True))):
        collecting, _, _ = collector({"m": MIXED}, cut_off=cut_off)
        member = collecting._member(Rollout([1], [0.0], "<think>", "stop"), thinking)
        assert (member.reward, member.fault, member.cut_off) == expected


def test_plain_prompts_start_from_a_flat_prior_and_a_judges_from_its_own(tmp_path):
    prompts = [prompt_of(n, n, capability="words") for n in "ab"]
    (tmp_path / "held_out.parquet").touch()
    ledger = open_ledger(prompts, tmp_path, tmp_path / "mine.sqlite", fresh=True)
    assert [(row.id, row.prior.a, row.prior.b, row.state) for row in ledger.records()] == [
        ("a", 1, 1, "active"), ("b", 1, 1, "active")
    ]  # fmt: skip
    judged = tmp_path / "filter"
    judged.mkdir()
    with pytest.raises(RunFailed, match="there is no ledger at"):
        open_ledger(prompts, judged, tmp_path / "mine.sqlite", fresh=True)
    with Ledger(judged / "ledger.sqlite") as theirs:
        theirs.add([NewPrompt("a", "words", "s", Beta(1.5, 0.5))])
    assert open_ledger(prompts, judged, tmp_path / "mine.sqlite", fresh=True).record(
        "a"
    ).prior == Beta(1.5, 0.5)
