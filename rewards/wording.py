"""Words that give a sentence with a number another meaning than that something equals the number.

A word that is not listed here counts as a noun, as in `12 apples`. A missing word can make a wrong
answer right, and an unneeded one a right answer wrong."""

import re

NEVER = re.compile(
    r"[<>≤≥≠±∓]|\\(?:leq?|geq?|neq?|pm|mp|lt|gt|cup|in)\b|n't\b"
    r"|\b(?:not|cannot|never|neither|nor|or|either|between|than|unless|except|excluding|but|wrong|incorrect|false"
    r"|impossible|undefined|unknown|least|most|up to|minimum|maximum|ago"
    r"|and (?:above|up|over|more|below|under|less|higher|lower)"
    r"|(?:no\.?|under|over|above|below|nearly|almost|within|until|beyond|exceeds?|exceeding)"
    r" (?=[-+$€£]?[0-9])"
    r"|nicht|kein\w*|oder|weder|mindestens|höchstens|zwischen|mehr|weniger|ou|pas|ni|entre|moins|plus de"  # noqa: E501
    r"|menos|más|mais|nem|não|né|oppure|meno|più)\b"
    r"|[不或非未]|至少|至多|大于|小于|超过|以上|以下|ない|または|より|番目|以内|이상|이하|미만|초과|아니|번째"
    r"|नहीं|अधिक|ज़्यादा|कम|या|ليس|أو",
    re.IGNORECASE,
)
"""Negations, bounds and alternatives, anywhere in a sentence."""
OPERATOR = re.compile(
    r"[!?;]|\\(?:sqrt|pi|infty)\b|\b(?:squared|cubed|factorial|half|halves|thirds?|quarters?|tenths?|twice|doubled?|triple"
    r"|root|sqrt|log|ln|sin|cos|tan|pi|mod|modulo|plus|minus|negative|divided|multiplied|power|question|problem|asks?|given"
    r"|zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    re.IGNORECASE,
)
"""Words beside the number: those that make it an expression or a question, and numbers in words."""
NOT_IN_REMARK = re.compile(r"\b(?:or|not|nor|mod|base|wrong)\b|n't\b|[<>≤≥≠±?]", re.IGNORECASE)
"""Words that a remark in brackets must not contain. It may state the number in words."""
BEFORE = re.compile(
    r"[\x00-\u02ff\u2000-\u2bff]|答案|等于|一共|总共|大约|結果|结果|合計|正解|答え|[是为共约得は]"
)
"""Text that may stand before a number: words in Latin letters, and phrases that mean "it is"."""
