"""The prompts of caption and enhance, and the name by which a row refers to its prompt."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal, get_args

from pydantic import BeforeValidator

from udfs.core import words

Variant = Literal["default", "av", "av-surveillance"]
VariantName = Annotated[Variant, BeforeValidator(lambda name: words.known_name(str(name), get_args(Variant)) or name)]
CAPTION = "{caption}"  # a prompt's place for the first description, which else follows the prompt
CONTROL_TOKEN = re.compile(r"<\|[^<>|]*\|>")  # such as <|video_pad|>
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


def prompt_name(variant: Variant, text: str) -> str:
    """The value of the column `prompt`: the variant, or `custom-` and a hash of the user's own text."""
    return f"custom-{hashlib.blake2b(text.encode(), digest_size=6).hexdigest()}" if text else variant


def with_caption(prompt: str, caption: str) -> str:
    """The prompt with a description in the place of CAPTION, or at its end.

    A description may quote text that a video shows, and that text may look like control tokens.
    """
    description = without_control_tokens(caption)
    return prompt.replace(CAPTION, description) if CAPTION in prompt else f"{prompt}\n\n{description}"


def without_control_tokens(text: str) -> str:
    """The text without anything that a tokenizer reads as a control token."""
    while CONTROL_TOKEN.search(text):  # a removal may join the parts of another token
        text = CONTROL_TOKEN.sub("", text)
    return text


def without_thoughts(text: str) -> str:
    """A model's answer without the thoughts that some models write first."""
    return THOUGHTS.sub("", text).strip()
