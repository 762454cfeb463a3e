"""A caption -> the codes of what looks wrong with it; they are data, and drop nothing."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Literal

Check = Literal[
    "empty",  # no letter and no digit
    "repetition",  # a phrase three times in a row or more
    "truncated",  # cut at the limit of tokens
    "refusal",  # the model says that it cannot or will not
    "language",  # in another script than the prompt
]

MIN_REPEATED = 8  # words beyond the first copy: "very, very, very good" is no loop
MIN_SHARE = 0.8  # of letters in the prompt's script: a caption may quote a sign
LONGEST_PHRASE = 128  # words
OPENING = 300  # characters in which a refusal begins
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")  # a Chinese or Japanese sign is a word
REFUSAL = re.compile(
    r"\bas an ai\b|\b(?:i['\u2019]?m|i am) (?:really |very |so |deeply )?(?:sorry|afraid i)\b|\bi apologi[sz]e\b"
    r"|\b(?:i['\u2019]?m|i am|we are) (?:unable|not able) to\b"
    r"|\bi (?:can ?not|can['\u2019]?t|won['\u2019]?t|will not|do not|don['\u2019]?t) (?:see|view|watch|access|describe|help|"
    r"assist|provide|process|have (?:access|the ability)|fulfil|comply|identify|analy[sz]e)"
    r"|\b(?:no|any) (?:video|images?|frames?) (?:was|were|is|has been|have been) (?:provided|attached|uploaded|given)"
    r"|\bplease (?:provide|upload|share|attach) (?:the|a|your) (?:video|images?|frames?|description)",
    re.IGNORECASE,
)
TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}  # Japanese mixes them


def checks(text: str, finish_reason: str, prompt: str) -> list[Check]:
    """The codes of a caption that a model gave to a prompt, in the order of `Check`."""
    found: list[tuple[Check, bool]] = [
        ("empty", is_empty(text)),
        ("repetition", loops(text)),
        ("truncated", finish_reason == "length"),
        ("refusal", refuses(text)),
        ("language", is_foreign(text, prompt)),
    ]
    return [code for code, wrong in found if wrong]


def is_empty(text: str) -> bool:
    """Whether nothing is said."""
    return not any(c.isalnum() for c in text)


def loops(text: str) -> bool:
    """Whether some phrase stands there three times in a row, and fills at least `MIN_REPEATED` words beyond one."""
    words = [word.lower() for word in WORD.findall(text)]
    periods = range(1, min(LONGEST_PHRASE, len(words) // 3) + 1)
    return any(_longest_run(words, period) >= max(2 * period, MIN_REPEATED) for period in periods)


def refuses(text: str) -> bool:
    """Whether it begins by saying that it cannot or will not describe."""
    return REFUSAL.search(text[:OPENING]) is not None


def is_foreign(text: str, prompt: str) -> bool:
    """Whether more than a quotation of it is in another script than most of the prompt."""
    asked, said = scripts(prompt), scripts(text)
    if not asked or not said:
        return False
    return said[asked.most_common(1)[0][0]] < MIN_SHARE * said.total()


def scripts(text: str) -> Counter[str]:
    """How many letters of each script there are, by the first word of their Unicode names."""
    names = (unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha())
    return Counter(TOGETHER.get(name, name) for name in names)


def _longest_run(words: list[str], period: int) -> int:
    """The most words in a row that are the same as those `period` before them."""
    longest = run = 0
    for before, word in zip(words, words[period:], strict=False):
        run = run + 1 if before == word else 0
        longest = max(longest, run)
    return longest
