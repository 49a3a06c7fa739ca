"""The page on GPUs: its figures are what the command prints, its layouts are valid."""

import re

import pytest
import yaml

from benchmarks import paper_plan
from benchmarks.paper_plan import BEGIN, END, LAYOUTS, PAGE
from builders.recipe_texts import RECIPE, write_rows
from pipeline.recipe.load import load_recipe

EXAMPLES = PAGE.parent / "examples"


def layout(name, trainers):
    (found,) = (one for one in LAYOUTS if (one.name, one.trainers) == (name, trainers))
    return found


def test_the_page_has_the_figures_that_the_command_prints():
    inside = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert inside == paper_plan.page(), "run `python -m benchmarks.paper_plan --write`"


def test_scout_in_full_is_1606_gib_in_all_and_an_engine_201():
    full = layout("Scout, full", 32)
    assert paper_plan.whole(full).total() / 2**30 == pytest.approx(1606, abs=0.5)
    assert paper_plan.server_memory(full).engine * 8 / 2**30 == pytest.approx(201, abs=0.5)
    part = paper_plan.trainer_memory(full).total() / 2**30
    assert part > 1606 / 32 + 2 * 2 * 2e9 * 2 / 2**30  # two layers of about 2e9 parameters more


def test_seconds_follow_from_the_rates(monkeypatch):
    lora = layout("Scout, LoRA", 8)  # one machine: bound by operations
    tokens = 64 * 8 * (512 + 1024)
    expected = 6 * 17_172_894_720 * tokens / 8 / (990e12 * 0.35)
    assert paper_plan.training_seconds(lora) == pytest.approx(expected)
    folder, network = paper_plan.sync_seconds(lora)
    assert folder == pytest.approx(2 * 2 * 107_769_861_120 / 2e9) and network < folder / 100


def test_a_measured_rate_takes_the_place_of_the_assumed_one(tmp_path, monkeypatch):
    found = '{"device": "GPU", "parts": {"grouped": {"figures": {"scout_bfloat16": '
    (tmp_path / "gpu_check.json").write_text(found + '{"tera_a_second": 500}}}}}')
    monkeypatch.setattr(paper_plan, "MEASURED", tmp_path / "gpu_check.json")
    assert paper_plan.training_rate() == (500e12, "500 TFLOP/s, `gpu_check` on GPU")


def test_the_layouts_of_the_page_are_valid(tmp_path):
    write_rows(tmp_path / "mine.jsonl", "abcdefgh")
    fragments = re.findall(r"```yaml\n(runtime:.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(fragments) == 3
    for text in fragments:
        (tmp_path / "recipe.yaml").write_text(RECIPE + text)
        assert load_recipe(tmp_path / "recipe.yaml").runtime.devices.engine.kind


def test_the_example_for_kubernetes_is_yaml_and_the_one_for_slurm_sets_valid_fields(tmp_path):
    kinds = [one["kind"] for one in yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())]
    assert kinds == ["Service", "NetworkPolicy", "StatefulSet", "Job"]
    write_rows(tmp_path / "mine.jsonl", "abcdefgh")
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    script = (EXAMPLES / "slurm.sh").read_text()
    launcher = re.findall(r'^launcher="(.*)"$', script, re.MULTILINE)[0]
    settings = [
        text.replace("$layout", "runtime.stages.rl.devices").replace("$launcher", launcher)
        for text in re.findall(r'--set "(.*)" [\\&]$', script, re.MULTILINE)
    ]
    assert len(settings) == 5
    runtime = load_recipe(tmp_path / "recipe.yaml", settings).runtime
    assert runtime.stages["rl"].devices.engine.kind == "remote"
    assert runtime.stages["rl"].devices.launcher[0] == "srun"
