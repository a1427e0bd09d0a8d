"""A fake of the Hugging Face hub on loopback: one repository, out of a folder, as far as its client asks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
LARGE = (".safetensors", ".parquet")  # files that the hub wants outside of git
Kind = Literal["model", "dataset"]


@dataclass
class _Repository:
    """name, folder, pieces: see :func:`fake_hub`. large: uploaded files outside of git, by their sha256."""

    name: str
    folder: Path
    pieces: int
    kind: Kind
    token: str | None
    asked: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Path of the repository outside of the API."""
        return self.name if self.kind == "model" else f"datasets/{self.name}"

    def info(self) -> dict[str, Any]:
        siblings = [{"rfilename": file.name} for file in sorted(self.folder.iterdir())]
        known = {"id": self.name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}
        return known | ({"modelId": self.name} if self.kind == "model" else {})

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
            for file in sorted(self.folder.iterdir())
        ]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: _Repository

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    # -- reading -----------------------------------------------------------------------------------

    def answer(self) -> None:
        hub, path = self.hub, self.asked()
        if path == "/":
            return self.send(200, b"a fake hub")
        revision = re.fullmatch(rf"/api/{hub.kind}s/{hub.name}(/(?:revision|tree)/(?P<at>[^/]+))?", path)
        file = re.fullmatch(rf"/{hub.path}/resolve/(?P<at>[^/]+)/(?P<file>[^/]+)", path)
        found = revision or file
        if found is None or not hub.folder.is_dir():
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if (found["at"] or "main") not in ("main", "v1", COMMIT):
            return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        if file is not None:
            return self.file(hub.folder / file["file"])
        return self.json(hub.tree() if "/tree/" in path else hub.info())

    def file(self, file: Path) -> None:
        if not file.is_file():
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
        data, status, headers = file.read_bytes(), 200, {"ETag": f'"{file.name}"', "X-Repo-Commit": COMMIT}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if wanted:
            start, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{last}/{len(data)}"
            data, status = data[start : last + 1], 206
        return self.send(status, data, headers)

    # -- writing, for those who bring the token ----------------------------------------------------

    def do_POST(self) -> None:
        hub, path, body = self.hub, self.asked(), self.body()
        if path == "/api/validate-yaml":
            return self.json({"errors": [], "warnings": []})
        if hub.token is None or self.headers.get("authorization") != f"Bearer {hub.token}":
            return self.send(401, b'{"error": "Invalid credentials"}')
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if not hub.folder.is_dir():
            return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if path == f"/api/{hub.kind}s/{hub.name}/preupload/main":
            files = [{"path": file["path"], "shouldIgnore": False} for file in json.loads(body)["files"]]
            modes = ["lfs" if file["path"].endswith(LARGE) else "regular" for file in files]
            return self.json({"files": [file | {"uploadMode": mode} for file, mode in zip(files, modes, strict=True)]})
        if path == f"/{hub.path}.git/info/lfs/objects/batch":
            return self.json({"transfer": "basic", "objects": [self.place(one) for one in json.loads(body)["objects"]]})
        if path == f"/api/{hub.kind}s/{hub.name}/commit/main":
            return self.commit([json.loads(line) for line in body.splitlines()])
        return self.send(404, b"{}")

    def do_PUT(self) -> None:
        oid, data = self.asked().rpartition("/")[2], self.body()
        if hashlib.sha256(data).hexdigest() != oid:
            return self.send(400, b"{}")
        self.hub.large[oid] = data
        return self.send(200, b"")

    def create(self, wanted: dict[str, Any]) -> None:
        owner, name = self.hub.name.split("/")
        url = f"http://{self.headers['host']}/{self.hub.path}"
        if (wanted.get("organization"), wanted["name"], wanted.get("type", "model")) != (owner, name, self.hub.kind):
            return self.send(403, b'{"error": "You cannot create this repository"}')
        if self.hub.folder.is_dir():
            return self.send(409, json.dumps({"error": "You already created it", "url": url}).encode())
        self.hub.folder.mkdir()
        self.hub.asked.append(f"created {wanted.get('visibility')}")
        return self.json({"url": url})

    def place(self, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"http://{self.headers['host']}/large/{wanted['oid']}"
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": {"href": href}}}

    def commit(self, lines: list[dict[str, Any]]) -> None:
        for value in (line["value"] for line in lines if line["key"] == "file"):
            (self.hub.folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
        for value in (line["value"] for line in lines if line["key"] == "lfsFile"):
            (self.hub.folder / value["path"]).write_bytes(self.hub.large[value["oid"]])
        url = f"http://{self.headers['host']}/{self.hub.path}/commit/{COMMIT}"
        return self.json({"commitUrl": url, "commitOid": COMMIT, "success": True})

    # -- HTTP --------------------------------------------------------------------------------------

    def asked(self) -> str:
        """Remember what is asked; return its path."""
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path} {self.headers.get('range', '')}".strip())
        return path

    def body(self) -> bytes:
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def json(self, data: Any) -> None:
        self.send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            step = max(1, -(-len(data) // self.hub.pieces))
            for start in range(0, len(data), step):
                self.wfile.write(data[start : start + step])
                time.sleep(0.1 if self.hub.pieces > 1 else 0)


@contextmanager
def fake_hub(
    name: str, folder: Path, pieces: int = 1, kind: Kind = "model", token: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what was asked of it: 'GET /path bytes=0-9'. The branch main and the tag v1 are COMMIT.

    folder: the repository's files; there is no such repository until it exists. pieces: in how many a file is sent, a
    tenth of a second apart. token: whoever brings it may create the repository and commit to it.
    """
    hub = _Repository(name, folder, pieces, kind, token)
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub.asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
