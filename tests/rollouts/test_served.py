"""vLLM servers as the rollout engine: what they answer is what the engine in process answers, in
every run the same, from the weights that were published, to those who know the secret.

Two servers for the whole module; each test has a pool of its own over them, and gives them the
checkpoint's weights first."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from builders.contexts import stage_context
from builders.processes import children, cmdline, engine_process, gone
from common.devices import DevicesConfig, Servers, ServerUrls
from common.errors import BadInput, RunFailed
from common.execution import ExecutionConfig
from models.adapters import policy_weights
from models.checkpoint import load_policy, load_tokenizer, save_policy
from models.nano import nano_model, nano_tokenizer
from models.routing import differing, routing
from rollouts import parity
from rollouts.config import RolloutConfig
from rollouts.served import ABOUT, PUBLISH, RUN, together
from rollouts.served.pool import ServedEngine
from rollouts.start import start_engine

ROOT = Path(__file__).parents[2]
ROLLOUTS = RolloutConfig(max_model_len=96)
SAMPLING: dict[str, Any] = {"temperature": 1.0, "max_tokens": 12, "seeds": list(range(8))}
SAMPLING["samples"] = [3, 1, 2, 6, 2, 4, 3, 5]
IN_PROCESS = """
import json, sys
from pathlib import Path
from rollouts.config import RolloutConfig
from rollouts.engine import Engine
engine = Engine(Path(sys.argv[1]), RolloutConfig(max_model_len=96), seed=0)
groups = engine.generate(json.loads(sys.argv[2]), **json.loads(sys.argv[3]))
rows = [[[r.token_ids, r.logprobs, r.text, r.finish] for r in group] for group in groups]
print(json.dumps(rows))
engine.close()
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "checkpoint"
    save_policy(nano_model(nano_tokenizer(), seed=11), nano_tokenizer(), folder)
    return folder


@pytest.fixture(scope="module")
def prompts(checkpoint):
    chats = [[{"role": "user", "content": f"{i} + {i * 37} ="}] for i in range(8)]
    tokenizer = load_tokenizer(checkpoint)
    return [
        tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        for chat in chats
    ]


@pytest.fixture(scope="module")
def in_process(checkpoint, prompts):
    """The engine in process, in a process of its own, which starts beside the servers."""
    settings = json.dumps(SAMPLING)
    command = [sys.executable, "-c", IN_PROCESS, str(checkpoint), json.dumps(prompts), settings]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.fixture(scope="module")
def servers(in_process, checkpoint, tmp_path_factory):
    devices = DevicesConfig(engine=Servers(kind="server", replicas=2))
    context = stage_context(
        tmp_path_factory.mktemp("logs"), execution=ExecutionConfig(devices=devices)
    )
    engine: Any = start_engine(checkpoint, ROLLOUTS, 0, context)
    yield engine._servers
    engine.close()


@pytest.fixture
def pool(servers, checkpoint):
    """Makes an engine over the named servers that has the checkpoint's weights as version 0."""

    def make(*numbers, note=print):
        engine = ServedEngine([servers[n] for n in numbers], checkpoint, ROLLOUTS, None, note)
        engine.publish(policy_weights(load_policy(checkpoint)), 0)
        return engine

    return make


def ids(groups):
    return [[rollout.token_ids for rollout in group] for group in groups]


def moved(checkpoint, size=0.02):
    """The checkpoint's policy, some steps further."""
    policy = load_policy(checkpoint).eval()
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter) * size)
    return policy


def test_groups_are_those_of_the_engine_in_process(pool, in_process, prompts):
    expected = json.loads(in_process.communicate()[0].splitlines()[-1])
    groups = pool(0).generate(prompts, **SAMPLING)
    for group, ones in zip(groups, expected, strict=True):
        for rollout, (token_ids, logprobs, text, finish) in zip(group, ones, strict=True):
            assert (rollout.token_ids, rollout.text, rollout.finish) == (token_ids, text, finish)
            assert rollout.logprobs == pytest.approx(logprobs, abs=1e-5)


