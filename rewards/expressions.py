"""Whether two expressions have the same value: math-verify parses, sympy compares exactly.

math-verify's own comparison rounds to six decimals, so 2**-99 equals 2**-98. Its parser reads as
much of a text as it understands and ignores the rest, so a text that it would not read completely
is refused here."""

import logging
import re
from functools import lru_cache
from importlib import import_module
from typing import Any

from rewards.spelling import uniform, without_latex

_SYMBOLS = {
    "π": r"\pi ",
    "∞": r"\infty ",
    "×": r"\times ",
    "÷": r"\div ",
    "·": r"\cdot ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "±": r"\pm ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
}
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|\{([^{}]*)\}|([0-9A-Za-z]+))")
_PLAIN_ROOT = re.compile(r"(?<![\\A-Za-z])sqrt\s*\(([^()]*)\)|(?<![\\A-Za-z])sqrt\s*\{([^{}]*)\}")
_PLAIN_NAME = re.compile(
    r"(?<![\\A-Za-z])(sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|pi|theta|alpha|beta|infty)(?![A-Za-z])"
)
_INFINITY = re.compile(r"(?<![\\A-Za-z])(?:infinity|inf|oo)(?![A-Za-z])")
_POWER_IN_BRACKETS = re.compile(r"\^\s*\(([^()]*)\)")
_PLAIN_FRACTION = re.compile(r"\(([^()]*)\)\s*/\s*\(([^()]*)\)")
_LONG_POWER = re.compile(r"\^\s*\{?\s*[-+]?[0-9]{5}|[0-9]{5}\s*!|!\s*!|\^\s*\{?\s*[0-9]+\s*\^")
"""Numbers whose digits alone would take minutes to compute: towers of powers, factorials of
factorials."""
_COMMAND = re.compile(r"\\[A-Za-z]+")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{\w+\*?\}")
_WORD = re.compile(r"[A-Za-z]{3,}")
_BASE = re.compile(r"(-?[0-9A-Fa-f]+)(?:\.([0-9A-Fa-f]+))?_\{?\s*([0-9]{1,2})\s*\}?")
_BETWEEN = re.compile(r"\s+(?![0-9A-Za-z])|(?<![0-9A-Za-z])\s+")
"""Space that separates nothing."""
_UNREAD = re.compile(
    r"[0-9)}]\s*_|(?:^|[^_0-9{.])[0-9.]+\s+[0-9]|\\(?:text|mathrm|pmod|bmod|mod)\b|[^\x20-\x7e]|[?\"'`@;:]"
)
"""Text that the parser would silently leave out or join."""
LONGEST = 400
"""Characters. The parser takes minutes for longer expressions, so they are not read."""


def latex(text: str) -> str:
    """`text` as LaTeX: `√2`, `sqrt(2)`, `x**2` and the like become commands."""
    text = without_latex(uniform(text), fractions=False).replace("**", "^")
    for sign, command in _SYMBOLS.items():
        text = text.replace(sign, command)
    text = _ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2] or m[3]}}}", text)
    text = _PLAIN_ROOT.sub(lambda m: rf"\sqrt{{{m[1] or m[2]}}}", text)
    text = _PLAIN_NAME.sub(r"\\\1 ", _INFINITY.sub(r"\\infty ", text))
    text = _PLAIN_FRACTION.sub(r"\\frac{\1}{\2}", _POWER_IN_BRACKETS.sub(r"^{\1}", text))
    return " ".join(
        text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("$", " ").split()
    )


def words(text: str) -> set[str]:
    """The words in `text` (LaTeX) that are not commands."""
    return {word.lower() for word in _WORD.findall(_COMMAND.sub(" ", _ENVIRONMENT.sub(" ", text)))}


def same_value(reference: str, answer: str) -> bool:
    """Whether two expressions (LaTeX) are equal. Also False if one of them cannot be read."""
    if _BETWEEN.sub("", reference) == _BETWEEN.sub("", answer):
        return True
    if _other_case(reference, answer):
        return False
    wanted, given = _read(reference), _read(answer)
    if wanted is None or given is None:
        return False
    return _equal(wanted, given)


