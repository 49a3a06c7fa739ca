"""The rollout engine on several servers, each with the whole policy.

The prompts of a call are divided into contiguous parts, one per server, with about as many
sequences each, and not by load: which sequences are computed together decides the last bits of
their log-probabilities, so the division has to be the same in every run, however fast each server
is.

Every answer says which weights gave it, by version and checksum. A server that ends is started
again, gets the present weights and is asked the same part again. One that is silent is named to the
user, and given up after a limit."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from common.errors import RunFailed
from models.chat import encode_chat, encode_text
from rollouts import sampling
from rollouts.config import RolloutConfig
from rollouts.held import Published
from rollouts.interface import UNPUBLISHED, Rollout, RolloutEngine
from rollouts.served import PUBLISH, RUN
from rollouts.served.client import Answer, ServerClient, ServerGone
from rollouts.served.handover import Handover, checkpoint_tensors
from rollouts.served.together import together

RESTARTS = 3
"""Times in a row that a server is started again for the same question."""
FROM_CHECKPOINT = {"version": "default", "checksum": ""}
"""What a server says of the weights that it was started with."""


class Server(Protocol):
    """One server, of our own or of somebody else's."""

    name: str
    client: ServerClient

    def recover(self) -> None:
        """Make a server that ended answer again, with whatever weights. ServerGone if it ended
        again, RunFailed if it cannot."""
        ...

    def close(self) -> None:
        """End it, if it is our own."""
        ...