def test_a_chunk_asked_again_has_the_same_bits_and_two_servers_sample_the_same(pool, prompts):
    one, two = pool(0), pool(0, 1)
    groups = two.generate(prompts, **SAMPLING)
    assert two.generate(prompts, **SAMPLING) == groups
    assert ids(one.generate(prompts, **SAMPLING)) == ids(groups)
    few = two.generate(prompts[:1], **(SAMPLING | {"samples": 3, "seeds": [0]}))
    assert ids(few) == ids(groups)[:1]


def test_scores_of_prompts_that_begin_alike_are_those_of_computing_every_token(pool, prompts):
    start = (prompts[0] * 9)[:70]
    pair = [[*start, 8], start[:40], [*start, 9]], [[9, 10], [*start[40:], 5], [7]]
    engine = pool(0)
    for row, whole in zip(engine.score(*pair, cached=True), engine.score(*pair), strict=True):
        assert row == pytest.approx(whole, abs=1e-5)


def test_every_server_computes_with_what_was_published(pool, checkpoint, prompts):
    engine, policy = pool(0, 1), moved(checkpoint)
    sequences = prompts[:3], [prompt[2:9] for prompt in prompts[3:6]]
    assert parity.check(engine, policy, *sequences).mean > 0.1
    engine.publish(policy_weights(policy), 3)
    assert engine.version == 3
    assert parity.check(engine, policy, *sequences).mean < 1e-6
    for row, own in zip(engine.score(*sequences), engine.score_each(*sequences)[0], strict=True):
        assert row == pytest.approx(own, abs=1e-5)
    whole = [p + c for p, c in zip(*sequences, strict=True)]
    assert differing(engine.routing(whole), routing(policy, whole)) == 0.0
    both = engine.next_token(prompts, [5, 9])
    with torch.no_grad():
        logits = policy(input_ids=torch.tensor([prompts[7]])).logits[0, -1].log_softmax(-1)
    assert both[7] == pytest.approx(logits[[5, 9]].tolist(), abs=1e-5)


def test_weights_that_somebody_else_gave_a_server_are_noticed(pool, checkpoint, prompts):
    engine, other = pool(0, 1), pool(1)
    other.publish(policy_weights(moved(checkpoint)), 0)
    with pytest.raises(RunFailed, match=r"server 1 .* answers with weights of version '0'"):
        engine.generate(prompts, **SAMPLING)


def test_parity_is_that_of_the_worst_server(pool, checkpoint, prompts):
    engine, other = pool(0, 1), pool(1)
    policy = moved(checkpoint)
    other.publish(policy_weights(policy), 1)
    engine._weights = other._weights
    engine._require_present = lambda *_: None  # as if server 0 lied about its weights
    gap = parity.check(engine, policy, prompts[:2], [prompt[2:9] for prompt in prompts[:2]])
    with pytest.raises(RunFailed, match="on server 0"):
        parity.require(gap, 1e-4, "after publishing version 1")


def test_weights_with_another_checksum_are_refused_and_the_old_ones_stay(pool, prompts):
    engine = pool(0)
    before, file = engine.generate(prompts, **SAMPLING), engine._handover
    question = {"path": str(file.path), "checksum": "0" * 64, "version": 7}
    with pytest.raises(RunFailed, match="checksum"):
        engine._servers[0].client.ask(PUBLISH, question)
    assert engine.generate(prompts, **SAMPLING) == before


