"""`uphill report`: the page beside a run, its document, and runs in every state."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builders.adopted_stages import finished
from builders.command_line import pretend
from pipeline.execution.prune import prune
from pipeline.execution.run_folder import load_plan
from pipeline.execution.state import inspect

RIGHT = {"base": 2, "sft": 7, "more": 8}


def test_the_page_is_written_into_the_run_which_stays_verifiable(folder, uphill):
    pretend(RIGHT)
    code, out, _ = uphill("report", "small")
    page = Path("runs/small/report.html")
    assert code == 0 and str(page) in out and "</html>" in page.read_text()
    assert uphill("verify", "small")[0] == 0
    assert uphill("report", "small")[0] == 0


def test_json_prints_the_document_and_writes_no_page(folder, uphill):
    pretend(RIGHT)
    code, out, _ = uphill("report", "small", "--price-per-hour", "2", "--json")
    document = json.loads(out)
    assert code == 0 and not Path("runs/small/report.html").exists()
    assert document["runs"][0]["name"] == "small" and document["samples"]["of"] == 20
    row = document["headline"]["suites"][0]["cells"][1]
    compared = json.loads(uphill("compare", "small", "--json")[1])["rows"]
    same = next(one for one in compared if one["stage"] == "sft" and one["suite"] == "held_out")
    assert (row["value"], row["change"], row["p"]) == (same["score"], same["delta"], same["p"])


def test_out_names_the_page(folder, uphill):
    pretend(RIGHT)
    code, out, _ = uphill("report", "small", "runs/small", "--out", "both.html", "--json")
    assert code == 0 and json.loads(out)["settings"]["of"] == 0
    assert "Report of 2 runs" in Path("both.html").read_text()
    assert uphill("report", "small", "--out", "nowhere/a.html")[0] == 2


@pytest.mark.parametrize("until", ["prompts", "base", "sft"])
def test_an_unfinished_run_has_a_report(folder, uphill, until):
    pretend(RIGHT, until)
    _, out, _ = uphill("report", "small", "--json", "--out", "page.html")
    run = json.loads(out)["runs"][0]
    assert run["head"]["state"] == "unfinished" and run["worries"]
    assert "Not finished" in Path("page.html").read_text()


def test_a_run_with_pruned_weights_has_a_report(folder, uphill):
    pretend(RIGHT)
    run = Path("runs/small")
    plan = replace(load_plan(run), runtime={"keep": {"last": 1, "best": 0}})
    assert prune(plan, inspect(plan, run)) == ["base", "sft"]
    rows = json.loads(uphill("report", "small", "--json")[1])["runs"][0]["ran"]["rows"]
    assert [row["id"] for row in rows if "runtime.keep" in row["note"]] == ["base", "sft"]


def test_an_adopted_stage_is_named(tmp_path, adopting, run_one, uphill):
    finished(tmp_path / "first" / "03-filter")
    assert run_one("prompts") == run_one("easy_gone") == 0
    _, out, _ = uphill("report", str(tmp_path / "runs" / "second"), "--json")
    run = json.loads(out)["runs"][0]
    assert [one["id"] for one in run["provenance"]["stages"] if one["adopted"]] == ["easy_gone"]


def test_a_damaged_file_is_bad_input(folder, uphill):
    pretend(RIGHT)
    Path("runs/small/evals/sft/results.json").write_text("{")
    code, _, err = uphill("report", "small")
    assert code == 2 and "results.json" in err and "remedy" in err
