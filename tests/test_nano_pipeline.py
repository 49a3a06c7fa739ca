"""The whole nano pipeline through the command line: real judge, SFT, RL, DPO; killed, resumed."""

import json
import subprocess
import time

import pytest
import torch

from benchmarks.resume import kill
from benchmarks.same_run import differing
from builders.nano_chats import chatted
from builders.nano_runs import FINISHED, ROOT, command, mtimes, python_m, uphill, wait_for_step
from builders.plain_checkpoints import TRANSFORMERS, VLLM, logprobs_in_plain
from builders.toy_runs import found_in
from common.files import files_below, read_json, read_json_lines
from corner_cases.registry import CASES
from curriculum.ledger import Ledger
from evals.config import SuiteConfig
from evals.suites import load_suite
from models.chat import encode_text
from models.checkpoint import load_policy, load_tokenizer
from models.packaged import resolve_dense
from prompts.schema import read_prompts


@pytest.fixture(scope="module", autouse=True)
def no_verdicts_of_earlier_runs(tmp_path_factory):
    """A cache folder with the converted model alone."""
    model, cache = resolve_dense("smollm2-135m-instruct"), tmp_path_factory.mktemp("cache")
    (cache / model.name).symlink_to(model)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("UPHILL_CACHE", str(cache))
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """`whole` went through at once."""
    folder = tmp_path_factory.mktemp("runs")
    uphill(command(folder / "whole"))
    return folder


@pytest.fixture(scope="module")
def run(runs):
    return runs / "whole" / "nano"


@pytest.fixture(scope="module")
def exported(runs, tmp_path_factory):
    """The RL checkpoint as `uphill export` gives it."""
    target = tmp_path_factory.mktemp("exported") / "rl"
    python_m("export", "nano:rl", str(target), "--runs-dir", str(runs / "whole"))
    return target


@pytest.fixture(scope="module")
def sequences(run):
    """Token ids with the log-probabilities that the trainer gave at the end of RL."""
    return read_json(run / "05-rl" / "parity.json")["sequences"]


def test_every_stage_is_finished_and_compared(run):
    status = json.loads(python_m("status", str(run), "--json").stdout)
    assert [(stage["id"], stage["state"]) for stage in status["stages"]] == [
        (name, "done") for name in FINISHED
    ]
    rows = json.loads(python_m("compare", str(run), "--json").stdout)["rows"]
    assert {(row["stage"], row["suite"]) for row in rows} >= {
        (stage, suite) for stage in ("sft", "rl") for suite in ("held_out", "basic_arithmetic")
    }
    assert all(0 <= row["low"] <= row["score"] <= row["high"] <= 1 for row in rows)
    generated = {stage["id"]: stage["tokens_generated"] for stage in status["stages"]}
    assert all(generated[name] > 0 for name in ("filter", "rl", "eval-rl"))


def test_corner_cases_are_found_in_the_replies_of_an_engine(run):
    answers = read_json_lines(run / "evals" / "rl" / "answers.jsonl")
    ours = [row for row in answers if row["suite"] == "corner_cases"]
    assert {row["capability"] for row in ours} == set(CASES) and 32 <= len(ours) <= 40
    # A policy of arithmetic and spelling has no idea of these: it answers, and mostly wrongly.
    assert all(row["fault"] is None and row["tokens"] > 0 for row in ours)
    assert all(bool(row.get("finding")) != row["correct"] for row in ours)
    cut = [row for row in ours if row["capability"] == "cut_off" and row["finish"] == "length"]
    assert all(row["finding"]["reason"] == "limit of tokens" for row in cut)
    rows = json.loads(python_m("compare", str(run), "--json").stdout)["rows"]
    rates = {row["suite"]: row for row in rows if row["stage"] == "rl" and "rate" in row}
    assert set(rates) == {"corner_cases", *(f"corner_cases/{case}" for case in CASES)}
    assert all(row["rate"] + row["score"] == pytest.approx(1) for row in rates.values())
    assert all(row["rate_delta"] == pytest.approx(-row["delta"]) for row in rates.values())
    final = {
        (row["capability"], row.get("group", row["id"])): not row["correct"]
        for row in ours
        if row["part"] == "final"
    }
    assert rates["corner_cases"]["n"] == len(final)
    assert rates["corner_cases"]["rate"] == pytest.approx(sum(final.values()) / len(final))
    assert "corner_cases: rate, lower is better" in python_m("compare", str(run)).stdout


