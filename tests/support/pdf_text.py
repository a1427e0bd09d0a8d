"""What a PDF of jsPDF shows: its page size and its text. It reads no other writer's files."""

from __future__ import annotations

import re
import zlib

MM_A_POINT = 25.4 / 72


def page_size(data: bytes) -> tuple[float, float]:
    """Width and height of the page in millimetres."""
    found = re.search(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", data)
    return float(found[1]) * MM_A_POINT, float(found[2]) * MM_A_POINT


def streams(data: bytes) -> list[bytes]:
    """The contents of all compressed streams."""
    found = []
    for content in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, re.DOTALL):
        try:
            found.append(zlib.decompress(content))
        except zlib.error:
            found.append(content)
    return found


def text_of(data: bytes) -> str:
    """All texts, a line for each. Fonts number the same letters alike, as they are the same subset of two weights."""
    letters: dict[int, str] = {}
    lines = []
    for content in streams(data):
        for glyph, letter in re.findall(rb"^<([0-9a-fA-F]{4})><([0-9a-fA-F]{4})>$", content, re.MULTILINE):
            letters[int(glyph, 16)] = chr(int(letter, 16))
    for content in streams(data):
        for glyphs in re.findall(rb"<([0-9a-fA-F]+)> Tj", content):
            codes = [int(glyphs[at : at + 4], 16) for at in range(0, len(glyphs), 4)]
            lines.append("".join(letters.get(code, "?") for code in codes))
    return "\n".join(lines)
