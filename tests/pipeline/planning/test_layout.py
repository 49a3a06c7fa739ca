"""`uphill plan` on processes and servers: what starts where, and the memory of each."""

import json

import pytest

from builders.memory_recipes import RECIPE, loaded, written
from common.devices import DevicesConfig
from models import sizes
from models.memory import Memory, on_rank, on_server
from pipeline.planning.memory import memory_of, memory_view

SERVERS = "{kind: server, replicas: 2, tensor_parallel: 2}"


def plan(**devices):
    """The memory view of the recipe with these devices, its nano dimensions, and the memory of
    whole stages."""
    given = [f"runtime.devices.{name}={value}" for name, value in devices.items()]
    recipe = loaded(RECIPE, given)
    nano = sizes.dimensions_of(recipe.model)
    return memory_view(recipe, "h100-80gb")["layouts"], nano, memory_of(recipe, nano)


def devices_of(**fields):
    return DevicesConfig.model_validate(fields)


def gib(size):
    return round(size / 2**30, 3)


def test_one_process_holds_everything_and_nothing_else_starts(folder):
    layouts, _, memory = plan()
    assert layouts["prompts"] is None and layouts["base"] is None
    for stage in ("filter", "sft", "rl", "dpo", "eval-dpo"):
        assert layouts[stage]["gpus"] == 1 and "by_server_gpu" not in layouts[stage]
        assert layouts[stage]["by_process"]["total_gib"] == gib(memory[stage].total())
    assert layouts["rl"]["engine"] == {"kind": "in_process", "memory_share": 0.4}
    assert layouts["sft"]["engine"] is None and layouts["filter"]["trainer"] is None


def test_fsdp2_divides_what_trains_and_a_server_takes_the_engine(folder):
    layouts, nano, memory = plan(processes=4, sharding="fsdp2", engine=SERVERS)
    whole = memory["rl"]
    device = devices_of(processes=4, sharding="fsdp2", engine={"kind": "server"})
    rank = on_rank(whole, nano, device)
    assert rank.weights * 4 == pytest.approx(whole.weights, abs=4)
    assert rank.optimizer * 4 == pytest.approx(whole.optimizer, abs=4)
    assert rank.engine == rank.kv_cache_at_most == 0
    assert layouts["rl"]["by_process"]["total_gib"] == gib(rank.total())
    assert layouts["rl"]["gpus"] == 4 + 2 * 2 and layouts["eval-dpo"]["gpus"] == 2 * 2
    assert "by_process" not in layouts["eval-dpo"]
    server = on_server(whole, 2, nano.kv_heads)
    assert layouts["rl"]["by_server_gpu"]["total_gib"] == gib(server.total())
    assert server == Memory(engine=whole.engine // 2, kv_cache_at_most=whole.kv_cache_at_most // 2)


def test_what_is_put_together_for_a_pass_depends_on_the_precision(folder):
    _, nano, memory = plan()
    full = memory["sft"]  # trains all weights
    dense, moe = sizes.layers(nano)[:2]  # in turn
    rest, largest = sizes.outside_layers(nano), max(sizes.layers(nano))
    exact = on_rank(full, nano, devices_of(processes=2, sharding="fsdp2"))
    assert exact.copies == (rest + dense + moe) * 4 + largest * 8
    half = on_rank(full, nano, devices_of(processes=2, sharding="fsdp2", precision="bfloat16"))
    assert half.copies == (rest + dense + moe) * 2 + largest * 6
    frozen = Memory(weights=full.weights, gradients=400)
    few = on_rank(frozen, nano, devices_of(processes=2, sharding="fsdp2"))
    assert few.copies == (rest + dense + moe) * 4 + 100 * 8
    alone = on_rank(full, nano, devices_of(precision="bfloat16"))
    assert alone.copies == 2 * sizes.total(nano) and alone.weights == full.weights


def test_ddp_divides_nothing_and_holds_the_gradients_twice(folder):
    _, nano, memory = plan()
    rank = on_rank(memory["sft"], nano, devices_of(processes=2, sharding="ddp"))
    assert rank.weights == memory["sft"].weights and rank.optimizer == memory["sft"].optimizer
    assert rank.gradients == 2 * memory["sft"].gradients


def test_a_cache_is_divided_as_far_as_there_are_heads():
    stage = Memory(engine=80, kv_cache_at_most=80)
    assert on_server(stage, 8, 2) == Memory(engine=10, kv_cache_at_most=40)


def test_servers_elsewhere_take_nothing_here(folder):
    engine = "{kind: remote, urls: ['http://10.0.0.2:8000'], weights_dir: /mnt/weights}"
    layouts, _, _ = plan(engine=engine)
    assert layouts["rl"]["gpus"] == 1 and layouts["eval-dpo"]["gpus"] == 0
    assert "by_server_gpu" not in layouts["rl"]
    assert layouts["rl"]["by_process"]["engine_gib"] == 0


def test_the_plan_says_what_starts_where(folder, uphill):
    devices = f"{{processes: 8, sharding: fsdp2, launcher: [srun], engine: {SERVERS}}}"
    text = RECIPE.replace("nano", "scout") + f"runtime: {{devices: {devices}}}\n"
    out = uphill("plan", written(text))[1]
    rows = {
        line.split()[0]: line
        for line in out[out.index("what starts where") :].splitlines()
        if line.strip()
    }
    assert "8 processes, float32, fsdp2, by srun  2 servers, TP 2  12 " in rows["rl"]
    assert rows["rl"].endswith("no") and rows["filter"].endswith("yes")
    document = json.loads(uphill("plan", written(text), "--json")[1])
    (rl,) = (stage for stage in document["stages"] if stage["id"] == "rl")
    assert rl["layout"]["trainer"]["launcher"] == ["srun"]
    assert rl["layout"]["by_process"]["fits"] is False