def test_the_likeliest_options_of_an_engine_are_those_of_the_trainers_model(run):
    config = SuiteConfig(name="arc_easy_likelihood", limit=12)
    prompts = {prompt.id: prompt for prompt in load_suite(config, None)}
    rows = read_json_lines(run / "evals" / "rl" / "answers.jsonl")
    rows = [row for row in rows if row["suite"] == config.name and row["fault"] is None]
    checkpoint = run / "05-rl" / "checkpoint"
    policy, tokenizer = load_policy(checkpoint), load_tokenizer(checkpoint)
    for row in rows:
        prompt = prompts[row["id"]]
        question = encode_text(tokenizer, prompt.task)
        values = {}
        for option in prompt.metadata["options"].values():
            ids = encode_text(tokenizer, f" {option}")
            logits = policy(torch.tensor([question + ids])).logits[0, len(question) - 1 : -1]
            chosen = logits.log_softmax(-1)[range(len(ids)), ids]
            values[option] = chosen.sum().item() / len(option)
        assert row["answer"] == max(values, key=lambda option: values[option])
    assert len(rows) > 6 and {row["tokens"] for row in rows} == {0}


def test_the_verifiers_that_graded_a_run_grade_it_so_again(run):
    found = json.loads(python_m("regrade", f"{run}:rl", "--json").stdout)["stages"]
    assert [row["stage"] for row in found] == ["rl", "eval-rl"]
    assert all(row["answers"] > 40 and row["changed"] == 0 for row in found), found


def test_two_judges_are_heard_checked_and_not_asked_twice(runs, run):
    filtered = run / "03-filter"
    verdicts = read_json_lines(filtered / "verdicts.jsonl")
    assert [sum(line["judge"] == n for line in verdicts) for n in (1, 2)] == [24, 24]
    ratings = [reply for line in verdicts if line["judge"] == 2 for reply in line["replies"]]
    assert all(
        1 <= reply["value"] <= 3 and reply["text"].startswith("Rating: ") for reply in ratings
    )
    assert len({reply["value"] for reply in ratings}) > 12
    judged = [
        sum(line["ease"] is not None for line in verdicts if line["judge"] == n) for n in (1, 2)
    ]
    assert judged[0] > 16 and judged[1] == 24
    audits = read_json(filtered / "audit.json")
    assert [one["prompts"] + one["unmeasured"] for one in audits[1:]] == [8, 8] and audits[0][
        "prompts"
    ] > 0
    uphill(command(runs / "again", "--until", "filter"))
    again = runs / "again" / "nano" / "03-filter"
    first, second = (read_json(folder / "record.json") for folder in (filtered, again))
    assert second["tokens_generated"] == 0 < first["tokens_generated"]
    assert [second["metrics"][f"judge_{n}/asked"] for n in (1, 2)] == [0, 0]
    for name in ("prompts.parquet", "verdicts.jsonl", "reasons.jsonl"):
        assert (again / name).read_bytes() == (filtered / name).read_bytes()


def test_sft_learns_and_every_trained_checkpoint_differs(run):
    losses = [row["loss"] for row in read_json_lines(run / "04-sft" / "metrics.jsonl")]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    folders = ["02-base", "04-sft", "05-rl", "06-dpo"]
    assert len(
        {(run / name / "checkpoint" / "model.safetensors").read_bytes() for name in folders}
    ) == len(folders)


