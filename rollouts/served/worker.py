"""What every vLLM worker of a server can do besides: say which weights it has, and which experts
its routers choose. Importing this module registers the weight transfer of `transfer.py`."""

from typing import Any

from rollouts import routes
from rollouts.held import held
from rollouts.served import transfer


class WorkerExtension:
    """Methods added to vLLM's worker, called through `collective_rpc`."""

    model_runner: Any
    weight_transfer_engine: transfer.SafetensorsEngine

    def uphill_checksum(self) -> str | None:
        """The checksum of the model's weights, as in `SafetensorsEngine.checksum`."""
        return self.weight_transfer_engine.checksum

    def uphill_held(self) -> dict[str, str]:
        """The digest of every tensor that the model computes with (`rollouts/held.py`)."""
        return held(self.model_runner.get_model())

    def uphill_listen(self) -> None:
        """Begin to collect the experts that routers choose."""
        self._uphill_chosen = routes.ChosenExperts()
        routes.listen(self._uphill_chosen, self.model_runner.get_model())

    def uphill_heard(self, lengths: list[int]) -> list[list[list[list[int]]] | None]:
        """What was collected for sequences of these lengths, each (layers, tokens, top-k), or None
        where routers cannot be observed. Ends the collecting."""
        routes.listen(None, self.model_runner.get_model())
        chosen = routes.stacked(self._uphill_chosen, sum(lengths))
        if chosen is None:
            return [None] * len(lengths)
        return [part.tolist() for part in chosen.split(lengths, dim=1)]
