"""The command line: light, one JSON document, exit codes, and messages without a traceback."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline.checkout
from builders.command_line import RECIPE, pretend
from pipeline.cli.commands import run_command
from pipeline.cli.main import main
from stages.evaluate.config import EvaluateStage

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "words", [["--help"], ["plan", "small.yaml"], ["check", "small.yaml", "--json"]]
)
def test_light_commands_load_neither_torch_nor_vllm(folder, words):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['uphill', *{words!r}]\n"
        "from pipeline.cli.main import main\n"
        "code = main()\n"
        "heavy = {'torch', 'vllm', 'transformers', 'datasets', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)\n"
    )
    begin = os.times().children_user
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert os.times().children_user - begin < 1.5


def test_plan_and_status_name_the_same_stages(folder, uphill):
    pretend({"base": 2}, until="eval-base")
    plan = json.loads(uphill("plan", "small.yaml", "--json")[1])
    status = json.loads(uphill("status", "small", "--json")[1])
    ids = ["prompts", "base", "eval-base", "sft", "eval-sft", "more", "eval-more"]
    assert (
        [stage["id"] for stage in plan["stages"]]
        == ids
        == [stage["id"] for stage in status["stages"]]
    )
    assert [stage["state"] for stage in status["stages"]] == ["done"] * 3 + ["todo"] * 4
    assert status["run"] == "small"
    keys = {
        "id",
        "kind",
        "state",
        "seconds",
        "tokens_generated",
        "tokens_trained",
        "path",
        "metrics",
    }
    assert keys <= status["stages"][0].keys()
    assert plan["stages"][0]["expected"] == {"prompts_at_most": 8}
    assert "eval-base" in uphill("status", "runs/small")[1]


def test_compare_puts_stages_side_by_side(folder, uphill):
    pretend({"base": 9, "sft": 8, "more": 7}, finals={"base": 2, "sft": 5, "more": 6})
    code, out, _ = uphill("compare", "small", "--json")
    rows = [row for row in json.loads(out)["rows"] if row["suite"] == "held_out"]
    assert code == 0 and [row["stage"] for row in rows] == ["base", "sft", "more"]
    assert [row["delta"] for row in rows] == [None, pytest.approx(0.3), pytest.approx(0.1)]
    assert [row["dev"]["score"] for row in rows] == [0.9, 0.8, 0.7]
    assert rows[1]["checkpoint"].endswith("03-sft/checkpoint")
    header, line, *_ = uphill("compare", "small")[1].splitlines()
    assert header.split()[-3:] == ["base", "sft", "more"] and "50.0 [30.0, 70.0] +30.0" in line


def test_compare_of_an_unfinished_run_is_bad_input(folder, uphill):
    pretend({}, until="base")
    code, out, err = uphill("compare", "small", "--json")
    assert code == 2 and "no evaluation is finished" in err
    assert json.loads(out)["error"]["exit_code"] == 2


@pytest.mark.parametrize(
    ("dev", "code"),
    [({"base": 2, "sft": 9, "more": 2}, 3), ({"base": 2, "sft": 4, "more": 6}, 0)],
)
@pytest.mark.parametrize("final", [(0, 9, 0), (9, 0, 9), (-1, -1, -1), (5, 5, 5)])
def test_the_final_part_changes_no_decision_of_a_gate(folder, uphill, dev, code, final):
    pretend(dev, finals=dict(zip(dev, final, strict=True)))
    found, _, err = uphill("run", "small.yaml")
    assert found == code and ("the dev part of held_out went" in err) == (code == 3)


def test_an_evaluation_from_before_parts_is_stale_and_named(folder, uphill, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(EvaluateStage, "version", 1)
        pretend({"base": 2, "sft": 3, "more": 4})
    code, _, err = uphill("run", "small.yaml")
    now = f"made by version 1 of its kind, which is now version {EvaluateStage.version}"
    assert code == 2 and now in err
    assert "has to be repeated" in err and "--redo eval-sft" in err


def test_the_gate_stops_a_run_again_and_again(folder, uphill):
    pretend({"base": 2, "sft": 9, "more": 2})
    for _ in range(2):
        code, out, err = uphill("run", "small.yaml")
        assert code == 3 and "the dev part of held_out went from 0.900" in err
        assert "90.0 [70.0, 100.0] +70.0" in out
    assert uphill("run", "small.yaml", "--set", "evaluate.gates.0.max_drop=0.5")[0] == 0


@pytest.mark.parametrize(
    ("scores", "stage"), [({"base": -1}, "base"), ({"base": 2, "sft": -1}, "sft")]
)
def test_an_evaluation_without_a_score_passes_no_gate(folder, uphill, scores, stage):
    pretend(scores, until=f"eval-{stage}")
    code, _, err = uphill("run", "small.yaml", "--until", f"eval-{stage}")
    assert (
        code == 3
        and f"held_out has no score after '{stage}'" in err
        and f"--redo eval-{stage}" in err
    )
    assert "no score" in uphill("compare", "small")[1] and uphill("status", "small")[0] == 0


def test_export_copies_a_checkpoint_that_is_as_it_was_recorded(folder, uphill):
    pretend({"base": 2, "sft": 2, "more": 2})
    assert uphill("export", "small:sft", "out/a")[0] == 0
    assert Path("out/a/model.safetensors").read_bytes() == b"sft"
    assert json.loads(uphill("export", "small", "out/b", "--json")[1])["stage"] == "more"
    code, _, err = uphill("export", "small", "out/a")
    assert code == 2 and "not an empty folder" in err
    Path("runs/small/03-sft/checkpoint/model.safetensors").write_bytes(b"sfx")
    code, _, err = uphill("export", "small:sft", "out/c")
    assert code == 1 and "has changed" in err
    assert sorted(path.name for path in Path("out").iterdir()) == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["status", "nothing"], "no such run"),
        (["export", "small:prompts", "out"], "produces no checkpoint"),
        (["export", "small:more", "out"], "is todo"),
        (["export", "small:mor", "out"], "did you mean 'more'"),
        (["export", "small", "small.yaml"], "not an empty folder"),
        (["eval", "small", "--suite", "gsm9k"], "did you mean 'gsm8k'"),
        (["eval", "small", "--suite", "gsm8k,gsm8k"], "named twice"),
        (["eval", "runs/small/02-base/checkpoint", "--suite", "held_out"], "belong to a run"),
        (["eval", "bare", "--suite", "gsm8k"], "no *.safetensors weights"),
        (["run", "small.yaml", "--stage", "x"], "no stage 'x'"),
        (["run", "small.yaml", "--stage", "sft", "--until", "more"], "exclude each other"),
        (["run", "small.yaml", "--stage", "sft", "--redo", "more"], "not among those to run"),
        (["run", "small.yaml", "--runs-dir", "small.yaml"], "cannot be written"),
        (
            ["run", "small.yaml", "--set", "stages.sft.epochs=0"],
            "--set stages.sft.epochs=0: stages[0].epochs",
        ),
        (["run", "none.yaml"], "no such file"),
        (["run"], "Missing argument"),
        (["walk"], "No such command"),
    ],
)
def test_bad_input_ends_with_2(folder, uphill, words, message):
    pretend({"base": 2}, until="eval-base")
    Path("bare").mkdir()
    Path("bare/config.json").write_text("{}")
    code, _, err = uphill(*words)
    assert code == 2 and message in err


def test_eval_asks_a_stage_of_a_run_once(folder, uphill, answered):
    pretend({"base": 2}, until="sft")
    for _ in range(2):
        code, out, _ = uphill("eval", "small", "--suite", "held_out,gsm8k", "--json")
        assert code == 0 and json.loads(out)["suites"]["held_out"]["final"]["score"] == 0.7
    assert answered == {"sft+held_out+gsm8k": (["held_out", "gsm8k"], ["checkpoint", "prompts"])}
    assert "70.0 [50.0, 90.0]" in uphill("eval", "small:base", "--suite", "held_out")[1]
    code, _, err = uphill(
        "eval", "small:base", "--suite", "gsm8k", "--out", "runs/small/evals/base"
    )
    assert code == 2 and "contains something else" in err


def test_eval_asks_a_checkpoint_folder(folder, uphill, answered):
    pretend({"base": 2}, until="sft")
    code, out, _ = uphill(
        "eval", "runs/small/03-sft/checkpoint", "--suite", "gsm8k", "--out", "out", "--json"
    )
    assert code == 0 and json.loads(out)["path"] == "out"
    assert answered == {"out": (["gsm8k"], ["checkpoint"])}
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "answers.jsonl",
        "record.json",
        "results.json",
    ]


def test_check_prints_defaults_and_names_every_broken_recipe(folder, uphill):
    found = json.loads(uphill("check", "small.yaml", "--json")[1])["recipes"]
    assert found[0]["recipe"]["stages"][0]["batch_size"] == 16
    Path("bad.yaml").write_text(RECIPE.replace("epochs", "x").replace("sft, on", "sft, no"))
    code, _, err = uphill("check", "small.yaml", "bad.yaml", "none.yaml")
    assert (
        code == 2
        and "bad.yaml:6: stages[0].no: unknown field" in err
        and "none.yaml: no such file" in err
    )


def test_the_first_stage_runs_for_real(folder, uphill):
    code, out, err = uphill("run", "small.yaml", "--until", "prompts", "--json")
    assert code == 0, err
    stage = json.loads(out)["stages"][0]
    assert stage["state"] == "done" and stage["metrics"]["training"] == 4
    assert Path("runs/small/01-prompts/held_out.parquet").exists()
    with Path("mine.jsonl").open("a") as handle:
        handle.write("{broken\n")
    code, _, err = uphill("run", "small.yaml", "--until", "prompts")
    assert code == 2 and "sources[0].path was 'content " in err and "--redo prompts" in err
    code, _, err = uphill("run", "small.yaml", "--until", "prompts", "--redo", "prompts")
    assert code == 2 and "mine.jsonl" in err and "9" in err


def test_a_keyboard_interrupt_ends_with_130(folder, uphill, monkeypatch):
    def interrupted(request):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.execution.runner.run_plan", interrupted)
    assert uphill("run", "small.yaml")[0] == 130


def test_our_own_mistake_is_called_one(folder, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.execution.runner.run_plan", lambda request: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["uphill", "run", "small.yaml"])
    assert run_command() == 1
    err = capsys.readouterr().err
    assert "ZeroDivisionError" in err and "this is a bug in uphill" in err


def test_a_shadowed_package_is_named(monkeypatch, capsys, tmp_path):
    assert pipeline.checkout.shadowed() == []
    assert "'prompts' is taken from" in "\n".join(pipeline.checkout.shadowed(tmp_path))
    monkeypatch.setattr(
        "pipeline.cli.main.shadowed", lambda: ["package 'evals' is taken from elsewhere"]
    )
    assert main() == 2 and "uninstall" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("small:more@7", "there is no such checkpoint now"),
        ("small:more@last", "steps that are kept: 4, 12"),
        ("small:sft@4", "'sft' is done"),
        ("small:more@first", "name RUN:STAGE@STEP or @last"),
        ("small@4", "name RUN:STAGE@STEP or @last"),
    ],
)
def test_a_checkpoint_inside_a_stage_that_is_not_there_is_named(folder, uphill, name, told):
    pretend({"base": 2, "sft": 2}, until="eval-sft")
    resume = Path("runs/small/04-more.partial/resume")
    for step, whole in ((4, "last" not in name), (12, True), (20, False)):
        (resume / f"checkpoint-{step}").mkdir(parents=True)
        if whole:
            (resume / f"checkpoint-{step}" / "complete.json").write_text("{}")
    wanted = name.replace("last", "5")
    code, _, err = uphill("eval", wanted, "--suite", "held_out")
    expected = told.replace("4, 12", "12") if "last" in name else told
    assert code == 2 and expected in err