def test_rollouts_come_from_the_weights_that_train_at_every_step(run):
    rows = read_json_lines(run / "05-rl" / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert all(row["parity/probe_gap"] < 1e-4 for row in rows)
    assert all(row["parity/rollout_gap"] < 1e-4 for row in rows if row["mixed_share"] > 0)
    assert sum("parity/rollout_gap" in row for row in rows) >= 4
    assert read_json(run / "05-rl" / "parity.json")["mean_gap"] < 1e-5


def test_the_ledger_has_every_group_that_was_rolled_out(run):
    groups = read_json_lines(run / "05-rl" / "groups.jsonl")
    with Ledger(run / "05-rl" / "ledger.sqlite") as ledger:
        drawn = {row.id: row.drawn for row in ledger.records() if row.drawn}
    counted = {name: sum(group["prompt_id"] == name for group in groups) for name in drawn}
    assert counted == drawn and sum(drawn.values()) == len(groups)
    assert any(group["probe"] for group in groups)


def test_pairs_are_of_the_rl_stages_groups(run):
    texts = {
        (g["prompt_id"], m["text"])
        for g in read_json_lines(run / "05-rl" / "groups.jsonl")
        for m in g["members"]
    }
    pairs = read_json_lines(run / "06-dpo" / "pairs.jsonl")
    assert pairs and all(
        (pair["prompt_id"], pair[side]) in texts
        for pair in pairs
        for side in ("chosen", "rejected")
    )


def test_a_second_run_touches_nothing(runs, run):
    before, begin = mtimes(run), time.monotonic()
    done = uphill(command(runs / "whole"))
    assert done.stderr.count("already done, skipped") == len(FINISHED)
    assert time.monotonic() - begin < 8
    after = mtimes(run)
    changed = {str(name) for name in before if before[name] != after[name]}
    assert after.keys() == before.keys() and changed <= {".lock", "plan.json"}


@pytest.mark.parametrize("code", [TRANSFORMERS, VLLM], ids=["transformers", "vllm"])
def test_the_exported_checkpoint_gives_the_trainers_logprobs_without_our_code(
    exported, sequences, tmp_path, code
):
    kind, found = logprobs_in_plain(code, exported, sequences, tmp_path)
    assert kind == "Llama4ForCausalLM" and len(found) == len(sequences) > 1
    for row, one in zip(found, sequences, strict=True):
        assert row == pytest.approx(one["trainer"], abs=1e-4) and row == pytest.approx(
            one["engine"], abs=1e-4
        )


def test_chat_gives_the_replies_of_the_evaluation(runs, run):
    rows = read_json_lines(run / "evals" / "rl" / "answers.jsonl")[:2]
    assert chatted(runs / "whole", run, rows) == [row["text"] for row in rows]


def test_rl_on_stages_adopted_from_another_run_goes_as_it_went_there_and_needs_no_judge(runs, run):
    configs = {node["id"]: node["config"] for node in read_json(run / "plan.json")["nodes"]}
    adopted = [
        {"id": name, "kind": "adopt", "folder": str(run / place)}
        for name, place in (("filter", "03-filter"), ("sft", "04-sft"))
    ]
    rl, dpo = configs["rl"] | {"steps": 2}, configs["dpo"] | {"from": "plain", "pairs": "plain"}
    stages = json.dumps([*adopted, rl, rl | {"id": "plain", "on": "prompts"}, dpo])
    execution = "runtime.stages={rl: {rows_per_forward: 128}, plain: {rows_per_forward: 3}}"
    settings = (f"stages={stages}", "evaluate=null", execution)
    uphill([*command(runs / "adopting"), *(word for one in settings for word in ("--set", one))])
    folder = runs / "adopting" / "nano"
    mine, theirs = (read_json_lines(path / "05-rl" / "groups.jsonl") for path in (folder, run))
    assert {group["step"] for group in mine} == {0, 1} and mine == theirs[: len(mine)]
    with Ledger(folder / "06-plain" / "ledger.sqlite") as ledger:
        known = {row.id for row in ledger.records()}
        assert known == {
            prompt.id for prompt in read_prompts(folder / "01-prompts" / "prompts.parquet")
        }
        assert {(row.prior.a, row.prior.b) for row in ledger.records()} == {(1, 1)}
    assert all(
        row["grad_norm"] > 0 for row in read_json_lines(folder / "06-plain" / "metrics.jsonl")
    )
    assert read_json_lines(folder / "07-dpo" / "pairs.jsonl")


KILLS = [
    ("03-filter", None, "runner"),
    ("04-sft", 7, "both"),
    ("05-rl", 3, "stage"),
    ("05-rl", 5, "runner"),
    ("06-dpo", None, "both"),
]


@pytest.fixture(scope="module")
def killed(runs, tmp_path_factory):
    """A run of the same recipe, killed five times, whose judges know nothing of the other run's."""
    model, cache = resolve_dense("smollm2-135m-instruct"), tmp_path_factory.mktemp("cache")
    (cache / model.name).symlink_to(model)
    words, folder = command(runs / "killed"), runs / "killed" / "nano"
    with pytest.MonkeyPatch.context() as patched, (runs / "killed.log").open("w") as log:
        patched.setenv("UPHILL_CACHE", str(cache))
        for place, step, victim in KILLS:
            process = subprocess.Popen(words, cwd=ROOT, stderr=log, stdout=log)
            wait_for_step(process, folder / f"{place}.partial", step)
            kill(process, victim)
            assert not (folder / place).exists()
        done = uphill(words)
    assert "continues from attempt 1" in done.stderr
    return folder


def test_a_run_killed_five_times_ends_in_the_same_bytes(killed, run):
    assert differing(killed, run) == []
    attempts = [
        read_json(killed / name / "record.json")["attempts"]
        for name in ("03-filter", "04-sft", "05-rl")
    ]
    assert attempts == [2, 2, 3]


def test_one_changed_byte_in_any_file_of_a_run_is_found_and_named(killed):
    # A byte of the memory of replies may be unused: tests/evals/test_remembered.py has its damage.
    files = [one for one in files_below(killed) if one.stat().st_size]
    files.remove(killed / "evals" / "replies.sqlite")
    assert len(files) > 60
    for path in files:
        with path.open("r+b") as handle:
            place = path.stat().st_size // 2
            handle.seek(place)
            byte = handle.read(1)
            handle.seek(place)
            handle.write(bytes([byte[0] ^ 1]))
            handle.flush()
            assert str(path) in found_in(killed), path
            handle.seek(place)
            handle.write(byte)
    assert found_in(killed) == ""
