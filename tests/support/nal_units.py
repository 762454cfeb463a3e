"""Bits and NAL units of H.264 and HEVC, for what no encoder writes."""

from __future__ import annotations


class Bits:
    """A bit string in the order of H.264 and HEVC, the most significant bit first."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, value: int, count: int) -> Bits:
        """Append a number of so many bits."""
        self.text += format(value, f"0{count}b")
        return self

    def ue(self, *values: int) -> Bits:
        """Append exponential Golomb codes of numbers >= 0."""
        for value in values:
            code = format(value + 1, "b")
            self.text += "0" * (len(code) - 1) + code
        return self

    def aligned(self) -> bytes:
        """The bits as whole bytes, padded with zeros."""
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


def nal_unit(header: bytes, content: bytes) -> bytes:
    """A NAL unit behind its start code, with emulation prevention bytes."""
    safe, zeros = bytearray(), 0
    for byte in content:
        if zeros >= 2 and byte <= 3:
            safe.append(3)
            zeros = 0
        safe.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + header + bytes(safe)
