"""The file in which new weights are handed over."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from common.errors import BadInput, RunFailed
from rollouts.served import handover
from rollouts.served.handover import Handover, checksum_of, tensors

WEIGHTS = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "scale": torch.tensor(2.5, dtype=torch.bfloat16),
    "b.weight": torch.arange(8.0).reshape(2, 4).T,  # not contiguous
    "empty": torch.zeros(0, 3),
}


@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_read_is_what_was_written(tmp_path, on_disk):
    with Handover(tmp_path if on_disk else None).write(WEIGHTS.items()) as file:
        read = dict(tensors(file.path))
        assert list(read) == list(WEIGHTS)
        for name, tensor in WEIGHTS.items():
            assert read[name].dtype == tensor.dtype and torch.equal(read[name], tensor)
        assert checksum_of(read.items()) == checksum_of(WEIGHTS.items()) == file.checksum
        assert load_file(file.path).keys() == WEIGHTS.keys()
    assert list(tmp_path.iterdir()) == [] and not os.path.exists(file.path)


@pytest.mark.parametrize(
    "change",
    [
        {"a.weight": torch.zeros(2, 3)},
        {"a.weight": WEIGHTS["a.weight"].reshape(3, 2)},
        {"a.weight": WEIGHTS["a.weight"].to(torch.float64)},
        {"other": torch.zeros(1)},
    ],
)
def test_the_checksum_tells_other_values_shapes_dtypes_and_names(change):
    assert checksum_of((WEIGHTS | change).items()) != checksum_of(WEIGHTS.items())


def test_tensors_are_taken_one_at_a_time():
    alive, most = [0], [0]

    class Counted:
        def __init__(self):
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    def made():
        for number in range(5):
            tensor: Any = torch.ones(3)
            tensor.counted = Counted()
            yield f"t{number}", tensor
            del tensor

    with Handover(None).write(made()):
        assert most[0] <= 2


READS = """
import sys
from rollouts.served.handover import checksum_of, tensors
print(checksum_of(tensors(sys.argv[1])))
"""


def test_another_process_reads_the_memory():
    with Handover(None).write(WEIGHTS.items()) as file:
        command = [sys.executable, "-c", READS, str(file.path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == file.checksum


def test_a_folder_that_is_not_there_is_the_users_to_correct(tmp_path):
    with pytest.raises(BadInput, match="weights cannot be handed over"):
        Handover(tmp_path / "missing")


def test_more_names_than_the_header_has_room_for(monkeypatch):
    monkeypatch.setattr(handover, "HEADER_BYTES", 64)
    with Handover(None) as file, pytest.raises(RunFailed, match="more than the 64 of a handover"):
        file.write(WEIGHTS.items())
