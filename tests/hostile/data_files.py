"""Files that claim to be data of a task, one line each: name and content of the file, and words of the refusal."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
from PIL import Image
from pyarrow import parquet


class HostileFile(NamedTuple):
    """make: the content, made when it is needed. words: what the refusal says."""

    name: str
    make: Callable[[], bytes]
    words: str


def png(side: int = 4) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (side, side)).save(stream, "png")
    return stream.getvalue()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content, how)
    return stream.getvalue()


def special(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (kind | 0o777) << 16
    return info


def encrypted() -> bytes:
    data = bytearray(zipped(("cat/a.png", png())))
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + flags] |= 1
    return bytes(data)


def lying_size() -> bytes:
    """A member that unpacks to 100 MB and says that it has 10 bytes."""
    data = bytearray(zipped(("cat/a.png", bytes(10**8)), how=zipfile.ZIP_DEFLATED))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        start = data.index(signature) + place
        data[start : start + 4] = struct.pack("<I", 10)
    return bytes(data)


def table(**columns: Any) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pa.table(columns), stream, compression="zstd")
    return stream.getvalue()


def lying_header() -> bytes:
    """A parquet file whose metadata name ten times as many bytes as there are before them."""
    data = bytearray(table(a=list(range(1000))))
    length = struct.unpack("<I", data[-8:-4])[0]
    metadata = data[-8 - length : -8]
    return bytes(data[:40] + metadata + data[-8:])


def huge_footer() -> bytes:
    return b"PAR1" + bytes(100) + struct.pack("<I", 2**31 - 1) + b"PAR1"


FILES: dict[str, HostileFile] = {
    "no zip": HostileFile("x.zip", lambda: b"hello" * 100, "is no zip file"),
    "half a zip": HostileFile("x.zip", lambda: zipped(("cat/a.png", png()))[:60], "is no zip file"),
    "a zip bomb": HostileFile("x.zip", lambda: zipped(("cat/a.png", bytes(10**8)), how=8), "unpacks to more than"),
    "a zip bomb that lies": HostileFile("x.zip", lying_size, "is no "),
    "a zip of too many": HostileFile("x.zip", lambda: zipped(*((f"c/{i}.png", b"") for i in range(3000))), "more than"),
    "a zip that climbs": HostileFile("x.zip", lambda: zipped(("../../cat/a.png", png())), "no plain path"),
    "a zip with an absolute path": HostileFile("x.zip", lambda: zipped(("/etc/a.png", png())), "no plain path"),
    "a zip with a drive": HostileFile("x.zip", lambda: zipped(("C:/cat/a.png", png())), "no plain path"),
    "a zip with backslashes": HostileFile("x.zip", lambda: zipped(("..\\..\\a.png", png())), "no plain path"),
    "a zip with a null byte": HostileFile(
        "x.zip", lambda: zipped(("cat/aXpng", png())).replace(b"aXpng", b"a\0png"), "no plain path"
    ),
    "a zip with a link": HostileFile(
        "x.zip", lambda: zipped((special("cat/a.png", stat.S_IFLNK), b"/etc/passwd")), "is a link"
    ),
    "a zip with a device": HostileFile("x.zip", lambda: zipped((special("cat/a.png", stat.S_IFCHR), b"")), "is a link"),
    "a zip with a password": HostileFile("x.zip", encrypted, "is encrypted"),
    "a zip of one picture twice": HostileFile(
        "x.zip", lambda: zipped(("a/c/1.png", png()), ("a/c/1.png", png())), "twice"
    ),
    "a zip that goes deep": HostileFile("x.zip", lambda: zipped(("a/" * 50 + "1.png", png())), "no plain path"),
    "a zip with a long name": HostileFile("x.zip", lambda: zipped(("c/" + "x" * 5000 + ".png", png())), "more than"),
    "a zip with text for a picture": HostileFile("x.zip", lambda: zipped(("c/1.png", b"text")), "is no picture"),
    "a zip with SVG for a picture": HostileFile("x.zip", lambda: zipped(("c/1.png", b"<svg/>")), "is no picture"),
    "a picture of too many pixels": HostileFile("x.zip", lambda: zipped(("c/1.png", png(10_000))), "pixels"),
    "a zip of nothing": HostileFile("x.zip", lambda: zipped(), "0 pictures"),
    "a zip of tables": HostileFile("x.zip", lambda: zipped(("a/b.csv", b"x")), "It holds a/b.csv"),
    "pictures without a class": HostileFile("x.zip", lambda: zipped(("1.png", png())), "lie in no folder"),
    "a million columns": HostileFile("x.csv", lambda: b",".join([b"a"] * 10**6) + b"\n1\n", "more than 1,000 columns"),
    "200,000 keys": HostileFile(
        "x.jsonl", lambda: b"{" + b",".join(b'"%d":1' % i for i in range(200_000)) + b"}\n", "more than 1,000 columns"
    ),
    "columns that grow": HostileFile(
        "x.jsonl", lambda: b"".join(b'{"c%d":1}\n' % i for i in range(1500)), "more than 1,000 columns"
    ),
    "a cell of 40 MB": HostileFile("x.csv", lambda: b"a\n" + b"x" * 40_000_000, "Line 2 of x.csv has more than"),
    "a quoted cell of 4 MB": HostileFile("x.csv", lambda: b'a\n"' + b"x\n" * 2_000_000 + b'"\n', "field limit"),
    "a line of 40 MB": HostileFile("x.jsonl", lambda: b'"' + b"x" * 40_000_000, "has more than"),
    "a quote without end": HostileFile("x.csv", lambda: b'a,b\n"1,2\n', "cannot be read as CSV"),
    "two columns of one name": HostileFile("x.csv", lambda: b"a,a\n1,2\n", "two columns called 'a'"),
    "a column without a name": HostileFile("x.csv", lambda: b"a,\n1,2\n", "Column 2 of x.csv has no name"),
    "rows that are too long": HostileFile("x.csv", lambda: b"a\n1,2\n", "Row 1 of x.csv has more fields"),
    "a header alone": HostileFile("x.csv", lambda: b"a,b\n", "has no rows below its header"),
    "blank lines": HostileFile("x.jsonl", lambda: b"\n" * 1000, "has no rows"),
    "a row that is no JSON": HostileFile(
        "x.jsonl", lambda: b'{"a": 1}\n' * 16 + b"{a}\n", "Row 17 of x.jsonl is not JSON"
    ),
    "deep JSON": HostileFile("x.jsonl", lambda: b"[" * 100_000 + b"\n", "Row 1 of x.jsonl is not JSON"),
    "JSON of digits": HostileFile(
        "x.jsonl", lambda: b'{"a": ' + b"9" * 10_000 + b"}\n", "Row 1 of x.jsonl is not JSON"
    ),
    "JSON that is a list": HostileFile("x.jsonl", lambda: b"[1]\n", "is not an object of columns"),
    "Latin-1": HostileFile("x.csv", lambda: b"a\nfine\ncaf\xe9\n", "Row 2 of x.csv is not UTF-8 text"),
    "UTF-16": HostileFile("x.jsonl", lambda: '{"a": 1}\n'.encode("utf-16"), "is not JSON"),
    "no parquet": HostileFile("x.parquet", lambda: b"hello" * 100, "is no parquet file"),
    "half a parquet file": HostileFile("x.parquet", lambda: table(a=[1, 2])[:100], "is no parquet file"),
    "a lying parquet header": HostileFile("x.parquet", lying_header, "is no parquet file"),
    "a parquet footer of 2 GB": HostileFile("x.parquet", huge_footer, "is no parquet file"),
    "a parquet bomb": HostileFile("x.parquet", lambda: table(a=["x" * 10**6] * 60), "unpacks to more than"),
    "a parquet file without rows": HostileFile("x.parquet", lambda: table(a=[]), "has no rows"),
    "a parquet file of many rows": HostileFile("x.parquet", lambda: table(a=list(range(3000))), "more than 2,000 rows"),
    "a wide parquet file": HostileFile(
        "x.parquet", lambda: table(**{f"c{i}": [1] for i in range(1200)}), "more than 1,000 columns"
    ),
}
