"""Keys of hashes: what they are made of, how many there are, and which copies share one."""

from __future__ import annotations

from itertools import combinations

import pytest

from udfs.similarity.hash_keys import HASH_BITS, MOST_PAIRS, Key, frame_pairs, keys

PIECES = [255 << 8 * i for i in range(8)]


def bits(mask: int) -> int:
    """A mask as a number without a sign."""
    return mask % (1 << HASH_BITS)


def share_a_key(every: tuple[Key, ...], apart: dict[int, int]) -> bool:
    """Whether two clips have a key in common whose frames differ in these bits, by frame."""
    return any(all(bits(part.mask) & apart.get(part.frame, 0) == 0 for part in key) for key in every)


@pytest.mark.parametrize("bands", range(2, 17))
def test_a_key_has_bits_of_two_frames_and_none_twice(bands: int) -> None:
    every = keys(4, 4, bands)
    assert 0 < len(every) == len(set(every)) <= 56
    for one, other in every:
        assert one.frame < other.frame
        assert bits(one.mask) & bits(other.mask) == 0
        assert abs((bits(one.mask) | bits(other.mask)).bit_count() - 128 / bands) < 4
        assert -(2**63) <= min(one.mask, other.mask) <= max(one.mask, other.mask) < 2**63


def test_by_default_there_are_28_keys_of_32_bits() -> None:
    every = keys(4, 4, 4)
    assert len(every) == 28
    assert {(bits(one.mask) | bits(other.mask)).bit_count() for one, other in every} == {32}


def test_two_keys_of_the_same_frames_share_at_most_half_of_their_bits() -> None:
    for (a, b), (c, d) in combinations(keys(2, 2, 4), 2):
        assert (bits(a.mask | b.mask) & bits(c.mask | d.mask)).bit_count() <= 16


def test_copies_with_two_frames_that_differ_in_two_bits_each_always_share_a_key() -> None:
    for frames in combinations(range(4), 2):
        for one in combinations(PIECES, 2):
            for other in combinations(PIECES, 2):
                apart = {frames[0]: sum(one), frames[1]: sum(other)}
                anything = dict.fromkeys(set(range(4)) - set(frames), 2**64 - 1)
                assert share_a_key(keys(4, 2, 4), apart | anything)


def test_copies_with_bits_apart_in_four_pieces_of_every_frame_may_share_none() -> None:
    assert not share_a_key(keys(4, 4, 4), dict.fromkeys(range(4), sum(PIECES[:5])))
    assert share_a_key(keys(4, 4, 4), dict.fromkeys(range(4), sum(PIECES[:4])))


@pytest.mark.parametrize(("num_frames", "min_agree"), [(n, a) for n in range(1, 5) for a in range(1, n + 1)])
def test_of_any_frames_that_agree_two_are_a_pair(num_frames: int, min_agree: int) -> None:
    pairs = set(frame_pairs(num_frames, min_agree))
    for agreeing in combinations(range(num_frames), min_agree):
        assert pairs & ({(agreeing[0],) * 2} if min_agree == 1 else set(combinations(agreeing, 2)))


def test_many_frames_have_few_pairs() -> None:
    for num_frames, min_agree in ((8, 4), (16, 12), (1000, 1), (1000, 4), (1000, 1000)):
        pairs = frame_pairs(num_frames, min_agree)
        assert 1 < len(pairs) <= MOST_PAIRS
        assert max(frame for pair in pairs for frame in pair) > num_frames / 2  # not of the beginning alone
