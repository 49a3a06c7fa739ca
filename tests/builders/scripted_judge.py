"""Judges that follow a script, for the tests of the judge filter: an engine in memory and a chat
endpoint."""

import http.server
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass

from builders.engine_double import EngineDouble
from judges.ask import Asking, judge_prompts
from judges.attempts import Attempts
from judges.cache import Cache
from judges.config import AttemptsJudge, PairwiseJudge, RubricJudge
from judges.engine import EngineBackend
from prompts.schema import Prompt
from rewards.grade import Grade

JUDGE = AttemptsJudge(kind="attempts", model="m", attempts=4, max_tokens=8)


def prompt(id, answer="7", capability="c"):
    return Prompt(
        id, [{"role": "user", "content": f"say {id}"}], answer, "exact", capability, "s", None, {}
    )


PROMPTS = [prompt(f"p{n}") for n in range(10)]


@dataclass
class Rollout:
    token_ids: list[int]
    text: str
    finish: str


class ScriptedEngine(EngineDouble):
    """Says "7" when prompt id and seed tell it to; every text is one token a character."""

    max_model_len = 32

    def __init__(self):
        self.asked = []

    def encode(self, messages):
        return list(messages[-1]["content"].encode())

    def encode_text(self, text):
        return list(text.encode())

    def generate(self, prompts, *, samples, temperature, max_tokens, seeds, top_p=1.0):
        self.asked += [bytes(ids).decode() for ids in prompts]
        texts = [
            ["7" if (seed >> place) & 1 else "no" for place in range(samples)] for seed in seeds
        ]
        return [[Rollout(list(text.encode()), text, "stop") for text in one] for one in texts]

    def next_token(self, prompts, tokens):
        """The longer the prompt the likelier the first token."""
        return [[-1.0, *[-1.0 - len(ids) / 100] * (len(tokens) - 1)] for ids in prompts]

    def close(self):
        self.closed = True

    def score(self, prompts, completions):
        return [
            [-float(len(ids))] * len(answer)
            for ids, answer in zip(prompts, completions, strict=True)
        ]


def grade(prompt, completion):
    return Grade(float(completion == prompt.answer), None, completion)


def asking(folder, **more):
    """What surrounds the questions of a stage in `folder`; its cache is in memory unless given."""
    plain = {"cache": Cache(None), "identity": "who", "began": folder / "began.json"}
    return Asking(
        **(
            plain
            | {"progress": lambda *_, **__: None, "stop_requested": lambda: False, "chunk": 4}
            | more
        )
    )


def ask(folder, prompts=PROMPTS, source=None, grade=grade, config=JUDGE, **more):
    """The verdicts of an `attempts` judge."""
    judge = Attempts(config, source or EngineBackend(ScriptedEngine()), grade)
    return judge_prompts(prompts, judge, asking(folder, **more))


def judge_at(url, kind=AttemptsJudge, **more):
    """A judge behind `url` that waits for nothing."""
    plain = {"attempts": 4, "max_tokens": 8} if kind is AttemptsJudge else {}
    name = {AttemptsJudge: "attempts", RubricJudge: "rubric", PairwiseJudge: "pairwise"}[kind]
    return kind(
        **({"kind": name, "url": url, "model_name": "judge", "patience_s": 0} | plain | more)
    )


@contextmanager
def endpoint(answer):
    """A chat endpoint on this machine; `answer(request)` gives (status, JSON value). Yields (URL,
    requests)."""
    requests = []

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
        request_queue_size = (
            64  # as many at once as a test asks; more than the queue holds wait a second
        )

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
    finally:
        server.shutdown()
        server.server_close()


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
    """Rates by the number in the task: the higher the harder."""
    content = request["messages"][0]["content"]
    if "Harder:" in content:
        one, other = (int(line[5:]) for line in content.split("\n") if line.startswith("say p"))
        return 200, {
            "choices": [
                {"message": {"content": "A" if one > other else "B"}, "finish_reason": "stop"}
            ]
        }
    number = int(next(line for line in content.split("\n") if line.startswith("say p"))[5:])
    return 200, {
        "choices": [{"message": {"content": f"Rating: {1 + number // 4}"}, "finish_reason": "stop"}]
    }
