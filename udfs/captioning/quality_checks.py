"""Codes for what looks wrong with a caption.

They are stored, and no caption is dropped for them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import Literal

Check = Literal[
    "empty",  # neither a letter nor a digit
    "repetition",  # a phrase at least three times in a row
    "truncated",  # cut at the limit of output tokens, or by an endpoint's filter of contents
    "refusal",  # the model says that it cannot or will not describe the video
    "language",  # mostly in another script than the prompt
    "no_second",  # a second stage that was refused, or said nothing; `caption` knows
]

CUT = ("length", "content_filter")  # reasons for which a text ends early
MIN_REPEATED = 8  # words after the first copy: "very, very, very good" is no loop
MIN_SHARE = 0.8  # of letters in the prompt's script: a caption may quote a sign in the video
LONGEST_PHRASE = 128  # words
OPENING = 300  # characters within which a refusal begins
# A Chinese or Japanese character is a word.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
REFUSAL = re.compile(
    r"\bas an ai\b|\b(?:i['\u2019]?m|i am) (?:really |very |so |deeply )?(?:sorry|afraid i)\b|\bi apologi[sz]e\b"
    r"|\b(?:i['\u2019]?m|i am|we are) (?:unable|not able) to\b"
    r"|\bi (?:can ?not|can['\u2019]?t|won['\u2019]?t|will not|do not|don['\u2019]?t)"
    r" (?:see|view|watch|access|describe|help|"
    r"assist|provide|process|have (?:access|the ability)|fulfil|comply|identify|analy[sz]e)"
    r"|\b(?:no|any) (?:video|images?|frames?) (?:was|were|is|has been|have been) (?:provided|attached|uploaded|given)"
    r"|\bplease (?:provide|upload|share|attach) (?:the|a|your) (?:video|images?|frames?|description)",
    re.IGNORECASE,
)
SCRIPT_GROUPS = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}  # Japanese mixes these scripts


def checks(text: str, finish_reason: str, prompt: str) -> list[Check]:
    """The codes of a model's caption for a prompt, in the order of `Check`."""
    results: list[tuple[Check, bool]] = [
        ("empty", is_empty(text)),
        ("repetition", has_loop(text)),
        ("truncated", finish_reason in CUT),
        ("refusal", is_refusal(text)),
        ("language", is_foreign(text, prompt)),
    ]
    return [code for code, wrong in results if wrong]


def is_empty(text: str) -> bool:
    """Whether the text has neither a letter nor a digit."""
    return not any(c.isalnum() for c in text)


def has_loop(text: str) -> bool:
    """Whether a phrase occurs three times in a row, with at least `MIN_REPEATED` words after its first copy."""
    words = [word.lower() for word in WORD.findall(text)]
    periods = range(1, min(LONGEST_PHRASE, len(words) // 3) + 1)
    return any(_longest_run(words, period) >= max(2 * period, MIN_REPEATED) for period in periods)


def is_refusal(text: str) -> bool:
    """Whether the text begins with a refusal to describe."""
    return REFUSAL.search(text[:OPENING]) is not None


def is_foreign(text: str, prompt: str) -> bool:
    """Whether more of the text than a quotation is in another script than most of the prompt."""
    of_prompt, of_text = scripts(prompt), scripts(text)
    if not of_prompt or not of_text:
        return False
    return of_text[of_prompt.most_common(1)[0][0]] < MIN_SHARE * of_text.total()


def scripts(text: str) -> Counter[str]:
    """Counts of the letters of each script, by the first word of their Unicode names."""
    names = (unicodedata.name(c, "").partition(" ")[0] for c in text if c.isalpha())
    return Counter(SCRIPT_GROUPS.get(name, name) for name in names)


def _longest_run(words: list[str], period: int) -> int:
    """The length of the longest run of words that equal those `period` words before."""
    longest = run = 0
    for before, word in zip(words, words[period:], strict=False):
        run = run + 1 if before == word else 0
        longest = max(longest, run)
    return longest
