"""Inspection of an uploaded zip file of pictures, a folder for each class, which are unpacked within limits."""

from __future__ import annotations

import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import PIL.Image

from modelshapley.tasks.data import PICTURES
from modelshapley.tasks.uploaded.limits import DataLimits, Progress, Refused, listed
from modelshapley.tasks.uploaded.names import SPLITS

MAX_DEPTH, MAX_PART_BYTES = 6, 200
MAX_LISTED_CLASSES, MAX_LEFT_OUT = 1000, 20
MAX_FIRST_PICTURES = 3
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
BLOCK = 1 << 20


class Member(NamedTuple):
    """A picture in the zip file, and where it goes below the folder of the data."""

    info: zipfile.ZipInfo
    path: PurePosixPath


def unpack_pictures(file: Path, target: Path, limits: DataLimits, progress: Progress) -> dict[str, Any]:
    """Unpack the pictures of a zip file into `target`, and describe them. Raises Refused."""
    try:
        with zipfile.ZipFile(file) as archive:
            members, left_out = _members(archive, file.name, limits)
            for number, member in enumerate(members):
                progress(number / len(members))
                _extract(archive, member, target, file.name)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError) as error:
        raise Refused(f"{file.name} is no zip file that can be read: {str(error)[:200].rstrip('.')}.") from None
    return _described([member.path for member in members], left_out)


def _members(archive: zipfile.ZipFile, name: str, limits: DataLimits) -> tuple[list[Member], list[str]]:
    """Return the pictures, and the names of the files that are none. Raises Refused for a member that is not safe."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    limits.check_rows(name, len(files))
    limits.check_bytes(name, sum(info.file_size for info in files))
    pictures: list[Member] = []
    left_out: list[str] = []
    for info in files:
        path = _safe_path(info, name)
        if path.parts[0] == "__MACOSX" or any(part.startswith(".") for part in path.parts):
            continue  # what file managers add by themselves
        if path.suffix.lower() in PICTURES:
            pictures.append(Member(info, path))
        else:
            left_out.append(str(path))
    if not pictures:
        content = f" It holds {listed(left_out)}; tables are uploaded by themselves." if left_out else ""
        raise Refused(f"{name} holds 0 pictures ({', '.join(PICTURES)}).{content}")
    return _placed(pictures, name), left_out


def _safe_path(info: zipfile.ZipInfo, name: str) -> PurePosixPath:
    """Return where a member lies in the zip file. Raises Refused for a link, or a path that leads anywhere else."""
    raw = info.orig_filename
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise Refused(f"{raw[:80]!r} in {name} is a link or device, no file; zip the pictures themselves.")
    if info.flag_bits & 1:
        raise Refused(f"{raw[:80]!r} in {name} is encrypted; zip the pictures without a password.")
    parts = raw.split("/")
    plain = raw.isprintable() and "\\" not in raw and ":" not in parts[0]
    if not plain or not all(parts) or {".", ".."} & set(parts) or len(parts) > MAX_DEPTH:
        raise Refused(f"{raw[:80]!r} in {name} is no plain path inside it; zip the folder of pictures again.")
    if any(len(part.encode("utf-8", "replace")) > MAX_PART_BYTES for part in parts):
        raise Refused(f"{raw[:40]!r}... in {name} has a name of more than {MAX_PART_BYTES} bytes; shorten it.")
    return PurePosixPath(raw)


def _placed(pictures: list[Member], name: str) -> list[Member]:
    """Drop a folder around all pictures, and name splits as the reader does. Raises Refused for missing classes."""
    while len({member.path.parts[0] for member in pictures}) == 1 and all(len(m.path.parts) > 2 for m in pictures):
        if pictures[0].path.parts[0] in SPLITS:
            break
        pictures = [Member(info, PurePosixPath(*path.parts[1:])) for info, path in pictures]
    in_splits = all(path.parts[0] in SPLITS for _, path in pictures)
    if in_splits:
        pictures = [Member(info, PurePosixPath(SPLITS[path.parts[0]], *path.parts[1:])) for info, path in pictures]
    outside = [str(path) for _, path in pictures if len(path.parts) < (3 if in_splits else 2)]
    if outside:
        raise Refused(
            f"{listed(outside)} of {name} lie in no folder; put each picture into a folder named by its class."
        )
    seen: set[PurePosixPath] = set()
    for _, path in pictures:
        if path in seen:
            raise Refused(f"{str(path)!r} is in {name} twice; keep one.")
        seen.add(path)
    return pictures


def _extract(archive: zipfile.ZipFile, member: Member, target: Path, name: str) -> None:
    """Write one picture, after a look at its header: its pixels are read when they are needed."""
    path = target.joinpath(*member.path.parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member.info) as source, path.open("xb") as copy:
        while block := source.read(BLOCK):
            copy.write(block)
    try:
        with PIL.Image.open(path, formats=FORMATS) as image:
            width, height = image.size
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        raise Refused(
            f"{str(member.path)!r} in {name} is no picture that can be read; replace it or leave it out."
        ) from None
    if width * height > (PIL.Image.MAX_IMAGE_PIXELS or 0):
        raise Refused(f"{str(member.path)!r} in {name} has {width:,} x {height:,} pixels; make it smaller.")


def _described(paths: list[PurePosixPath], left_out: list[str]) -> dict[str, Any]:
    by_split = all(len(path.parts) > 2 and path.parts[0] in SPLITS for path in paths)
    counts: dict[str, int] = {}
    classes: set[str] = set()
    for path in paths:
        counts[path.parts[0] if by_split else "all"] = counts.get(path.parts[0] if by_split else "all", 0) + 1
        classes.add(path.parts[1 if by_split else 0])
    first = [
        {"image": str(path), "label": path.parts[1 if by_split else 0]} for path in sorted(paths)[:MAX_FIRST_PICTURES]
    ]
    return {
        "form": "pictures",
        "splits": [{"name": name, "rows": counts[name]} for name in sorted(counts)],
        "columns": [{"name": "image", "kind": "image"}, {"name": "label", "kind": "text"}],
        "first": first,
        "classes": sorted(classes)[:MAX_LISTED_CLASSES],
        "left_out": left_out[:MAX_LEFT_OUT],
    }