def load_library() -> None:
    """Import what parses and compares, which takes seconds the first time."""
    for name in ("latex2sympy2_extended", "math_verify", "sympy"):
        import_module(name)


def readable(text: str) -> bool:
    """Whether an expression (LaTeX) can be read."""
    return _read(text) is not None


@lru_cache(maxsize=4096)
def _read(text: str) -> Any:
    """An expression parsed by math-verify; None if it cannot be parsed, or not completely."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    based = _BASE.fullmatch(text.strip())
    if based:
        return _in_base(based[1], based[2] or "", int(based[3]))
    unread = _UNREAD.search(text)
    whole = text.strip() and len(text) <= LONGEST and text.count("{") == text.count("}")
    if not whole or unread or words(text) or _LONG_POWER.search(text):
        return None
    # It warns that its own time limit is off. Ours is around this call (see `rewards.grade`).
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    # It would drop a unit, which may be a variable: 42m.
    rules = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none"
    )
    reading = LatexExtractionConfig(normalization_config=rules)
    try:
        parsed = parse(f"${text}$", [reading], fallback_mode="no_fallback", parsing_timeout=None)
    except Exception:  # the parser gives up in many ways; the text is then not readable
        return None
    return parsed[0] if parsed and not isinstance(parsed[0], str) else None


def _in_base(whole: str, fraction: str, base: int) -> Any:
    """The value of digits in a base, `fraction` those after the point; None if they are not digits
    of that base."""
    from sympy import Rational

    try:
        return Rational(int(whole + fraction, base), base ** len(fraction))
    except ValueError:
        return None


def _equal(wanted: Any, given: Any) -> bool:
    from sympy import And, Interval, MatrixBase, Or
    from sympy.core.relational import Relational

    sets = [isinstance(value, (Interval, Relational, And, Or)) for value in (wanted, given)]
    if any(sets):
        return all(sets) and _same_solutions(wanted, given)
    if isinstance(wanted, MatrixBase) or isinstance(given, MatrixBase):
        same_shape = getattr(wanted, "shape", 0) == getattr(given, "shape", 1)
        return same_shape and all(map(_exactly, wanted, given))
    return _exactly(wanted, given)


def _exactly(wanted: Any, given: Any) -> bool:
    """Whether two values are equal, with decimals as exact fractions and `i` as the imaginary
    unit."""
    from sympy import I, nsimplify, simplify

    if wanted == given:
        return True
    try:
        difference = nsimplify(wanted - given, rational=True)
        units = {symbol: I for symbol in difference.free_symbols if symbol.name == "i"}
        return bool(simplify(difference.subs(units).doit()) == 0)
    except (AttributeError, TypeError, ValueError):
        return False


def _same_solutions(wanted: Any, given: Any) -> bool:
    """Whether two equations, inequalities or intervals hold for the same values."""
    from sympy import Eq, nsimplify

    if wanted == given:
        return True
    if isinstance(wanted, Eq) and isinstance(given, Eq):
        return _same_equation(wanted, given)
    try:
        sides = [
            nsimplify(value, rational=True) if hasattr(value, "lhs") else value
            for value in (wanted, given)
        ]
        first, second = (value.as_set() if hasattr(value, "as_set") else value for value in sides)
    except (NotImplementedError, AttributeError, TypeError, ValueError):
        return False
    names = [value.free_symbols for value in (wanted, given) if hasattr(value, "lhs")]
    return bool(first == second) and all(name == names[0] for name in names)


def _same_equation(wanted: Any, given: Any) -> bool:
    from sympy import nsimplify, simplify

    first, second = (nsimplify(value.lhs - value.rhs, rational=True) for value in (wanted, given))
    if first == 0 or second == 0:
        return bool(first == second)
    ratio = simplify(first / second)
    return bool(ratio.is_number and ratio != 0)


def _other_case(reference: str, answer: str) -> bool:
    """Whether the answer has a letter that the reference has only in the other case."""
    ours, theirs = (
        set(re.findall("[A-Za-z]", _COMMAND.sub(" ", text))) for text in (reference, answer)
    )
    return any(letter not in ours and letter.swapcase() in ours for letter in theirs)
