"""A stage sees one GPU, the first that the runner may use, and a person with several is told
once."""

import pytest

from builders.toy_runs import ONE, TWO
from common.devices import DevicesConfig
from common.errors import BadInput
from pipeline.execution.gpus import VARIABLE, divided, first_visible, notice, require_enough

MIG = "MIG-d9a47cfb-d1f2-d08c-b40e-0812b597ae69"


def server(processes=1, **settings):
    return {"processes": processes, "engine": {"kind": "server", **settings}}


@pytest.mark.parametrize(
    ("given", "seen", "told"),
    [
        ("2,3", "2", "2 of CUDA_VISIBLE_DEVICES=2,3"),
        (" 2 , 3", "2", "2 of"),
        ("GPU-8932f937,GPU-0a1b2c3d", "GPU-8932f937", "GPU-8932f937 of"),
        (f"{MIG},{MIG}", MIG, "MIG-d9a47cfb"),
        (MIG, MIG, None),
        ("5", "5", None),
        ("", "", None),
        ("-1", "-1", None),
        ("-1,0", "-1", None),
    ],
)
def test_the_first_entry_is_what_a_stage_sees(given, seen, told):
    assert first_visible({VARIABLE: given}) == seen
    text = notice({VARIABLE: given})
    assert text is None if told is None else text is not None and told in text


def test_without_the_variable_it_is_the_machines_first(tmp_path):
    assert first_visible({}) == "0"
    assert notice({}, tmp_path / "no driver") is None
    for number in range(3):
        assert (notice({}, tmp_path) is None) == (number < 2)
        (tmp_path / f"0000:{number}:00.0").mkdir()
    text = notice({}, tmp_path)
    assert text is not None and "the first of 3" in text


def test_the_process_of_a_stage_sees_one_and_the_person_is_told_once(tmp_path, toy, monkeypatch):
    monkeypatch.setenv(VARIABLE, "3,1")
    code, said = toy([ONE, TWO])
    assert code == 0 and said.count("every stage uses one GPU, 3 of CUDA_VISIBLE_DEVICES=3,1") == 1
    several = ("--runtime", '{"devices": {"processes": 2}}', "--redo", "one")
    code, said = toy([ONE, TWO], *several)
    assert code == 0 and "every stage uses one GPU" not in said
    assert "GPUs: '3,1'" in (tmp_path / "01-one" / "stage-rank-1.log").read_text()
    assert toy([ONE, TWO], "--redo", "one")[0] == 0
    for place in ("01-one", "02-two"):
        assert "GPUs: '3'" in (tmp_path / place / "stage.log").read_text()


@pytest.mark.parametrize(
    ("given", "devices", "trainers", "servers"),
    [
        ("3,1", {"processes": 2, "sharding": "ddp"}, "3,1", ()),
        ("4,5,6,7", server(), "4", ("7",)),
        ("0,1,2,3,4,5", server(processes=2, replicas=2, tensor_parallel=2), "0,1", ("2,3", "4,5")),
        ("0", server(), "0", ("0",)),
        ("", server(), "", ()),
        ("-1", {"processes": 2}, "-1", ()),
    ],
)
def test_trainers_have_the_first_gpus_and_servers_the_last(given, devices, trainers, servers):
    layout = DevicesConfig.model_validate(devices)
    assert divided({VARIABLE: given}, layout) == (trainers, servers)


def test_without_the_variable_the_machines_gpus_are_divided(tmp_path):
    layout = DevicesConfig.model_validate(server(processes=1))
    assert divided({}, layout, tmp_path / "no driver") == ("0", ())
    for number in range(2):
        (tmp_path / f"0000:{number}:00.0").mkdir()
    assert divided({}, layout, tmp_path) == ("0", ("1",))


@pytest.mark.parametrize(
    ("given", "devices", "needed"),
    [
        ("0,1", {"processes": 2, "sharding": "ddp"}, None),
        ("0,1", {"processes": 3, "sharding": "ddp"}, 3),
        ("0,1,2", server(processes=2), None),
        ("0", server(processes=1), 2),
        ("0", server(processes=1, memory_share=0.4), None),
        ("0,1", server(processes=2, memory_share=0.4, replicas=3), 5),
        ("0,1,2,3", server(processes=1, replicas=2, tensor_parallel=2), 5),
        ("0", {"engine": {"kind": "server"}}, None),
        ("", server(processes=4), None),
    ],
)
def test_more_gpus_than_there_are_end_the_run_before_it_starts(given, devices, needed):
    layout = {"devices": devices}
    if needed is None:
        require_enough("rl", layout, {VARIABLE: given})
        return
    with pytest.raises(BadInput, match=f"stages.rl.devices: .* need {needed} GPUs, and .*{given}"):
        require_enough("rl", layout, {VARIABLE: given})
