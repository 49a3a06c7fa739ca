"""Rates of `grouped_mm` as the experts call it, as a share of a plain matrix product of as many
operations; whether it is right; and what the cast of float32 weights costs.

Cases: even loads, experts without tokens, widths that are no multiple of 16 bytes (padded by
`models/moe.py`)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_check.setting import Setting
from models.moe import _grouped_mm


@dataclass(frozen=True)
class Case:
    """Tokens through experts of a width and a number of outputs; `used`: those that get tokens."""

    experts: int
    width: int
    outputs: int
    tokens: int
    used: int

    def scaled(self) -> "Case":
        """Small enough for the test of the script itself, as odd as before."""
        odd = self.width % 2
        return Case(self.experts, 32 + odd, 48 + odd, 64, self.used)


CASES = {
    "smollm2": Case(experts=4, width=576, outputs=3072, tokens=16_384, used=4),
    "scout": Case(experts=16, width=5120, outputs=16_384, tokens=8192, used=16),
    "scout_down": Case(experts=16, width=8192, outputs=5120, tokens=8192, used=16),
    "empty_experts": Case(experts=16, width=2048, outputs=4096, tokens=8192, used=3),
    "odd_width": Case(experts=8, width=1023, outputs=2049, tokens=8192, used=8),
}


def run(setting: Setting) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, case in CASES.items():
        case = case.scaled() if setting.small else case
        for dtype in (torch.float32, torch.bfloat16):
            figures[f"{name}_{str(dtype).removeprefix('torch.')}"] = _measured(setting, case, dtype)
            if setting.cuda:
                torch.cuda.empty_cache()
    return figures


def _measured(setting: Setting, case: Case, dtype: torch.dtype) -> dict[str, float]:
    rows, weight, ends = tensors(case, setting.device, dtype)
    plain = weight[0].detach().clone()
    operations = 2 * case.tokens * case.width * case.outputs
    forward = setting.seconds(lambda: _grouped_mm(rows.detach(), weight.detach(), ends))
    matrix = setting.seconds(lambda: rows.detach() @ plain)
    both = setting.seconds(lambda: _backward(rows, weight, ends))
    figures = {
        "tera_a_second": operations / forward / 1e12,
        "share_of_matrix_rate": matrix / forward,
        "forward_and_backward_share": 3 * matrix / both,
        **errors(rows, weight, ends),
    }
    if dtype == torch.bfloat16:
        master = weight.detach().float()
        cast = setting.seconds(lambda: master.to(torch.bfloat16))
        figures["cast_over_forward"] = cast / forward
    return figures


def tensors(case: Case, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, stacked weights, and the cumulative number of rows by expert. Loads are uneven by a few
    rows, so that no expert's rows begin at a round number."""
    torch.manual_seed(0)
    rows = torch.randn(case.tokens, case.width, device=device, dtype=dtype)
    scale = case.width**-0.5
    weight = torch.randn(case.experts, case.width, case.outputs, device=device, dtype=dtype) * scale
    counts = torch.zeros(case.experts, dtype=torch.int64)
    counts[-case.used :] = case.tokens // case.used
    counts[-case.used :] += torch.tensor([3, -3] * case.used)[: case.used]
    counts[-1] += case.tokens - counts.sum()
    ends = counts.cumsum(0).to(torch.int32).to(device)
    return rows.requires_grad_(), weight.requires_grad_(), ends


def _backward(rows: Tensor, weight: Tensor, ends: Tensor) -> None:
    rows.grad = weight.grad = None
    result = _grouped_mm(rows, weight, ends)
    result.backward(torch.ones_like(result))


def errors(rows: Tensor, weight: Tensor, ends: Tensor) -> dict[str, float]:
    """Relative errors of output and gradients against products of one expert after the other, in
    the same precision."""
    _backward(rows, weight, ends)
    assert rows.grad is not None and weight.grad is not None
    found = [_grouped_mm(rows.detach(), weight.detach(), ends), rows.grad, weight.grad]
    names = ("output_error", "rows_gradient_error", "weight_gradient_error")
    sums = {name: [0.0, 0.0] for name in names}
    start = 0
    for expert, end in enumerate(ends.tolist()):
        mine, matrix = rows.detach()[start:end], weight.detach()[expert]
        ones = torch.ones(end - start, matrix.shape[1], device=rows.device, dtype=rows.dtype)
        expected = (mine @ matrix, ones @ matrix.T, mine.T @ ones)
        parts = (found[0][start:end], found[1][start:end], found[2][expert])
        for name, part, value in zip(names, parts, expected, strict=True):
            sums[name][0] += (part - value).double().norm().item() ** 2
            sums[name][1] += value.double().norm().item() ** 2
        start = end
    return {name: (difference / size) ** 0.5 for name, (difference, size) in sums.items()}
