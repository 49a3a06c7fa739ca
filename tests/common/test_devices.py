"""How the cores of a machine are divided among training processes and servers."""

import pytest

from common.devices import Cores, DevicesConfig, Share, cores_of, placed


def layout(processes=1, replicas=0, cores=None):
    engine = {"kind": "server", "replicas": replicas, "cores": cores}
    return DevicesConfig.model_validate(
        {"processes": processes, **({"engine": engine} if replicas else {})}
    )


@pytest.mark.parametrize(
    ("processes", "replicas", "cores", "threads", "trainer", "server"),
    [
        (1, 0, None, 8, 8, 0),
        (2, 0, None, 8, 4, 0),
        (3, 0, None, 8, 2, 0),
        (4, 0, None, 2, 1, 0),
        (1, 1, None, 2, 1, 1),
        (1, 1, None, 8, 4, 4),
        (2, 2, None, 8, 2, 2),
        (2, 1, 2, 8, 3, 2),
        (1, 2, 3, 8, 2, 3),
        (1, 1, 8, 4, 1, 8),
        (2, 2, None, 2, 1, 1),
    ],
)
def test_threads_are_divided(processes, replicas, cores, threads, trainer, server):
    assert cores_of(layout(processes, replicas, cores), threads) == Share(trainer, server)


def test_of_several_machines_each_divides_its_own():
    assert cores_of(layout(processes=16), 8, processes=4) == Share(2)


def test_trainers_have_the_first_cores_and_servers_the_last():
    assert placed(layout(2, 2, 1), 6, {7, 1, 2, 3, 5, 6}) == Cores(((1, 2), (3, 5)), ((6,), (7,)))
    assert placed(layout(1, 1, 2), 4, range(8)) == Cores(((0, 1),), ((6, 7),))
    assert placed(layout(2), 5, range(5)) == Cores(((0, 1), (2, 3)), ())


@pytest.mark.parametrize(
    ("devices", "threads", "allowed"),
    [(layout(), 4, range(4)), (layout(3), 2, range(2)), (layout(1, 1, 8), 4, range(4))],
    ids=["one process", "more processes than cores", "a server with more than there are"],
)
def test_without_a_core_for_each_none_is_bound(devices, threads, allowed):
    assert placed(devices, threads, allowed) == Cores()
