"""Keys of perceptual hashes: which bits of which frames two copies must have in common to be compared.

A hash of 64 bits is cut into pieces, and a key takes four of them: two of one frame and two others
of another frame. No piece is taken twice, so that a key of a clip in which nothing moves says as
much as that of one that moves. Any two keys share at most two pieces: with 8 pieces, these 14 keys
are the Steiner system S(3, 4, 8). Whatever two pieces differ in the one frame, and whatever two in
the other, one of the keys has none of these.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from typing import NamedTuple, TypeVar

T = TypeVar("T")

HASH_BITS = 64
MOST_PER_PAIR = 28  # keys of two frames
MOST_PAIRS = 6  # of frames
# How four pieces are dealt to two frames; one key after the other takes the next deal.
DEALS = ((0, 1, 2, 3), (2, 3, 0, 1), (0, 2, 1, 3), (1, 3, 0, 2), (0, 3, 1, 2), (1, 2, 0, 3))


class Part(NamedTuple):
    """Bits of the hash of a frame, as a mask that is a signed 64-bit number."""

    frame: int
    mask: int


Key = tuple[Part, Part]


@cache
def keys(num_frames: int, min_agree: int, bands: int) -> tuple[Key, ...]:
    """The keys of clips of so many hashes, of which `min_agree` agree in copies; each has 128 / bands bits."""
    pairs = frame_pairs(num_frames, min_agree)
    return tuple(key for number, pair in enumerate(pairs) for key in _keys(pair, bands, first_deal=number % 2))


def frame_pairs(num_frames: int, min_agree: int) -> list[tuple[int, int]]:
    """Pairs of frames, so that of any `min_agree` frames two are a pair; a frame by itself if one is to agree.

    Frames are dealt to half as many groups as are to agree, and any two of a group are a pair. If
    there are more than MOST_PAIRS of them, the nearest count, evenly spaced: then copies whose
    frames all agree are found, and those that agree in few of many frames may be missed.
    """
    if min_agree == 1:
        pairs = [(frame, frame) for frame in range(num_frames)]
    else:
        num_groups = min_agree // 2
        pairs = [(i, j) for i, j in combinations(range(num_frames), 2) if (j - i) % num_groups == 0]
        pairs = sorted(sorted(pairs, key=lambda pair: pair[1] - pair[0])[: max(MOST_PAIRS, num_frames - num_groups)])
    return _spaced(pairs, MOST_PAIRS)


def _keys(frames: tuple[int, int], bands: int, first_deal: int) -> Iterator[Key]:
    for number, pieces in enumerate(_quadruples(2 * bands)):
        deal = DEALS[(number + first_deal) % len(DEALS)]
        masks = [_mask(pieces[i], 2 * bands) for i in deal]
        yield Part(frames[0], _signed(masks[0] | masks[1])), Part(frames[1], _signed(masks[2] | masks[3]))


def _quadruples(num_pieces: int) -> list[tuple[int, int, int, int]]:
    """Sets of four pieces, of which any two share at most two, since any three determine the fourth."""
    is_power_of_2 = num_pieces & (num_pieces - 1) == 0
    every = [
        (a, b, c, d)
        for a, b, c, d in combinations(range(num_pieces), 4)
        if (a ^ b ^ c ^ d if is_power_of_2 else (a + b + c + d) % num_pieces) == 0
    ]
    return _spaced(every, MOST_PER_PAIR)


def _spaced(items: list[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced."""
    return items[:: max(1, -(-len(items) // most))]


def _mask(piece: int, num_pieces: int) -> int:
    start, end = (HASH_BITS * i // num_pieces for i in (piece, piece + 1))
    return (1 << end) - (1 << start)


def _signed(mask: int) -> int:
    return mask - 2**HASH_BITS if mask >= 2 ** (HASH_BITS - 1) else mask
