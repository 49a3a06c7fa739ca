"""Apportionment: a whole number divided in proportion, with exact totals and no floating point."""

from collections.abc import Mapping

from common.seeds import derive


def even_parts(count: int, most: int) -> list[int]:
    """`count` as the least number of whole parts of at most `most`, whose sizes differ by at most
    1."""
    parts = -(-count // most)
    return [count // parts + (number < count % parts) for number in range(parts)]


def apportion(
    total: int,
    sizes: Mapping[str, int],
    capacity: Mapping[str, int] | None = None,
    seed: int | None = None,
) -> dict[str, int]:
    """Divide `total` over the names of `sizes` in proportion; the values returned add up to `total`
    exactly.

    Every name gets the whole part of its ideal share. What is left goes to the largest remainders
    (ties by name) or, with a `seed`, is drawn with the remainders as probabilities. Then each name
    gets its ideal share on average, and a small one is not left out every time. No name gets more
    than its `capacity` (default: no limit); the others get the excess in proportion. Raises
    ValueError if `total` exceeds the capacities."""
    limits = {name: total if capacity is None else capacity[name] for name in sizes}
    if total < 0 or min([0, *sizes.values(), *limits.values()]) < 0:
        raise ValueError(f"cannot divide {total} over {dict(sizes)} with capacities {limits}")
    open_names = sorted(name for name, size in sizes.items() if size > 0)
    if total > sum(limits[name] for name in open_names):
        raise ValueError(f"{total} do not fit into capacities {limits}")
    given = dict.fromkeys(sizes, 0)
    left = total
    while full := [
        name
        for name in open_names
        if left * sizes[name] > limits[name] * _weight(sizes, open_names)
    ]:
        for name in full:
            given[name] = limits[name]
        left -= sum(limits[name] for name in full)
        open_names = [name for name in open_names if name not in full]
    if left:
        given.update(_round(left, {name: sizes[name] for name in open_names}, seed))
    return given


def _weight(sizes: Mapping[str, int], names: list[str]) -> int:
    return sum(sizes[name] for name in names)


def _round(total: int, sizes: dict[str, int], seed: int | None) -> dict[str, int]:
    """Whole shares of `total`: each ideal share is rounded down or up."""
    weight = sum(sizes.values())
    given = {name: total * size // weight for name, size in sizes.items()}
    remainders = {name: total * size % weight for name, size in sizes.items()}
    left = total - sum(given.values())
    if seed is None:
        winners = sorted(remainders, key=lambda name: (-remainders[name], name))[:left]
    else:
        winners = _systematic(remainders, weight, seed)
    for name in winners:
        given[name] += 1
    return given


def _systematic(remainders: dict[str, int], weight: int, seed: int) -> list[str]:
    """Systematic sampling: the names whose remainders, laid end to end, contain one of the points
    that lie `weight` apart from a random start.

    The remainders add up to a multiple of `weight`, so the number of names is exact. Each is
    selected at most once, with probability remainder / weight."""
    winners = []
    end, point = 0, derive(seed, "comb") % weight
    for name in sorted(remainders, key=lambda name: (derive(seed, "order", name), name)):
        end += remainders[name]
        if point < end:
            winners.append(name)
            point += weight
    return winners
