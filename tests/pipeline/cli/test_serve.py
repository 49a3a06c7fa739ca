"""`uphill serve`: the command that it hands over to, and a real server that answers."""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from typing import Any

import openai
import pytest

from builders.command_line import pretend
from builders.nano_policies import TOKENIZER, nano
from builders.nano_runs import ROOT
from builders.processes import children, gone
from models.checkpoint import save_policy
from rollouts.talk.openai_server import arguments, parsed


@pytest.fixture
def handed(folder, uphill, monkeypatch):
    """Runs `uphill serve`; gives the exit code, what was printed and the command that it became."""
    pretend({"base": 2, "sft": 2, "more": 2})
    became = []

    def execve(path, words, environment):
        became.append((words, environment))
        raise SystemExit(0)

    monkeypatch.setattr(os, "execve", execve)
    return lambda *words: (*uphill("serve", *words), became[-1] if became else None)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_command_names_checkpoint_model_port_and_what_is_vllms(handed, tmp_path):
    port = str(free_port())
    words = ("small:sft", "--port", port, "--max-model-len", "128", "--", "--api-key", "x y")
    code, out, _, (command, environment) = handed(*words)
    assert code == 0 and command[:4] == [sys.executable, "-P", "-m", "rollouts.talk.openai_server"]
    options, more = parsed(command[4:])
    assert options.checkpoint == str(tmp_path / "runs/small/03-sft/checkpoint")
    assert (options.name, options.host, options.port) == ("small-sft", "127.0.0.1", int(port))
    assert (options.dtype, options.max_model_len) == ("float32", 128)
    assert more == ["--api-key", "x y"]
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT.resolve())
    example = shlex.split(out.split("\n\n")[1])
    assert example[1] == f"http://127.0.0.1:{port}/v1/chat/completions"
    assert json.loads(example[-1])["model"] == "small-sft"


@pytest.mark.parametrize("word", ["--port=1", "--host", "--served_model_name"])
def test_an_option_that_uphill_gives_is_refused(handed, word):
    code, _, err, became = handed("small", "--", word)
    assert code == 2 and "among the options for vLLM" in err and became is None


def test_a_port_that_is_taken_is_refused(handed):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, _, err, became = handed("small", "--port", str(taken.getsockname()[1]))
    assert code == 2 and "another program has it" in err and became is None


def test_a_gpu_has_vllms_own_defaults():
    options, _ = parsed(["folder", "--name", "n", "--port", "1"])
    on_cpu, on_gpu = arguments(options, False), arguments(options, True)
    assert "--enforce-eager" in on_cpu and on_cpu[on_cpu.index("--block-size") + 1] == "32"
    assert "--enforce-eager" not in on_gpu and "--block-size" not in on_gpu


def test_a_folder_is_served_and_the_server_ends_with_all_that_it_started(tmp_path):
    folder, port = tmp_path / "nano", free_port()
    save_policy(nano(), TOKENIZER, folder)
    words = [sys.executable, "-m", "pipeline", "serve", str(folder), "--port", str(port)]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(words, cwd=ROOT, stdout=log, stderr=log)
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)
    try:
        wait_until_it_answers(server, client)
        chat: Any = [{"role": "user", "content": "reverse abc"}]
        reply: Any = client.chat.completions.create(model="nano", messages=chat, max_tokens=4)
        assert reply.usage.completion_tokens in range(1, 5)
        started = children(server.pid)
    finally:
        server.kill()
        server.wait()
    assert started and gone(started)


def wait_until_it_answers(server, client, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert server.poll() is None
        try:
            client.models.list()
            return
        except openai.APIConnectionError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")
