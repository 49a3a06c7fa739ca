"""How well predicted probabilities of a mixed group agree with what was observed."""

from dataclasses import dataclass, field

BINS = 10


@dataclass
class Calibration:
    """Predicted probabilities that a group is mixed, in bins of a tenth, and the observed
    counts."""

    counts: list[int] = field(default_factory=lambda: [0] * BINS)
    predicted: list[float] = field(default_factory=lambda: [0.0] * BINS)
    observed: list[int] = field(default_factory=lambda: [0] * BINS)
    squared: float = 0.0

    def record(self, probability: float, mixed: bool) -> None:
        bin_ = min(int(probability * BINS), BINS - 1)
        self.counts[bin_] += 1
        self.predicted[bin_] += probability
        self.observed[bin_] += mixed
        self.squared += (probability - mixed) ** 2

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def brier(self) -> float:
        """Mean squared difference between prediction and observation (Brier 1950); 0 without
        any."""
        return self.squared / self.total if self.total else 0.0

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean distance between predicted and observed share over the
        bins, weighted by their size."""
        if not self.total:
            return 0.0
        distances = (
            abs(predicted - observed)
            for predicted, observed in zip(self.predicted, self.observed, strict=True)
        )
        return sum(distances) / self.total

    def curve(self) -> list[dict[str, float]]:
        """The reliability curve: mean predicted and observed share of each bin that is not
        empty."""
        bins = zip(self.counts, self.predicted, self.observed, strict=True)
        return [
            {"predicted": predicted / count, "observed": observed / count, "groups": count}
            for count, predicted, observed in bins
            if count
        ]
