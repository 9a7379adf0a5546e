"""The shared libraries that a 64 bit ELF file needs (System V ABI, chapters 4 and 5)."""

from __future__ import annotations

import struct

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


def needed(content: bytes) -> list[str]:
    """Names of the libraries and the path of the loader; empty if this is not an ELF file."""
    if content[:6] != b"\x7fELF\x02\x01":
        return []
    (table,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    segments = [struct.unpack_from("<IIQQQQ", content, table + size * i) for i in range(count)]
    names: list[str] = []
    offsets: list[int] = []
    strings = 0
    for kind, _, offset, _, _, length in segments:
        if kind == _PT_INTERP:
            names.append(_text(content, offset))
        if kind == _PT_DYNAMIC:
            for tag, value in struct.iter_unpack("<QQ", content[offset : offset + length]):
                if tag == _DT_NEEDED:
                    offsets.append(value)
                elif tag == _DT_STRTAB:
                    strings = value
                elif tag == 0:
                    break
    for kind, _, offset, address, _, length in segments:
        if kind == _PT_LOAD and address <= strings < address + length:
            names += [_text(content, strings - address + offset + name) for name in offsets]
            break
    return names


def _text(content: bytes, start: int) -> str:
    return content[start : content.index(b"\0", start)].decode()
