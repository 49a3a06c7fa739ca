"""Sources, the schema's file, and the split."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from builders.contexts import stage_context
from builders.prompt_files import GOOD, own
from builders.single_prompts import prompt_of
from common.errors import BadInput
from prompts.config import PromptSource, ReasoningGymSource
from prompts.reasoning_gym_source import from_json, library_module, to_json
from prompts.schema import read_prompts, write_prompts
from prompts.sources import load_source
from stages.prompts.config import PromptsStage
from stages.prompts.run import run

ADAPTER = TypeAdapter(PromptSource)


def gym(family="spell_backward", count=20, **fields):
    return ReasoningGymSource(source="reasoning_gym", family=family, count=count, **fields)


def lines(tmp_path, *rows):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(
        b"".join(
            (row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows
        )
    )
    return path


def test_same_seed_same_tasks_and_other_seed_others():
    first, again, other = load_source(gym()), load_source(gym()), load_source(gym(seed=1))
    assert first == again
    assert not {p.id for p in first} & {p.id for p in other}
    assert all(p.verifier == "reasoning_gym" and p.capability == "spell_backward" for p in first)


def test_template_replaces_the_wording():
    for task in load_source(gym(question="reverse {word}", system="Be brief.", count=3)):
        assert task.messages[0] == {"role": "system", "content": "Be brief."}
        assert task.messages[1]["content"] == f"reverse {task.answer[::-1]}"


def test_template_writes_lists_plainly_and_may_contain_the_familys_question():
    task = load_source(gym("gcd", 1, question="gcd({numbers}) <- {question}"))[0]
    assert task.messages[0]["content"].startswith("gcd(") and "[" not in task.messages[0]["content"]
    assert task.metadata["question"] in task.messages[0]["content"]


def test_template_with_unknown_field_lists_the_available_ones():
    with pytest.raises(BadInput, match=r"\{wort\}") as caught:
        load_source(gym(question="reverse {wort}"))
    assert "word" in caught.value.remedy


@pytest.mark.parametrize(
    "template", ["{word.__class__}", "{word[0]}", "{word:>9}", "{word!r}", "{}", "{0}", "{", "hi"]
)
def test_template_takes_plain_fields_only(template):
    with pytest.raises(ValidationError):
        gym(question=template)


def test_unknown_family_names_near_ones():
    with pytest.raises(BadInput, match="chain_sun") as caught:
        load_source(gym("chain_sun"))
    assert "chain_sum" in caught.value.remedy


@pytest.mark.parametrize(
    "values", [{"max_term": 3}, {"min_terms": 5, "max_terms": 2}, {"max_terms": "many"}]
)
def test_bad_settings_are_named(values):
    with pytest.raises(BadInput, match=r"chain_sum.*max_term"):
        load_source(gym("chain_sum", settings=values))


def test_seed_and_size_do_not_belong_in_settings():
    with pytest.raises(ValidationError, match="seed"):
        gym(settings={"seed": 3})


def test_graded_by_sets_the_difficulty_of_a_task():
    settings = {"min_word_len": 3, "max_word_len": 6}
    plain, graded = (
        load_source(gym(settings=settings)),
        load_source(gym(settings=settings, graded_by=["word_len"])),
    )
    assert {p.difficulty for p in plain} == {'{"max_word_len": 6, "min_word_len": 3}'}
    assert (
        {json.loads(p.difficulty)["word_len"] for p in graded}
        == {len(p.answer) for p in graded}
        <= {3, 4, 5, 6}
    )
    assert [p.id for p in plain] == [p.id for p in graded]
    with pytest.raises(BadInput, match=r"graded_by names nothing.*\n.*word_len"):
        load_source(gym(graded_by=["nothing"]))


def test_family_that_needs_pycosat_is_refused_without_it():
    library_module()
    if type(sys.modules["pycosat"]).__name__ != "_Absent":
        pytest.skip("pycosat is installed here")
    with pytest.raises(BadInput, match="pycosat"):
        load_source(gym("zebra_puzzles", 1))


def test_family_without_reference_answers_is_refused():
    with pytest.raises(BadInput, match="reference answer"):
        load_source(gym("rush_hour", 1))


def test_scorers_cannot_run_python():
    queens = sys.modules[library_module().factory.DATASETS["n_queens"][0].__module__]
    with pytest.raises(ValueError):
        vars(queens)["eval"]("__import__('os').getcwd()")


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers()), inner)
        | st.sets(st.integers())
    ),
)


@given(NESTED)
def test_items_survive_json(value):
    assert from_json(json.loads(json.dumps(to_json(value)))) == value


def test_jsonl_rows_become_prompts(tmp_path):
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    path = lines(
        tmp_path,
        {"prompt": "one?", "answer": 1, "id": 7, "metadata": {"k": [1]}},
        b"",
        {
            "messages": chat,
            "answer": "two",
            "capability": "x",
            "verifier": "number",
            "solution": "so: two",
        },
    )
    first, second = load_source(own(path, system="other"))
    assert (first.id, first.answer, first.target, first.metadata) == (
        "mine.jsonl:7",
        "1",
        "1",
        {"k": [1]},
    )
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert (second.messages, second.capability, second.verifier, second.target) == (
        chat,
        "x",
        "number",
        "so: two",
    )


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b'{"prompt": "x", "answer": ', "not JSON"),
        (b'["a"]', "not a JSON object but list"),
        (b'{"prompt": "\xff", "answer": "a"}', "not UTF-8"),
        (b'{"prompt": "\\ud800", "answer": "a"}', "cannot be stored"),
        ({"prompt": "q"}, "answer: is required"),
        ({"answer": "a"}, "exactly one of prompt, messages; got none"),
        ({**GOOD, "messages": [{"role": "user", "content": "q"}]}, "got both"),
        ({"prompt": 3, "answer": "a"}, "prompt: .*got 3"),
        ({"prompt": "q", "answer": 1.5}, "answer.*got 1.5"),
        ({"prompt": " ", "answer": "a"}, "prompt is empty"),
        ({"prompt": "q", "answer": ""}, "answer is empty"),
        ({"messages": [], "answer": "a"}, "prompt is empty"),
        (
            {"messages": [{"role": "assistant", "content": "q"}], "answer": "a"},
            "end with the user's",
        ),
        (
            {"messages": [{"role": "robot", "content": "q"}], "answer": "a"},
            "messages.0.role.*robot",
        ),
        ({**GOOD, "metadata": {"x": float("nan")}}, "cannot be stored"),
        ({**GOOD, "id": "one"}, "id 'one' is already used at .*mine.jsonl:1"),
    ],
)
def test_bad_row_is_named_with_file_and_line(tmp_path, row, problem):
    path = lines(tmp_path, {**GOOD, "id": "one"}, GOOD, row)
    with pytest.raises(BadInput, match=rf"mine.jsonl:3: .*{problem}"):
        load_source(own(path))


def test_missing_file_empty_file_and_missing_verifier(tmp_path):
    with pytest.raises(BadInput, match="no such file"):
        load_source(own(tmp_path / "absent.jsonl"))
    with pytest.raises(BadInput, match="holds no rows"):
        load_source(own(lines(tmp_path)))
    with pytest.raises(BadInput, match=r"mine.jsonl:1: names no verifier"):
        load_source(own(lines(tmp_path, GOOD), verifier=None))


def test_parquet_and_datasets_folder_read_alike(tmp_path):
    import datasets

    rows = [{"prompt": f"q{n}", "answer": str(n), "id": str(n)} for n in range(3)]
    data = datasets.Dataset.from_list(rows)
    data.to_parquet(str(tmp_path / "mine"))
    data.save_to_disk(str(tmp_path / "folder" / "mine"))
    read = load_source(own(tmp_path / "mine", "parquet"))
    assert read == load_source(own(tmp_path / "folder" / "mine", "datasets"))
    assert [p.answer for p in read] == ["0", "1", "2"]


@pytest.mark.parametrize("source", ["parquet", "datasets"])
def test_unreadable_parquet_and_folder(tmp_path, source):
    path = lines(tmp_path, GOOD) if source == "parquet" else tmp_path
    with pytest.raises(BadInput, match="not a readable"):
        load_source(own(path, source))


def test_prompts_file_round_trip(tmp_path):
    prompts = [*load_source(gym("gcd", 3)), prompt_of("ü", "grüße\u2028\n")]
    write_prompts(tmp_path / "p.parquet", prompts)
    assert read_prompts(tmp_path / "p.parquet") == prompts
    assert [file.name for file in tmp_path.iterdir()] == ["p.parquet"]


def test_unreadable_prompts_files(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_prompts(tmp_path / "empty.parquet", [])
    (tmp_path / "text.parquet").write_text("no")
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    messages = {
        "absent": "no such",
        "empty": "no prompts",
        "text": "not a readable",
        "other": "no column answer",
    }
    for name, message in messages.items():
        with pytest.raises(BadInput, match=message):
            read_prompts(tmp_path / f"{name}.parquet")


def test_stage_writes_both_files_and_counts(tmp_path):
    stage = PromptsStage(
        sources=(gym(count=30, held_out=0.2), gym("gcd", 20, settings={"max_value": 3}))
    )
    metrics = run(stage, {}, stage_context(tmp_path, 3)).metrics
    training, held = (
        read_prompts(tmp_path / name) for name in ("prompts.parquet", "held_out.parquet")
    )
    assert (len(training), len(held)) == (metrics["training"], metrics["held_out"])
    assert (
        metrics["by_source"]["reasoning_gym:gcd"]["duplicates"] == metrics["dropped_duplicates"] > 0
    )
    assert metrics["by_capability"]["spell_backward"] == {"training": 24, "held_out": 6}


def test_stage_refuses_what_cannot_be_graded(tmp_path):
    rows = [GOOD, {**GOOD, "id": "two", "verifier": "exakt"}]
    with pytest.raises(
        BadInput, match=r"mine.jsonl:two \(mine.jsonl:2\): no verifier is named 'exakt'"
    ):
        run(PromptsStage(sources=(own(lines(tmp_path, *rows)),)), {}, stage_context(tmp_path, 3))
    rows = [GOOD, {**GOOD, "id": "two", "verifier": "number"}]
    with pytest.raises(
        BadInput, match=r"mine.jsonl:two \(mine.jsonl:2\): verifier number does not accept .*'a'"
    ):
        run(PromptsStage(sources=(own(lines(tmp_path, *rows)),)), {}, stage_context(tmp_path, 3))
