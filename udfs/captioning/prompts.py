"""A variant or a text of the user's -> the prompt that a model is given, and the name by which rows know it."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

Variant = Literal["default", "av", "av-surveillance"]
CAPTION = "{caption}"  # where a prompt holds it, the first description goes; elsewhere it follows the prompt
SPECIAL = re.compile(r"<\|[^<>|]*\|>")  # what tokenizers read as a control token, such as <|video_pad|>
THOUGHTS = re.compile(r"\A\s*(?:<think>.*?(?:</think>|\Z)|(?:(?!</?think>).)*</think>)\s*", re.DOTALL)

_ONLY_SEEN = (
    "Describe only what can be seen and do not guess at what cannot. Write plain English prose in the present tense, "
    "without headings, lists or remarks about this task."
)
CAPTIONS: dict[Variant, str] = {
    "default": (
        "Describe this video for someone who cannot see it. Say who and what is in the picture and what they look like,"
        " where it is and in what light, what happens from the beginning to the end and in which order, and how the "
        "camera moves. " + _ONLY_SEEN
    ),
    "av": (
        "This video comes from a camera that looks ahead out of a moving vehicle. Describe the drive: the kind of road,"
        " its lanes and markings, the weather and the light; what the vehicle itself does, such as keeping its lane, "
        "turning, braking or stopping; the other vehicles, cyclists and people on foot, where they are and how they "
        "move; traffic lights and signs and whether they bear on the vehicle; and anything that calls for care, in the "
        "order in which it comes. " + _ONLY_SEEN
    ),
    "av-surveillance": (
        "This video comes from a fixed camera that watches a road or a crossing from above. Describe the place: the "
        "layout of lanes, crossings and signals, the weather and the light. Then follow the traffic in the order in "
        "which things happen: which vehicles, cyclists and people on foot come from where and go where, who waits and "
        "who yields, how dense it is, and any unusual event, such as a near miss, a collision, a stopped vehicle or "
        "somebody on the carriageway. " + _ONLY_SEEN
    ),
}
STAGE2 = (
    "Another look at the same video came to this description:\n\n{caption}\n\n"
    "Watch the video again from beginning to end. Correct what the description has wrong, leave out what the video does"
    " not show, and add what it misses, above all actions and their order. Answer with the improved description alone."
)
_FAITHFUL = (
    "Keep every fact and add none: no name, colour, number, motive or sound that the description does not state. Answer"
    " with the rewritten description alone, as plain English prose."
)
ENHANCEMENTS: dict[Variant, str] = {
    "default": (
        "Below is a description of a short video. Rewrite it so that it reads well and says more clearly what is seen: "
        "put the events in order, join what belongs together, take out repetitions and remarks that are not about the "
        "video. " + _FAITHFUL
    ),
    "av": (
        "Below is a description of a short video from a moving vehicle. Rewrite it as a clear account of the drive: "
        "first the road, the weather and the light, then in order what the vehicle does, what the others on the road "
        "do, and which signals and hazards bear on it. " + _FAITHFUL
    ),
    "av-surveillance": (
        "Below is a description of a short video from a fixed camera above a road. Rewrite it as a clear account of the"
        " traffic: first the place and its conditions, then in order who moves where, who yields, and whatever is out "
        "of the ordinary. " + _FAITHFUL
    ),
}


def name(variant: Variant, text: str) -> str:
    """What the column `prompt` holds: the variant, or `custom-` and a hash of the user's own text."""
    return f"custom-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}" if text else variant


def with_caption(prompt: str, caption: str) -> str:
    """The prompt with a description in its place or behind it.

    A description may repeat what is written in a video; as control tokens of a model's that would no longer be text.
    """
    said = bare(caption)
    return prompt.replace(CAPTION, said) if CAPTION in prompt else f"{prompt}\n\n{said}"


def bare(text: str) -> str:
    """A text without anything that a tokenizer would take for a control token."""
    while SPECIAL.search(text):  # again: what is taken out may leave another one behind
        text = SPECIAL.sub("", text)
    return text


def spoken(text: str) -> str:
    """What a model said, without the thoughts that some write down before."""
    return THOUGHTS.sub("", text).strip()
