"""Damaged recipes and prompt files: a message and exit code 2, whatever they hold; no traceback, no
hang."""

import io
import json
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from builders.mutations import wrong_data, wrong_rows, wrong_text
from common.errors import BadInput
from common.files import write_sealed
from common.stage import StageContext
from pipeline.cli.commands import run_command
from stages.prompts.config import PromptsStage
from stages.prompts.run import run

ROOT = Path(__file__).parents[3]
RECIPES = [
    path.read_text() for path in sorted(ROOT.glob("**/recipes/*.yaml")) if ".venv" not in path.parts
]
CPU_SECONDS = 5


def generous(max_examples):
    """Settings of a test whose examples may be large and slow."""
    return settings(
        max_examples=max_examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )


def uphill(*words):
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["uphill", *words]), redirect_stdout(out), redirect_stderr(err):
        return run_command(), out.getvalue(), err.getvalue()


@generous(700)
@given(text=st.one_of(wrong_data(RECIPES), wrong_text(RECIPES)))
def test_a_wrong_recipe_is_refused_in_words(text):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_bytes(text)
        for command in (["check", str(path)], ["plan", str(path), "--runs-dir", f"{folder}/runs"]):
            begin = time.process_time()
            code, out, err = uphill(*command, "--json")
            assert time.process_time() - begin < CPU_SECONDS
            assert code in (0, 2) and "Traceback" not in err, err
            found = json.loads(out)
            if code:
                assert found["error"]["message"] and found["error"]["remedy"], found
                assert str(path) in err
        assert list(Path(folder).iterdir()) == [path]


def gather(folder, source):
    """The prompts stage on one source: its prompts, or the error in words."""
    config = PromptsStage.model_validate(
        {"sources": [{"capability": "c", "verifier": "exact", "held_out": 0, **source}]}
    )
    context = StageContext(
        Path(folder) / "out", 0, lambda *a, **k: None, lambda: False, 1, lambda text: None
    )
    context.folder.mkdir()
    begin = time.process_time()
    try:
        run(config, {}, context)
        return None
    except BadInput as error:
        assert error.message and error.remedy
        assert not (context.folder / "prompts.parquet").exists()
        return error.message
    finally:
        assert time.process_time() - begin < CPU_SECONDS


RECORD = {
    "format": 1,
    "identity": {"kind": "judge_filter", "config": {"id": "f"}},
    "metrics": {"kept": 3},
    "files": {
        "prompts.parquet": {"size": 10, "sha256": "0" * 64},
        "stage.log": {"size": 1, "sha256": "1"},
    },
}
ADOPTING = """\
name: tiny
model: {preset: nano}
prompts: [{source: reasoning_gym, family: chain_sum, count: 12}]
stages: [{id: filter, kind: adopt, folder: theirs}, {id: sft, kind: sft, on: filter, learning_rate: 1e-3}]
"""  # noqa: E501


@generous(150)
@given(record=wrong_data([yaml.safe_dump(RECORD)]))
def test_a_wrong_record_of_a_stage_to_adopt_is_refused_in_words(record):
    with TemporaryDirectory() as folder:
        (Path(folder) / "theirs").mkdir()
        (Path(folder) / "recipe.yaml").write_text(ADOPTING)
        try:
            write_sealed(Path(folder) / "theirs" / "record.json", yaml.safe_load(record))
        except (ValueError, TypeError, yaml.YAMLError):  # what no JSON can hold
            assume(False)
        code, out, err = uphill(
            "plan", f"{folder}/recipe.yaml", "--runs-dir", f"{folder}/runs", "--json"
        )
        assert code in (0, 2) and "Traceback" not in err, err
        assert code == 0 or json.loads(out)["error"]["remedy"]


@generous(400)
@given(text=wrong_rows())
def test_a_wrong_file_of_prompts_is_refused_with_its_line(text):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.jsonl"
        path.write_bytes(text)
        said = gather(folder, {"source": "jsonl", "path": str(path)})
        assert said is None or str(path) in said


@generous(100)
@given(
    place=st.floats(0, 1, exclude_max=True),
    piece=st.binary(min_size=1, max_size=6),
    cut=st.booleans(),
)
def test_a_damaged_parquet_file_is_refused(place, piece, cut):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.parquet"
        pq.write_table(
            pa.Table.from_pylist([{"prompt": f"say {n}", "answer": str(n)} for n in range(5)]), path
        )
        data = path.read_bytes()
        start = int(place * len(data))
        path.write_bytes(data[:start] if cut else data[:start] + piece + data[start + len(piece) :])
        said = gather(folder, {"source": "parquet", "path": str(path)})
        assert said is None or str(path) in said