class ServedEngine(RolloutEngine):
    """A pool of servers that have the same checkpoint."""

    def __init__(
        self,
        servers: Sequence[Server],
        checkpoint: Path,
        config: RolloutConfig,
        weights_dir: Path | None,
        note: Callable[[str], None],
    ) -> None:
        """`weights_dir`: where weights are handed over; None for servers on this machine."""
        from models.checkpoint import load_tokenizer

        self._servers, self._weights_dir, self._note = servers, weights_dir, note
        self._tokenizer: Any = load_tokenizer(checkpoint)
        self._config = config
        self._version, self._weights = UNPUBLISHED, dict(FROM_CHECKPOINT)
        self._handover: Handover | None = None
        self._published: Published | None = None
        self._closed = False

    @property
    def max_model_len(self) -> int:
        return self._config.max_model_len

    @property
    def version(self) -> int:
        return self._version

    def encode(self, messages: list[dict[str, str]]) -> list[int]:
        return encode_chat(self._tokenizer, messages)

    def encode_text(self, text: str) -> list[int]:
        return encode_text(self._tokenizer, text)

    def generate(
        self,
        prompts: Sequence[list[int]],
        *,
        samples: int | Sequence[int],
        temperature: float,
        max_tokens: int,
        seeds: Sequence[int],
        top_p: float = 1.0,
    ) -> list[list[Rollout]]:
        self._require_room(prompts, max_tokens)
        common = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        each = sampling.counts(samples, prompts)
        answers = self._divided(
            {"kind": "generate", **common}, each, prompts=prompts, seeds=seeds, samples=each
        )
        return [
            [
                sampling.rollout(self._tokenizer, prompt, sampling.Sampled(*one))
                for one in completions
            ]
            for prompt, completions in zip(prompts, answers, strict=True)
        ]

    def score(
        self,
        prompts: Sequence[list[int]],
        completions: Sequence[list[int]],
        *,
        cached: bool = False,
    ) -> list[list[float]]:
        self._require_room([p + c for p, c in zip(prompts, completions, strict=True)], 1)
        question = {"kind": "score", "cached": cached}
        return self._divided(question, prompts=prompts, completions=completions)

    def score_each(
        self, prompts: Sequence[list[int]], completions: Sequence[list[int]]
    ) -> list[list[list[float]]]:
        """What `score` returns, from every server: (servers, sequences, tokens)."""
        self._require_room([p + c for p, c in zip(prompts, completions, strict=True)], 1)
        question = {"kind": "score", "cached": False}
        question |= {"prompts": prompts, "completions": completions}
        return [answer["answers"] for answer in self._ask([question] * len(self._servers))]

    def next_token(self, prompts: Sequence[list[int]], tokens: Sequence[int]) -> list[list[float]]:
        self._require_room(prompts, 1)
        return self._divided({"kind": "next_token", "tokens": tokens}, prompts=prompts)

    def routing(self, sequences: Sequence[list[int]]) -> Tensor | None:
        import torch

        heard = self._divided({"kind": "routing"}, prompts=sequences)
        if any(one is None for one in heard):
            return None
        return torch.cat([torch.tensor(one) for one in heard], dim=1)

    def publish(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        """Replace the weights of all servers, as the interface says.

        The file of the weights is kept until the next: a server that is started again needs it."""
        self._published = None if self._config.exact else Published()
        self._hand_over(
            weights if self._published is None else self._published.noting(weights), version
        )

    def load(self, checkpoint: Path) -> None:
        """Give all servers the weights of a checkpoint, which may be of any architecture."""
        self._published = None
        self._hand_over(checkpoint_tensors(checkpoint), UNPUBLISHED)

    def _hand_over(self, weights: Iterable[tuple[str, Tensor]], version: int) -> None:
        self._forget()
        self._handover = Handover(self._weights_dir).write(weights)
        self._weights = {"version": str(version), "checksum": self._handover.checksum}
        self._together({server.name: partial(self._given, server) for server in self._servers})
        self._version = version
        if self._weights_dir is not None:
            self._forget()

    def close(self) -> None:
        self._closed = True
        for server in self._servers:
            server.close()
        self._forget()

    def _forget(self) -> None:
        if self._handover is not None:
            self._handover.close()
        self._handover = None

    def _divided(
        self, question: Answer, sizes: Sequence[int] | None = None, **lists: Sequence[Any]
    ) -> list[Any]:
        """The answers to a question about the items of `lists`, in their order. `sizes`: the
        sequences that each item asks for; one if not given."""
        servers = len(self._servers)
        ends = list(accumulate(sizes or [1] * len(next(iter(lists.values())))))
        total = ends[-1] if ends else 0
        bounds = [
            sum(end * servers <= total * number for end in ends) for number in range(servers + 1)
        ]
        parts = [
            {name: list(items[start:end]) for name, items in lists.items()}
            for start, end in pairwise(bounds)
        ]
        questions = [question | part if any(part.values()) else None for part in parts]
        return [one for answer in self._ask(questions) for one in answer["answers"]]

    def _ask(self, questions: Sequence[Answer | None]) -> list[Answer]:
        """The answer of each server to its question; servers without one are left out."""
        asked = zip(self._servers, questions, strict=True)
        return self._together(
            {
                server.name: partial(self._answered, server, question)
                for server, question in asked
                if question is not None
            }
        )

    def _together(self, jobs: Mapping[str, Callable[[], Answer]]) -> list[Answer]:
        clients = {server.name: server.client for server in self._servers}
        return together(jobs, lambda name: clients[name].silent_for(), self._note)

    def _answered(self, server: Server, question: Answer) -> Answer:
        """A server's answer from the present weights."""
        return self._persistently(server, lambda: server.client.ask(RUN, question))

    def _given(self, server: Server) -> Answer:
        """Give a server the present weights."""
        return self._persistently(server, lambda: self._give(server))

    def _give(self, server: Server) -> Answer:
        assert self._handover is not None
        file = {"path": str(self._handover.path), "checksum": self._handover.checksum}
        proven, version = self._published, self._weights["version"]
        question = file | {"version": version, "prove": proven is not None}
        answer = server.client.ask(PUBLISH, question)
        if proven is not None:
            proven.require(answer["held"], f"{server.name} ({server.client.url})")
        return answer

    def _persistently(self, server: Server, ask: Callable[[], Answer]) -> Answer:
        """What `ask` returns, said by the present weights. A server that ends is started again."""
        gone: ServerGone | None = None
        for _ in range(RESTARTS + 1):
            try:
                if gone is not None:
                    cause = str(gone).splitlines()[0]
                    self._note(f"{server.name} is gone ({cause}) and is brought back")
                    server.recover()
                    if self._handover is not None:
                        self._give(server)
                answer = ask()
                self._require_present(server, answer)
                return answer
            except ServerGone as error:
                if self._closed:
                    raise RunFailed(f"{server.name} was ended") from None
                gone = error
        raise RunFailed(
            f"{server.name} ended {RESTARTS + 1} times in a row on the same question; the last"
            f" time: {gone}",
            "look at its log",
        )

    def _require_present(self, server: Server, answer: Answer) -> None:
        found = {name: answer.get(name) for name in self._weights}
        if found != self._weights:
            raise RunFailed(
                f"{server.name} ({server.client.url}) answers with weights of version"
                f" {found['version']!r}, checksum {found['checksum']!r}; it has to have version"
                f" {self._weights['version']!r}, checksum {self._weights['checksum']!r}",
                "let nobody else give this server weights, then run the same command again",
            )

    def _require_room(self, prompts: Sequence[list[int]], new_tokens: int) -> None:
        for prompt in prompts:
            sampling.require_room(prompt, new_tokens, self._config.max_model_len)
