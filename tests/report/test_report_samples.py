"""The sample viewer's data: which prompts are shown, and how texts of any kind get there."""

import json
from dataclasses import replace

from builders.report_sources import HOSTILE, answer, evaluation, run_of, stage
from builders.single_prompts import prompt_of
from prompts.schema import write_prompts
from report.sections import samples as module
from report.visible import all_visible, script_json, storable, visible


def samples(*runs):
    found = module.samples(runs)
    assert found is not None
    return found


def two_evaluations(folder, before, after):
    return run_of([evaluation(folder, "base", before), evaluation(folder, "later", after)])


def test_prompts_that_changed_come_first_and_suites_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROMPTS", 4)
    suites = ("held_out", "gsm8k")
    before = [answer(n, False, suite=suite) for suite in suites for n in range(20)]
    after = [answer(n, n in (7, 11), suite=suite) for suite in suites for n in range(20)]
    found = samples(two_evaluations(tmp_path, before, after))
    assert {(one["suite"], one["id"]) for one in found["prompts"]} == {
        (suite, name) for suite in suites for name in ("p7", "p11")
    }
    assert (found["shown"], found["of"]) == (4, 40)
    assert [one["correct"] for one in found["prompts"][0]["answers"]] == [False, True]


def test_of_several_answers_to_a_prompt_the_first_is_shown(tmp_path):
    rows = [answer(1, True, "first"), replace(answer(1, False, "second"), sample=1)]
    (prompt,) = samples(run_of([evaluation(tmp_path, "base", rows)]))["prompts"]
    assert [one["text"] for one in prompt["answers"]] == ["first"]


def test_long_texts_are_cut_and_say_so(tmp_path):
    run = run_of([evaluation(tmp_path, "base", [answer(1, True, "x" * 1_000_000)])])
    (prompt,) = samples(run)["prompts"]
    (found,) = prompt["answers"]
    assert len(found["text"]) == 4000 and found["letters"] == 1_000_000
    assert len(found["read"]) == 4000


def test_a_budget_of_bytes_holds_whatever_the_texts_are(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BYTES", 200_000)
    run = run_of(
        [evaluation(tmp_path, "base", [answer(n, True, "\x1b" * 4000) for n in range(40)])]
    )
    found = samples(run)
    assert 0 < found["shown"] < found["of"] == 40
    assert len(script_json(all_visible(found["prompts"])).encode()) < 200_000


def test_the_text_of_a_held_out_prompt_is_found_and_that_of_a_missing_one_is_no_error(tmp_path):
    prompts = stage(tmp_path, "prompts")
    write_prompts(prompts.folder / "held_out.parquet", [prompt_of("p1", "Which one?")])
    asked = [answer(1, True), answer(2, True), answer(3, True, suite="gone")]
    own = evaluation(tmp_path, "base", asked, inputs={"prompts": "prompts"})
    found = {one["id"]: one["text"] for one in samples(run_of([prompts, own]))["prompts"]}
    assert found == {"p1": "Which one?", "p2": None, "p3": None}


def test_what_a_text_hides_is_written_out():
    assert visible("a\u202eb\x1b[0m\u2028\x00") == "a‹U+202E›b‹U+001B›[0m‹U+2028›‹U+0000›"
    assert visible("tab\tline\n👩\u200d🚀 کتاب\u200cها") == "tab\tline\n👩\u200d🚀 کتاب\u200cها"


def test_accents_do_not_pile_up():
    assert visible("e" + "\u0301" * 300 + "x") == "e" + "\u0301" * 8 + "‹more accents›x"
    assert visible("พื้นที่ é") == "พื้นที่ é"


def test_data_in_a_script_element_stays_data():
    text = f"</script>{HOSTILE}<!--\u2028\u2029"
    written = script_json({"text": text})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"text": text}


def test_half_a_surrogate_pair_can_be_written():
    assert storable({"a": ["\ud83d"]})["a"][0].encode().decode() == "\ufffd\ufffd\ufffd"