def call(port, method, path, secret=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    body = b"{}" if method in ("POST", "PUT", "PATCH") else None
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    return response.status, response.read()


def test_no_path_answers_without_the_secret(pool, servers, prompts):
    engine, port, secret = pool(0), servers[0].port, servers[0].secret
    before = engine.generate(prompts, **SAMPLING)
    known = json.loads(call(port, "GET", "/openapi.json", secret)[1])["paths"]
    assert {"/health", "/update_weights", "/pause", "/v1/completions"} <= known.keys()
    asked = [(method.upper(), path) for path in known for method in known[path]]
    asked += [("GET", path) for path in ("/", "/docs", "/metrics", "/openapi.json", ABOUT, "/x")]
    asked += [("POST", RUN), ("POST", PUBLISH), ("OPTIONS", "/v1/completions"), ("HEAD", "/ping")]
    for wrong in (None, "", secret[:-1], secret + "0"):
        assert {call(port, *one, wrong)[0] for one in asked} == {401}
    assert engine.generate(prompts, **SAMPLING) == before


LONG = SAMPLING | {"samples": 16, "max_tokens": 64}


def test_a_paused_server_is_named_and_waited_for(pool, servers, prompts, monkeypatch):
    monkeypatch.setattr(together, "QUIET", 2.5)
    notes = list[str]()
    engine = pool(0, 1, note=notes.append)
    groups = engine.generate(prompts, **SAMPLING)
    for paused in (servers[0].child.pid, engine_process(servers[1])):
        os.kill(paused, signal.SIGSTOP)
        threading.Timer(4.0, os.kill, (paused, signal.SIGCONT)).start()
        assert engine.generate(prompts, **SAMPLING) == groups
    assert any("server 0 has not answered for" in note for note in notes)
    assert any("server 1 has not answered for" in note for note in notes)


def test_a_killed_server_is_started_again_and_answers_the_same(pool, servers, checkpoint, prompts):
    notes = list[str]()
    engine = pool(0, 1, note=notes.append)
    engine.publish(policy_weights(moved(checkpoint)), 4)
    groups = engine.generate(prompts, **LONG)
    before = [servers[0].child.pid, engine_process(servers[0])]
    threading.Timer(0.3, os.kill, (before[0], signal.SIGKILL)).start()
    assert engine.generate(prompts, **LONG) == groups
    assert len(notes) == 1 and notes[0].startswith("server 0 is gone")
    assert gone(before)
    assert not any(path.is_socket() for path in servers[0].private.iterdir())


def at_address(server, folder):
    """The context of a stage that is given the server's address."""
    engine = ServerUrls(kind="remote", urls=(server.client.url,), weights_dir=str(folder))
    return stage_context(folder, execution=ExecutionConfig(devices=DevicesConfig(engine=engine)))


def test_a_server_by_address_gets_the_checkpoint(
    pool, servers, checkpoint, prompts, tmp_path, monkeypatch
):
    groups = pool(0).generate(prompts, **SAMPLING)
    pool(0).publish(policy_weights(moved(checkpoint)), 9)
    context = at_address(servers[0], tmp_path)
    monkeypatch.setenv("UPHILL_SERVER_SECRET", servers[0].secret)
    engine = start_engine(checkpoint, ROLLOUTS, 0, context)
    assert engine.generate(prompts, **SAMPLING) == groups
    assert list(tmp_path.iterdir()) == []
    engine.close()
    assert servers[0].child.poll() is None


def test_a_server_by_address_that_serves_something_else_is_refused(
    servers, checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setenv("UPHILL_SERVER_SECRET", servers[0].secret)
    other = tmp_path / "other"
    save_policy(nano_model(nano_tokenizer(), seed=11), nano_tokenizer(), other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 6}))
    context = at_address(servers[0], tmp_path)
    with pytest.raises(BadInput, match="num_hidden_layers is 4, the stage needs 6"):
        start_engine(other, ROLLOUTS, 0, context)
    longer = RolloutConfig(max_model_len=97)
    with pytest.raises(BadInput, match="max_model_len is 96"):
        start_engine(checkpoint, longer, 0, context)
    monkeypatch.setenv("UPHILL_SERVER_SECRET", "wrong")
    with pytest.raises(BadInput, match="refuses the secret"):
        start_engine(checkpoint, ROLLOUTS, 0, context)


STARTS = """
import sys, time
from pathlib import Path
from common.devices import ServerPlace
from common.starter import Starter
from rollouts.served.process import OwnServer
words, log, place = [sys.argv[1]], Path(sys.argv[2]), ServerPlace(1, (0,))
server = OwnServer("server 0", words, "0" * 16, place, log, Starter(), 9.0)
server.start()
print(server.child.pid, flush=True)
time.sleep(600)
"""


def test_a_server_that_starts_ends_with_its_stage(checkpoint, tmp_path):
    command = [sys.executable, "-c", STARTS, str(checkpoint), str(tmp_path / "log")]
    stage = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert stage.stdout is not None
    server = int(stage.stdout.readline())
    while not (started := [c for c in children(server) if "spawn_main" in cmdline(c)]):
        assert Path(f"/proc/{server}").exists()
        time.sleep(0.1)
    stage.kill()
    assert gone([server, *started])
    stage.wait()
