"""The record of a stage to adopt: one of another shape, or one that names other files, is refused
or ignored."""

import pytest

from builders.adopted_stages import adopt, finished
from builders.recipe_texts import refusal
from common.errors import BadInput
from common.files import files_below, read_sealed, write_sealed

RECORD = {"format": 2, "kind": "sft", "produces": ["checkpoint"], "metrics": {}, "files": {}}
WRONG = [
    {"format": "1"},
    {"format": None},
    {"format": 3},
    {"kind": 3},
    {"produces": 3},
    {"produces": [3]},
    {"metrics": None},
    {"kind": ["sft"]},
    {"files": []},
    {"files": {"a": 3}},
    {"files": {"a": {"size": "1", "sha256": "0"}}},
]


@pytest.mark.parametrize("change", WRONG, ids=repr)
def test_a_record_of_another_shape_is_refused_in_words(tmp_path, adopting, change):
    folder = tmp_path / "first" / "03-filter"
    folder.mkdir(parents=True)
    write_sealed(folder / "record.json", RECORD | change)
    assert str(folder / "record.json") in refusal(adopting)
    for name in change:
        write_sealed(
            folder / "record.json", {key: value for key, value in RECORD.items() if key != name}
        )
        assert str(folder / "record.json") in refusal(adopting)


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, "{}", "3", "", "\x00"],
    ids=["deep", "empty", "number", "nothing", "zero"],
)
def test_a_record_that_is_none_is_refused_in_words(tmp_path, adopting, text):
    folder = tmp_path / "first" / "03-filter"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text(text)
    assert str(folder / "record.json") in refusal(adopting)


NAMES = [
    "../outside.txt",
    "a/../../outside.txt",
    "{root}/outside.txt",
    "",
    ".",
    "stage.log/x",
    "x\0y",
    "a/attempt.json/..",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_record_cannot_name_files_outside_its_folder_or_none(tmp_path, name):
    source = finished(tmp_path / "first", files=[("x", "data")])
    (tmp_path / "outside.txt").write_text("data")
    record = read_sealed(source / "record.json")
    (source / "record.json").unlink()
    files = {name.format(root=tmp_path): record["files"]["x"]}
    write_sealed(source / "record.json", {**record, "files": files})
    with pytest.raises(BadInput, match="no file of a stage"):
        adopt(source, tmp_path)
    assert [path.name for path in files_below(tmp_path / "mine")] == ["adopted.json"]


def test_a_record_cannot_replace_files_of_the_attempt(tmp_path):
    source = finished(tmp_path / "first", files=[("x", "data")])
    record = read_sealed(source / "record.json")
    (source / "attempt.json").write_text("data")
    write_sealed(
        source / "record.json",
        {**record, "files": {**record["files"], "attempt.json": record["files"]["x"]}},
    )
    assert not (adopt(source, tmp_path) / "attempt.json").exists()
