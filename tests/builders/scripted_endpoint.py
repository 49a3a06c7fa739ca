"""A chat endpoint on this machine that follows a script, judges behind it, and what it answers."""

import http.server
import json
import threading
from contextlib import contextmanager
from typing import Any

from builders.scripted_judge import PROMPTS
from judges.backend import BackendMonitor, SamplingRequest
from judges.config import AttemptsJudge, PairwiseJudge, RubricJudge
from judges.endpoint import EndpointBackend


def judge_at(url, kind=AttemptsJudge, **more):
    """A judge behind `url` that does not wait for an unreachable endpoint."""
    settings: dict[str, Any] = {"attempts": 4, "max_tokens": 8} if kind is AttemptsJudge else {}
    name = {AttemptsJudge: "attempts", RubricJudge: "rubric", PairwiseJudge: "pairwise"}[kind]
    settings |= {"kind": name, "url": url, "model_name": "judge", "patience_s": 0}
    return kind(**(settings | more))


def backend_at(url, notes, kind=AttemptsJudge, **config):
    """A backend on the endpoint at `url` that appends its notes to `notes`."""
    return EndpointBackend(judge_at(url, kind, **config), BackendMonitor(note=notes.append))


def sampling_request(prompt=PROMPTS[0], samples=3, max_tokens=32):
    return SamplingRequest(prompt.messages, samples, 0.5, max_tokens, 11)


def only_completion(answer, **config):
    """The completion from an endpoint that always sends `answer`, or the result of calling it."""
    with endpoint(answer if callable(answer) else lambda request: answer) as (url, _):
        return EndpointBackend(judge_at(url, **config)).sample([sampling_request(samples=1)])[0][0]


@contextmanager
def endpoint(answer):
    """A chat endpoint on this machine; `answer(request)` gives (status, JSON value). Yields (URL,
    requests)."""
    requests: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            requests.append(request | {"key": self.headers["authorization"]})
            status, value = answer(request)
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # requests beyond the queue would wait for a second

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()


def response(message, finish="stop", **more):
    """A chat completion with one choice."""
    return 200, {"choices": [{"message": message, "finish_reason": finish}]} | more


def openai_error(message, param, code="unsupported_value"):
    """A refusal of a parameter in the form that OpenAI gives it."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return 400, {"error": error}


def token_entry(token, *likeliest):
    """A token with log-probabilities; `likeliest` are (token, log-probability)."""
    top = [{"token": name, "logprob": value} for name, value in likeliest]
    return {"token": token, "logprob": likeliest[0][1] if likeliest else -0.1, "top_logprobs": top}


def completion(request, text="7", finish="stop", **more):
    choices = [{"message": {"content": text}, "finish_reason": finish}] * request.get("n", 1)
    return 200, {
        "choices": choices,
        "usage": {"prompt_tokens": 3, "completion_tokens": len(choices)},
    } | more


def vllm(request):
    """Answers like vLLM: three prompt tokens, then the reference's two."""
    if "prompt_logprobs" not in request:
        return completion(request)
    entries = [
        None,
        {"1": {"logprob": -9.0}},
        {"2": {"logprob": -9.0}},
        {"3": {"logprob": -1}},
        {"4": {"logprob": -2}},
    ]
    return completion(request, prompt_logprobs=entries)


def rating(request):
    """Rates and compares by the number in the task: a larger number is harder."""
    content = request["messages"][0]["content"]
    numbers = [int(line[5:]) for line in content.split("\n") if line.startswith("say p")]
    if "Harder:" in content:
        return response({"content": "A" if numbers[0] > numbers[1] else "B"})
    return response({"content": f"Rating: {1 + numbers[0] // 4}"})
