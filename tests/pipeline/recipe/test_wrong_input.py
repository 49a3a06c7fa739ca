"""What a person gets wrong, through the command line: one clear message, an exit code, nothing
trusted later."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RECIPE = """\
name: small
model: {preset: nano}
prompts:
  - {source: jsonl, path: mine.jsonl, capability: words, verifier: exact, held_out: 0.25}
stages:
  - {id: filter, kind: judge_filter, drop_easiest: 0.5, judges: [{kind: attempts, model: smollm2-135m-instruct}]}
  - {id: sft, kind: sft, on: prompts, learning_rate: 1e-4}
"""  # noqa: E501
ROWS = [json.dumps({"prompt": f"say {word}", "answer": word}) for word in "abcdefgh"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(RECIPE)
    (tmp_path / "mine.jsonl").write_text("\n".join(ROWS) + "\n")
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text('{"model_type": "llama4_text"}')
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"pickle")
    return tmp_path


def start(folder, *words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "pipeline", *words]
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def uphill(folder, *words):
    """Exit code and what was said on stderr."""
    process = start(folder, *words)
    _, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stderr, stderr
    return process.returncode, stderr


def finished(folder):
    """Stage folders that a later run would trust."""
    return sorted(path.parent.name for path in folder.glob("runs/*/*/record.json"))


def rewrite(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "drop_easiest: 0.5",
            "drop_easiest: 1.2",
            ["small.yaml:6: stages[0].drop_easiest: ", "less than 1", "1.2"],
        ),
        (
            "drop_easiest: 0.5",
            "drop_easy: 0.5",
            ["small.yaml:6: stages[0].drop_easy: unknown", "drop_easiest"],
        ),
        (
            "name: small",
            "name: small\nname: other",
            ["small.yaml:2: name: key 'name' is already set on line 1"],
        ),
        (
            "path: mine",
            "path: yours",
            ["small.yaml:4: prompts[0].path: no such file", "yours.jsonl"],
        ),
        (
            "{preset: nano}",
            "{checkpoint: bare}",
            ["small.yaml:2: model.checkpoint: ", "no *.safetensors", "bare"],
        ),
        (
            "{preset: nano}",
            "{upcycle: bare}",
            ["small.yaml:2: model.upcycle: ", "no *.safetensors", "bare"],
        ),
        (
            "{preset: nano}",
            "{checkpoint: pickled}",
            ["small.yaml:2: model.checkpoint: ", "pickled"],
        ),
        (
            "smollm2-135m-instruct",
            "smollm3",
            ["small.yaml:6: stages[0].judges[0].model: no such model", "smollm2-135m"],
        ),
    ],
)
def test_a_wrong_recipe_starts_nothing(folder, old, new, words):
    rewrite(folder / "small.yaml", old, new)
    for command in ("check", "run"):
        code, stderr = uphill(folder, command, "small.yaml")
        assert code == 2 and "remedy: " in stderr
        assert all(word in stderr for word in words), stderr
    assert not (folder / "runs").exists()


def test_an_empty_prompt_file_is_named(folder):
    for content in ("", "\n\n"):
        (folder / "mine.jsonl").write_text(content)
        code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
        assert code == 2 and "mine.jsonl" in stderr and "remedy: " in stderr
    assert "small.yaml:4: prompts[0].path" in stderr or "holds no rows" in stderr
    assert finished(folder) == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"prompt": "say c", "answer": ', ["mine.jsonl:3: not JSON"]),
        ('["say c", "c"]', ["mine.jsonl:3: not a JSON object but list"]),
        ('{"prompt": "say c"}', ["mine.jsonl:3: answer: "]),
        (
            '{"prompt": "say c", "answer": "c", "verifier": "exakt"}',
            ["'exakt'", "exact", "mine.jsonl"],
        ),
    ],
)
def test_a_broken_line_is_named_and_the_repaired_file_runs(folder, line, words):
    (folder / "mine.jsonl").write_text("\n".join([*ROWS[:2], line, *ROWS[3:]]) + "\n")
    code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
    assert code == 2 and "remedy: " in stderr
    assert all(word in stderr for word in words), stderr
    assert finished(folder) == []
    (folder / "mine.jsonl").write_text("\n".join(ROWS) + "\n")
    assert uphill(folder, "run", "small.yaml", "--until", "prompts")[0] == 0
    assert finished(folder) == ["01-prompts"]


def test_an_unknown_verifier_of_a_source_lists_the_known_ones(folder):
    rewrite(folder / "small.yaml", "verifier: exact", "verifier: exakt")
    code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
    assert code == 2 and "'exakt'" in stderr and "exact" in stderr and finished(folder) == []


def test_a_prompt_longer_than_the_context_is_named_before_training_on_it(folder):
    long = json.dumps({"id": "endless", "prompt": "a" * 600, "answer": "a"})
    (folder / "mine.jsonl").write_text("\n".join([*ROWS, long]) + "\n")
    rewrite(folder / "small.yaml", "held_out: 0.25", "held_out: 0")
    rewrite(folder / "small.yaml", "  - {id: filter", "  # - {id: filter")
    code, stderr = uphill(folder, "run", "small.yaml")
    assert (
        code in (1, 2)
        and "mine.jsonl:endless" in stderr
        and "512" in stderr
        and "remedy: " in stderr
    )
    assert "03-sft" not in finished(folder)


def test_a_run_folder_that_cannot_be_written_is_named(folder):
    (folder / "taken").write_text("")
    (folder / "runs").mkdir()
    (folder / "runs" / "small").write_text("")
    for place in ("taken", "taken/below", "runs"):
        code, stderr = uphill(folder, "run", "small.yaml", "--runs-dir", place)
        assert (
            code == 2
            and f"{place}/small: cannot be written to" in stderr
            and "--runs-dir" in stderr
        )
    assert (folder / "taken").read_text() == "" == (folder / "runs" / "small").read_text()


def test_a_stage_folder_that_is_a_file_is_named(folder):
    (folder / "runs" / "small").mkdir(parents=True)
    (folder / "runs" / "small" / "01-prompts.partial").write_text("")
    code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
    assert code == 2 and "01-prompts.partial" in stderr and "remedy: " in stderr


def test_two_runs_at_once_on_one_folder(folder):
    many = "  - {source: reasoning_gym, family: chain_sum, count: 200000}\n"
    rewrite(folder / "small.yaml", "  - {source: jsonl", f"{many}  - {{source: jsonl")
    first = start(folder, "run", "small.yaml", "--until", "prompts")
    lock, end = folder / "runs" / "small" / ".lock", time.monotonic() + 30
    while not (lock.exists() and lock.stat().st_size) and time.monotonic() < end:
        time.sleep(0.02)
    code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert (
        code == 2
        and f"process {first.pid} on " in stderr
        and "is running it" in stderr
        and "remedy: " in stderr
    )
    rewrite(folder / "small.yaml", "200000", "20")
    code, stderr = uphill(folder, "run", "small.yaml", "--until", "prompts")
    assert code == 0 and finished(folder) == ["01-prompts"], stderr
