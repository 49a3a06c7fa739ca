"""`uphill samples`: what a policy wrote, also while its stage runs, and hostile text as text."""

import json
import unicodedata

import pytest

from builders.shown_runs import HOSTILE, rl_works, shown_plan, works
from builders.single_prompts import prompt_of
from common.files import write_json_lines
from corner_cases.sets import TRAINING, load_set
from evals.config import SuiteConfig
from evals.samples import answers, pairs
from prompts.schema import write_prompts


@pytest.fixture
def shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shown_plan(tmp_path)


def test_the_last_step_of_a_running_stage_is_shown(shown, uphill):
    rl_works(*shown)
    code, out, err = uphill("samples", "shown", "--json")
    document = json.loads(out)
    assert code == 0 and (document["stage"], document["kind"]) == ("rl", "rollouts"), err
    assert [document[name] for name in ("step", "first_step", "last_step")] == [2, 1, 2]
    assert [sample["id"] for sample in document["samples"]] == ["b", "a"]
    second = document["samples"][1]
    assert second["prompt"][0]["content"] == f"Say {HOSTILE}" and second["reference"] == "yes"
    assert len(second["replies"][0]["text"]) == 1_000_000


def test_what_is_printed_is_text_and_short(shown, uphill):
    rl_works(*shown)
    code, out, _ = uphill("samples", "shown:rl", "--wrong")
    assert code == 0 and len(out) < 6_000 and "(998,000 more characters)" in out
    steering = {one for one in out if unicodedata.category(one) in ("Cc", "Cf", "Cs")}
    assert steering == {"\n"}
    assert r"  | yes \x1b[2J\x1b]0;owned\x07\u202egnp.exe" in out and "<script>alert(1)" in out
    assert "reply, fault cut_off, 2 tokens" in out and "words: b" not in out


def test_a_step_and_a_limit_are_kept_to(shown, uphill):
    rl_works(*shown)
    first = json.loads(uphill("samples", "shown:rl", "--step", "1", "--wrong", "--json")[1])
    assert [reply["text"] for reply in first["samples"][0]["replies"]] == ["no"]
    assert len(json.loads(uphill("samples", "shown", "--limit", "1", "--json")[1])["samples"]) == 1
    code, _, err = uphill("samples", "shown:rl", "--step", "3")
    assert code == 2 and "no rollouts of step 3" in err and "there are steps 1 to 2" in err


def test_a_stage_without_samples_says_which_have_some(shown, uphill):
    code, _, err = uphill("samples", "shown")
    assert code == 2 and "run the recipe first" in err
    rl_works(*shown)
    code, _, err = uphill("samples", "shown:sft")
    assert code == 2 and "stages of this run with samples: rl (rollouts)" in err
    assert uphill("samples", "shown:nothing")[0] == 2


def test_a_damaged_file_is_named(shown, uphill):
    partial = rl_works(*shown)
    (partial / "groups.jsonl").write_text('{"step": 0, }\n')
    code, _, err = uphill("samples", "shown:rl")
    assert code == 2 and "groups.jsonl: is damaged" in err


def test_pairs_have_the_prompts_that_they_are_of(shown, uphill):
    plan, run = shown
    rl = rl_works(plan, run)
    case = load_set("repetition", TRAINING)[0]
    rows = [
        {"prompt_id": "b", "chosen": "yes", "rejected": HOSTILE, "step": 1, "system": "Be brief."},
        {
            "case": "repetition",
            "prompt_id": case.id,
            "chosen": "c",
            "rejected": "r r r",
            "reason": "words in a loop",
            "rejected_tokens": 9,
            "rejected_finish": "length",
        },
        {
            "id": "f",
            "messages": [{"role": "user", "content": "file"}],
            "chosen": "c",
            "rejected": "r",
        },
    ]
    partial = works(plan, run, "dpo", lines={"pairs.jsonl": rows})
    found = pairs(partial, [rl / "prompts.parquet"], 3)["samples"]
    assert [message["role"] for message in found[0]["prompt"]] == ["system", "user"]
    assert found[1]["prompt"] == case.messages and found[1]["replies"][1]["finish"] == "length"
    assert found[2]["prompt"][0]["content"] == "file"
    code, out, _ = uphill("samples", "shown")
    assert code == 0 and "reply, rejected, 9 tokens, ended by length, shows words in a loop" in out
    assert uphill("samples", "shown:dpo", "--wrong")[0] == 2
    assert uphill("samples", "shown:dpo", "--step", "1")[0] == 2


def test_answers_take_turns_over_the_suites(tmp_path):
    row = {"capability": "c", "fault": None, "answer": "1", "reference": "2", "tokens": 1}
    row |= {"finish": "stop", "text": "it is 1"}
    rows = [{**row, "suite": "held_out", "id": id, "correct": id == "a"} for id in "ab"]
    rows.append({**row, "suite": "corner_cases", "id": "repetition:digits", "correct": False})
    write_json_lines(tmp_path / "answers.jsonl", rows)
    write_prompts(tmp_path / "held_out.parquet", [prompt_of("a", "q a"), prompt_of("b", "q b")])
    suites = [SuiteConfig(name="held_out"), SuiteConfig(name="corner_cases")]
    found = answers(tmp_path, suites, tmp_path, False, 2)
    assert found["replies"] == 3
    assert [one["suite"] for one in found["samples"]] == ["held_out", "corner_cases"]
    wrong = answers(tmp_path, suites[:1], tmp_path, True, 2)["samples"][0]
    assert wrong["prompt"] == [{"role": "user", "content": "q b"}]
    assert wrong["replies"][0]["is"] == "wrong" and wrong["replies"][0]["read"] == "1"
