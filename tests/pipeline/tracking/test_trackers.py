"""Trackers beside a run: what they get, and that none of their failures reaches the run."""

import json
import time
from pathlib import Path

import pytest

from builders.recipe_texts import refusal
from builders.toy_runs import ONE, TWO, start, toy_plan, wait_for
from fake_trackers.calls import CALLS, FAULT, calls
from pipeline.execution.verify import verify_run
from pipeline.recipe.schema import RuntimeConfig
from pipeline.tracking import trackers
from pipeline.tracking.registry import TRACKERS

FAKES = Path(__file__).parents[2] / "fake_trackers"


def reporting(*names):
    return "--runtime", json.dumps({"report_to": names})


@pytest.fixture
def fakes(toy, tmp_path, monkeypatch):
    """Fakes of the libraries `mlflow` and `wandb`; gives the file with the calls."""
    path = f"{FAKES.parent}:{FAKES}"
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(str(FAKES))
    monkeypatch.setenv(CALLS, str(tmp_path.parent / f"{tmp_path.name}.calls"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return Path(f"{tmp_path}.calls")


def test_mlflow_gets_curve_config_and_figures_of_every_stage_once(tmp_path, toy, fakes):
    for _ in range(2):  # the second run skips both stages
        assert toy([ONE, TWO], *reporting("mlflow"))[0] == 0
    assert [call[1] for call in calls(fakes, "create_run")] == ["one", "two"]
    batches = calls(fakes, "log_batch")
    points = [one for id, metrics, _ in batches if id == "id of two" for one in metrics]
    assert [(step, value) for key, value, _, step in points if key == "loss"] == [
        (step, 1 / (step + 1)) for step in range(3)
    ]
    assert ["summary/count", 6.0] in [one[:2] for one in points]
    assert ["config.steps", "3"] in [one for _, _, params in batches for one in params]
    finished = [["id of one", "FINISHED"], ["id of two", "FINISHED"]]
    assert calls(fakes, "set_terminated") == finished
    assert verify_run(tmp_path)["problems"] == []


def test_wandb_goes_on_with_the_run_of_a_killed_runner(tmp_path, toy, fakes, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a key")
    specs = [{"id": "one", "steps": 40}]
    process = start(tmp_path, specs, *reporting("wandb"), path=[FAKES])
    partial = tmp_path / "01-one.partial"
    wait_for(fakes)
    while len(calls(fakes, "log")) < 10:
        time.sleep(0.05)
    process.kill()
    process.communicate()
    lines = (partial / "metrics.jsonl").read_text().splitlines(keepends=True)
    (partial / "metrics.jsonl").write_text("".join(lines[:5]))  # a stage that resumes at step 5
    (partial / "resume" / "step").write_text("5")
    assert toy(specs, *reporting("wandb"))[0] == 0
    assert [step for _, _, step in calls(fakes, "log")] == list(range(40))
    first, second = calls(fakes, "init")
    assert first == second and first[2:5] == ["one", tmp_path.name, "toy"]
    [[_, summary]] = [call for call in calls(fakes, "summary") if call[1]]
    assert summary["summary/count"] == 40.0 and summary["summary/attempts"] == 2


def test_a_tracker_that_fails_is_told_twice_and_the_run_goes_on(tmp_path, toy, fakes, monkeypatch):
    monkeypatch.setenv(FAULT, "raise")
    code, stderr = toy([ONE, TWO | {"steps": 15}], *reporting("mlflow", "tensorboard"))
    said = [line for line in stderr.splitlines() if "ConnectionError" in line]
    assert code == 0 and len(said) == 2 and "\x1b" not in stderr
    assert said[0].startswith("mlflow: ConnectionError: the quota is")
    assert said[1].startswith("not all of this run was sent to mlflow")
    assert stderr.rstrip().endswith(said[1])
    assert "tensorboard" not in stderr and list(tmp_path.glob("tracking/tensorboard/two/*"))


def test_a_tracker_that_hangs_delays_only_the_end_and_not_for_long(toy, fakes, monkeypatch):
    monkeypatch.setenv(FAULT, "hang")
    monkeypatch.setattr(trackers, "FINISH_SECONDS", -1)
    code, stderr = toy([ONE, TWO], *reporting("mlflow"))
    assert code == 0 and "mlflow: it did not send the rest within" in stderr
    assert stderr.index("two: done") < stderr.index("mlflow")


def test_a_tracker_that_takes_no_more_messages_is_off(toy, fakes, tmp_path, monkeypatch):
    monkeypatch.setenv(FAULT, "hang")
    said: list[str] = []
    with trackers.Trackers(["mlflow"], tmp_path, "recipe", said.append) as running:
        running.start()
        [one] = running.running
        one.process.send_signal(19)  # SIGSTOP: it reads nothing
        begin = time.monotonic()
        for number in range(2000):
            running.begin(f"stage-{number}", tmp_path / "one", tmp_path / "one.partial")
    assert time.monotonic() - begin < 10
    assert len(said) == 2 and said[0].startswith("mlflow: it is stuck")


def test_without_its_package_or_login_nothing_runs(tmp_path, toy, fakes, monkeypatch):
    code, stderr = toy([ONE], *reporting("wandb"))
    assert code == 2 and "No API key configured" in stderr and "WANDB_MODE=offline" in stderr
    monkeypatch.setenv(FAULT, "import")
    code, stderr = toy([ONE], *reporting("mlflow"))
    assert code == 2 and "cannot be started: ModuleNotFoundError: No module named 'sql" in stderr
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, stderr = toy([ONE], *reporting("mlflow"))
    assert code == 2 and "mlflow is not installed" in stderr and "pip install mlflow" in stderr
    assert not list(tmp_path.glob("01-one*"))


def test_a_run_without_trackers_has_nothing_of_them(tmp_path, toy):
    assert toy([ONE])[0] == 0
    assert not (tmp_path / trackers.FOLDER).exists()


@pytest.mark.parametrize(
    ("names", "words"),
    [("[wandbb]", ["runtime.report_to[0]", "'wandb'"]), ("[wandb, wandb]", ["is named twice"])],
)
def test_a_recipe_names_trackers_that_there_are_once(recipe, names, words):
    message = refusal(recipe(("seed:", f"runtime: {{report_to: {names}}}\nseed:")))
    assert all(word in message for word in words), message


def test_trackers_are_in_no_fingerprint_and_each_name_has_one():
    plain, told = toy_plan([ONE]), toy_plan([ONE], runtime={"report_to": ["wandb"]})
    assert plain["one"].fingerprint == told["one"].fingerprint
    for name in TRACKERS:
        assert RuntimeConfig.model_validate({"report_to": (name,)}).report_to == (name,)
    with pytest.raises(ValueError, match="mlflow"):
        RuntimeConfig.model_validate({"report_to": ("unknown",)})
