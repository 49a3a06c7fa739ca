"""Damaged recipes and prompt files: a message and exit code 2, whatever they hold; no traceback, no hang."""

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
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from common.stage import StageContext
from pipeline.commands import run_command
from stages.prompts.config import PromptsStage
from stages.prompts.run import run

ROOT = Path(__file__).parents[1]
RECIPES = [path.read_text() for path in sorted(ROOT.glob("**/recipes/*.yaml")) if ".venv" not in path.parts]
CPU_SECONDS = 5
GENEROUS = {"deadline": None, "suppress_health_check": list(HealthCheck), "phases": [Phase.generate]}
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=20),
    st.sampled_from([
        "", " ", "..", "../../x", "/etc/passwd", "/dev/zero", "x" * 5000, "\x00", "\ud800", "<|im_end|>", "{{7*7}}",
        "!!python/object/apply:os.system ['true']", "nano", "smollm2-135m-instruct", "1e999", "-1", [], {}, [[]],
        [None], {"a": {"b": []}}, ["base"], "prompts", "eval-sft", "CON", "a/b", "0x10", "~", "yes", 2**63, 1e308,
    ]),
)  # fmt: skip


def places(value, path=()):
    """Every place in nested data, the containers too."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@st.composite
def wrong_data(draw):
    """A recipe with some of its values replaced, removed, renamed, doubled or added."""
    data = yaml.safe_load(draw(st.sampled_from(RECIPES)).replace("on:", '"on":'))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([place for place in places(data) if place]))
        parent = data
        for key in path[:-1]:
            parent = parent[key]
        change = draw(st.sampled_from(["replace", "remove", "rename", "double", "add"]))
        if change == "replace" or (change != "remove" and isinstance(parent, list)):
            parent[path[-1]] = draw(ODD)
        elif change == "remove":
            del parent[path[-1]]
        elif change == "rename":
            parent[draw(st.text(max_size=8))] = parent.pop(path[-1])
        else:
            parent[draw(st.sampled_from(["id", "kind", "on", "from", "judge", "x"]))] = draw(ODD)
    text = yaml.safe_dump(data, allow_unicode=draw(st.booleans()), default_flow_style=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


@st.composite
def wrong_text(draw):
    """A recipe's text with bytes cut out, put in or exchanged."""
    text = bytearray(draw(st.sampled_from(RECIPES)).encode())
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 12)))
        text[start:end] = draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b"\n", b"\t", b"- ", b": ", b"{", b"[" * 3000, b"&a *a", b"<<: ", b"!!python/name:os "]
                ),
            )
        )
    return bytes(text)


def uphill(*words):
    """Exit code, stdout and stderr of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with patch.object(sys, "argv", ["uphill", *words]), redirect_stdout(out), redirect_stderr(err):
        return run_command(), out.getvalue(), err.getvalue()


@settings(max_examples=700, **GENEROUS)
@given(text=st.one_of(wrong_data(), wrong_text()))
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


ROWS = [
    {"prompt": "say a", "answer": "a"},
    {"messages": [{"role": "user", "content": "2 + 2"}], "answer": "4", "capability": "sums"},
    {"prompt": "é <|im_end|>", "answer": "b", "metadata": {"n": 1}},
    {"prompt": "choose", "answer": "C"},
]
PIECES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([
        b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\\ud800", b"\n\n", b"\r", b"{}", b"null", b"NaN", b'"', b"1e999",
        b"[" * 50_000, b"9" * 5000, b'{"prompt": 3, "answer": []}', b'{"prompt": "", "answer": ""}',
        b'{"prompt": "x", "prompt": "y"}', b'{"messages": [{"role": "tool"}], "answer": "x"}',
        b'{"prompt": "<|im_start|>system", "answer": "x", "id": "../../x"}',
    ]),
)  # fmt: skip


@st.composite
def wrong_rows(draw):
    text = bytearray(b"".join(json.dumps(row).encode() + b"\n" for row in draw(st.permutations(ROWS))))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        text[start : start + draw(st.integers(0, 6))] = draw(PIECES)
    return bytes(text)


def gather(folder, source):
    """The prompts stage on one source: its prompts, or the error in words."""
    config = PromptsStage.model_validate(
        {"sources": [{"capability": "c", "verifier": "exact", "held_out": 0, **source}]}
    )
    context = StageContext(Path(folder) / "out", 0, lambda *a, **k: None, lambda: False, 1, lambda text: None)
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


@settings(max_examples=400, **GENEROUS)
@given(text=wrong_rows())
def test_a_wrong_file_of_prompts_is_refused_with_its_line(text):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.jsonl"
        path.write_bytes(text)
        said = gather(folder, {"source": "jsonl", "path": str(path)})
        assert said is None or str(path) in said


@settings(max_examples=100, **GENEROUS)
@given(place=st.floats(0, 1, exclude_max=True), piece=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_a_damaged_parquet_file_is_refused(place, piece, cut):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.parquet"
        pq.write_table(pa.Table.from_pylist([{"prompt": f"say {n}", "answer": str(n)} for n in range(5)]), path)
        data = path.read_bytes()
        start = int(place * len(data))
        path.write_bytes(data[:start] if cut else data[:start] + piece + data[start + len(piece) :])
        said = gather(folder, {"source": "parquet", "path": str(path)})
        assert said is None or str(path) in said
