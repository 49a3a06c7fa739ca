"""`uphill serve`: hands over to vLLM's OpenAI-compatible server on a checkpoint."""

import errno
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from common.errors import BadInput
from pipeline.checkout import ROOT
from pipeline.cli.output import print_text
from pipeline.cli.served_model import ServedModel

HOST = "127.0.0.1"
OURS = ("--host", "--port", "--model", "--served-model-name", "--max-model-len", "--dtype")
"""Options of vLLM that uphill gives itself."""


def serve(model: ServedModel, port: int, more: Sequence[str]) -> NoReturn:
    """Print where the server will be and become it. BadInput where the port is taken, or an option
    for vLLM is one that uphill gives."""
    require_own(more)
    require_free(port)
    print_text(notice(model.name, port))
    os.execve(sys.executable, command(model, port, more), environment(os.environ))


def command(model: ServedModel, port: int, more: Sequence[str]) -> list[str]:
    """The words of the server's command."""
    return [
        *(sys.executable, "-P", "-m", "rollouts.talk.openai_server", str(model.folder)),
        *("--name", model.name, "--host", HOST, "--port", str(port)),
        *("--dtype", model.rollouts.dtype, "--max-model-len", str(model.rollouts.max_model_len)),
        *(("--", *more) if more else ()),
    ]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The server's environment: with our packages on Python's path, wherever it is started."""
    paths = [str(ROOT), *filter(None, given.get("PYTHONPATH", "").split(os.pathsep))]
    return {**given, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))}


def require_own(more: Sequence[str]) -> None:
    """BadInput for options after `--` that uphill gives itself, which vLLM would take twice."""
    for word in more:
        name = word.partition("=")[0].replace("_", "-")
        if name in OURS:
            raise BadInput(
                f"{name} is among the options for vLLM, and uphill gives it",
                "give --port and --max-model-len before `--`, and leave the others out",
            )


def require_free(port: int) -> None:
    """BadInput where another program has the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            reason = "another program has it" if taken else str(error.strerror)
            raise BadInput(f"port {port} of {HOST}: {reason}", "give another --port") from None


def notice(name: str, port: int) -> str:
    """Where the server will be, and an example."""
    url = f"http://{HOST}:{port}/v1"
    body = {"model": name, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
    request = shlex.quote(json.dumps(body))
    return (
        f"{name} will be at {url} (OpenAI-compatible); Ctrl-C ends it. Once vLLM has started:\n\n"
        f"curl {url}/chat/completions -H 'Content-Type: application/json' -d {request}\n"
    )
