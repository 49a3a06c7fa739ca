"""Servers that somebody else has started, with `python -m rollouts.served` on this or another
machine of a private network."""

import time
from dataclasses import dataclass
from typing import Any

from common.errors import BadInput, RunFailed
from rollouts.config import RolloutConfig
from rollouts.served import ABOUT
from rollouts.served.client import Answer, ServerClient, ServerGone

PATIENCE = 600.0
"""Seconds until a server that does not answer is given up."""
IMMATERIAL = ("transformers_version", "_name_or_path", "dtype", "torch_dtype", "use_cache")
"""Fields of config.json that change nothing of what a server computes."""


@dataclass
class RemoteServer:
    """One server at an address."""

    name: str
    client: ServerClient
    patience: float = PATIENCE

    def recover(self) -> None:
        """Wait until it answers. Its weights are then those that it has."""
        until = time.monotonic() + self.patience
        while True:
            try:
                self.client.ask(ABOUT)
                return
            except ServerGone as gone:
                if time.monotonic() > until:
                    raise RunFailed(
                        f"{self.name} ({self.client.url}) does not answer: {gone}",
                        "start it, then run the same command again",
                    ) from None
                time.sleep(1.0)

    def close(self) -> None:
        """It goes on: it is not ours."""

    def require(self, config: dict[str, Any], rollouts: RolloutConfig) -> None:
        """BadInput unless it serves a model of this config.json in the rollouts' settings."""
        about = self._about()
        expected = {"dtype": rollouts.dtype, "logprobs": "processed_logprobs"}
        found = {name: about[name] for name in expected}
        if about["max_model_len"] < rollouts.max_model_len:
            expected["max_model_len"] = f"at least {rollouts.max_model_len}"
            found["max_model_len"] = about["max_model_len"]
        expected |= _material(config)
        found |= _material(about["config"])
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise BadInput(
                    f"{self.name} ({self.client.url}) serves another model: {name} is"
                    f" {found.get(name)!r}, the stage needs {expected.get(name)!r}",
                    "start it with the stage's checkpoint and settings",
                )

    def _about(self) -> Answer:
        try:
            return self.client.ask(ABOUT)
        except ServerGone as gone:
            raise BadInput(
                f"{self.name} ({self.client.url}) cannot be reached: {gone}",
                "start it with `python -m rollouts.served`, or correct engine.urls",
            ) from None


def _material(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in IMMATERIAL}
