"""Draws a snapshot for a terminal of any width. What comes from the run is text: it can neither
style nor steer the terminal."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from common.visible import visible_line
from pipeline.cli.watch.snapshot import Shown, Snapshot, StageRow
from pipeline.execution.progress import rate

BLOCKS = "▁▂▃▄▅▆▇█"
STYLES = {"done": "green", "running": "bold cyan", "failed": "bold red", "stale": "yellow"}
NARROW = 60
"""Columns below which the figures of stages and the ranges of curves are left out."""
WIDEST = 60
"""Columns of the longest bar and curve."""
LONGEST_ID = 20
"""Characters of a stage's id."""
LONGEST = 500
"""Characters of a text that may get on a line."""
LEAST_CURVE = 4
"""Columns of the shortest curve."""


def view(snapshot: Snapshot, width: int, height: int = 50) -> RenderableType:
    """The whole view, of at most `width` columns; with fewer lines it shows fewer replies."""
    parts: list[RenderableType] = [_line(f"{snapshot.run}: {_state(snapshot)}", "bold")]
    parts.append(_stages(snapshot.stages, width))
    if snapshot.shown is not None:
        used = len(snapshot.stages) + len(snapshot.shown.curves) + 8
        parts += _shown(snapshot.shown, width, max(1, height - used))
    return Group(*parts)


def _state(snapshot: Snapshot) -> str:
    running = [stage.id for stage in snapshot.stages if stage.state == "running"]
    done = sum(stage.state == "done" for stage in snapshot.stages)
    what = f"{', '.join(running)} runs" if running else "nothing runs"
    if snapshot.finished:
        what = "finished"
    return f"{what}, {done} of {len(snapshot.stages)} stages done"


def _line(text: str, style: str = "") -> Text:
    """One line, cut where the terminal ends."""
    return Text(visible_line(text, LONGEST), style=style, no_wrap=True, overflow="ellipsis")


def _stages(stages: Sequence[StageRow], width: int) -> Table:
    ids = min(LONGEST_ID, max((len(stage.id) for stage in stages), default=1))
    table = Table.grid(padding=(0, 1), expand=False)
    columns = [ids, len("running"), len("0:00:00")]
    columns += [width - sum(columns) - 2 * len(columns)] if width >= NARROW else []
    for column in columns:
        table.add_column(width=column, no_wrap=True, overflow="ellipsis")
    for stage in stages:
        seconds = "" if stage.seconds is None else duration(stage.seconds)
        cells = [
            _line(stage.id),
            Text(stage.state, style=STYLES.get(stage.state, "dim")),
            Text(seconds, justify="right"),
        ]
        table.add_row(*cells, *([_line(stage.figures, "dim")] if width >= NARROW else []))
    return table


def _shown(shown: Shown, width: int, replies: int) -> Iterator[RenderableType]:
    yield Text("")
    yield _line(f"{shown.id}: {_progress(shown)}", "bold")
    if shown.total:
        yield _bar(shown.step / shown.total, min(width, WIDEST))
    if shown.curves:
        yield _curves(shown, width)
    if shown.note:
        yield _line(shown.note, "yellow")
    for facts, text in shown.replies[:replies]:
        line = _line(f"{facts} ", "dim")
        yield line.append(visible_line(text, LONGEST), style="not dim")


def _bar(share: float, width: int) -> Text:
    full = round(min(1.0, share) * width)
    return Text("━" * full, style="cyan").append("─" * (width - full), style="dim")


def _progress(shown: Shown) -> str:
    """Step, pace and time left, as far as they are known."""
    if not shown.step:
        return shown.state
    of = "" if shown.total is None else f"/{shown.total}"
    pace = shown.seconds_per_step
    parts = [f"step {shown.step}{of}", rate(1 / pace if pace else None, "step")]
    if shown.tokens_per_second is not None:
        parts.append(f"{shown.tokens_per_second:,.0f} tokens/s")
    if shown.seconds_left is not None:
        parts.append(f"{duration(shown.seconds_left)} left")
    return ", ".join(part for part in parts if part)


def _curves(shown: Shown, width: int) -> Table:
    """A row per figure: its name, the curve, the last value and, where there is room, between what
    values it lies."""
    wide = width >= NARROW
    table = Table.grid(padding=(0, 1))
    for _ in range(4 if wide else 3):
        table.add_column(no_wrap=True, overflow="ellipsis")
    names = max(len(name) for name in shown.curves)
    room = max(LEAST_CURVE, min(WIDEST, width - names - (34 if wide else 11)))
    for name, values in shown.curves.items():
        between = f"{min(values):.3g} to {max(values):.3g}"
        last = Text(f"{values[-1]:.3g}", style="bold")
        cells = [_line(name), Text(curve(values, room)), last, Text(between, style="dim")]
        table.add_row(*(cells if wide else cells[:3]))
    return table


def curve(values: Sequence[float], width: int) -> str:
    """The values as blocks, the lowest ones as the lowest block; of more values than there is room
    for, means of neighbours. Values that are all equal are a line in the middle."""
    count = min(width, len(values))
    edges = [number * len(values) // count for number in range(count + 1)]
    parts = [values[start:end] for start, end in pairwise(edges)]
    means = [sum(part) / len(part) for part in parts]
    low, high = min(means), max(means)
    if low == high:
        return BLOCKS[len(BLOCKS) // 2] * count
    return "".join(BLOCKS[round((one - low) / (high - low) * (len(BLOCKS) - 1))] for one in means)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: `0:01:30`."""
    return str(timedelta(seconds=round(seconds)))
