"""Field pictures of H.264 (PAFF): which packets hold the second field of a frame, by their slice headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

START_CODE = re.compile(b"\x00\x00\x01")
SLICES, SPS, TYPE_BITS = (1, 5), 7, 0x1F  # types of NAL units, and their bits (ITU-T H.264, 7.4.1)
CHROMA_444, MAX_ORDER_CYCLE = 3, 255
LENGTH_BYTES = 4  # in front of a unit in Matroska
HEAD_BYTES = 512  # of a unit, more than a sequence parameter set has, or a slice header up to its field flags
SEARCH_BYTES = 1 << 14  # of a packet, in which its parameter sets and its first slice begin
# Profiles whose sequence parameter sets state the chroma format and scaling lists (7.3.2.1.1).
HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class _Sequence(NamedTuple):
    """What a sequence parameter set says of slice headers."""

    num_frame_num_bits: int
    has_fields: bool
    has_planes: bool  # each color plane is coded by itself


class _Bits:
    """Reads a NAL unit's bits from the second byte on."""

    def __init__(self, unit: bytes) -> None:
        data = unit[1:].replace(b"\x00\x00\x03", b"\x00\x00")
        self._bits, self._left = int.from_bytes(data), 8 * len(data)

    def u(self, number: int) -> int:
        """An unsigned number of so many bits."""
        self._left -= number
        if self._left < 0:
            raise ValueError("the unit ends")
        return self._bits >> self._left & (1 << number) - 1

    def ue(self) -> int:
        """An Exp-Golomb number (9.1)."""
        number = 0
        while not self.u(1):
            number += 1
        return (1 << number) - 1 + self.u(number)

    def se(self) -> int:
        """A signed Exp-Golomb number (9.1.1)."""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class FieldPairs:
    """Finds second fields among the packets of a stream, given in file order.

    `extradata` is the stream's: an avcC record, whose units have their length in front (ISO/IEC
    14496-15, 5.3.3), or units behind start codes.
    """

    def __init__(self, extradata: bytes) -> None:
        self._sequence: _Sequence | None = None
        self._waiting: tuple[int, int] | None = None  # frame_num and parity of a first field
        self._is_prefixed = extradata.startswith(b"\x01")
        for unit in [extradata[8:]] if self._is_prefixed else _coded_units(extradata):
            self._read_sequence(unit)

    def is_second(self, packet: memoryview) -> bool:
        """Whether a packet begins with the second field of the frame whose first field the packet before holds."""
        data = bytes(packet[:SEARCH_BYTES])
        waiting, self._waiting = self._waiting, None
        for unit in _prefixed_units(data) if self._is_prefixed else _coded_units(data):
            self._read_sequence(unit)
            if unit[0] & TYPE_BITS in SLICES:
                field = self._field(unit)
                if field and waiting and field[0] == waiting[0] and field[1] != waiting[1]:
                    return True
                self._waiting = field
                return False
        return False

    def _field(self, slice_unit: bytes) -> tuple[int, int] | None:
        """The frame_num and parity of the field that a slice belongs to; None if it is part of a frame (7.3.3)."""
        if self._sequence is None or not self._sequence.has_fields:
            return None
        with suppress(ValueError):
            bits = _Bits(slice_unit)
            for _ in range(3):  # first macroblock, type, picture parameter set
                bits.ue()
            bits.u(2 * self._sequence.has_planes)
            frame_num = bits.u(self._sequence.num_frame_num_bits)
            return (frame_num, bits.u(1)) if bits.u(1) else None
        return None

    def _read_sequence(self, unit: bytes) -> None:
        """Take over what a sequence parameter set says; other units say nothing."""
        if unit and unit[0] & TYPE_BITS == SPS:
            with suppress(ValueError):
                self._sequence = _sequence(unit)


def _coded_units(data: bytes) -> Iterator[bytes]:
    """The first bytes of each NAL unit behind a start code."""
    for match in START_CODE.finditer(data):
        if unit := data[match.end() : match.end() + HEAD_BYTES]:
            yield unit


def _prefixed_units(data: bytes) -> Iterator[bytes]:
    """The first bytes of each NAL unit behind its length."""
    at = 0
    while at + LENGTH_BYTES < len(data):
        start = at + LENGTH_BYTES
        yield data[start : start + HEAD_BYTES]
        at = start + int.from_bytes(data[at:start])


def _sequence(unit: bytes) -> _Sequence:
    """Read a sequence parameter set up to frame_mbs_only_flag (7.3.2.1.1).

    Raises:
        ValueError: it is too short.
    """
    bits = _Bits(unit)
    profile, has_planes = bits.u(24) >> 16, False
    bits.ue()
    if profile in HIGH_PROFILES:
        chroma = bits.ue()
        has_planes = chroma == CHROMA_444 and bool(bits.u(1))
        bits.ue()
        bits.ue()
        bits.u(1)
        if bits.u(1):
            for number in range(12 if chroma == CHROMA_444 else 8):
                if bits.u(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    num_bits = bits.ue() + 4
    order = bits.ue()
    if order == 0:
        bits.ue()
    elif order == 1:
        bits.u(1)
        bits.se()
        bits.se()
        for _ in range(min(bits.ue(), MAX_ORDER_CYCLE)):
            bits.se()
    bits.ue()
    bits.u(1)
    bits.ue()
    bits.ue()
    return _Sequence(num_bits, not bits.u(1), has_planes)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last
