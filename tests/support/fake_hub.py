"""A fake of the Hugging Face hub on loopback: one repository out of a folder, as far as its client asks."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


@contextmanager
def fake_hub(name: str, folder: Path, pieces: int = 1) -> Iterator[tuple[str, list[str]]]:
    """Its address, and what was asked of it: 'GET /path bytes=0-9'. The branch main and the tag v1 are COMMIT.

    pieces: in how many a file is sent, a tenth of a second apart.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing on the terminal."""

        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(f"{self.command} {path} {self.headers.get('range', '')}".strip())
            if path == "/":
                return self.send(200, b"a fake hub")
            revision = re.fullmatch(rf"/api/models/{name}(/(?:revision|tree)/(?P<at>[^/]+))?", path)
            file = re.fullmatch(rf"/{name}/resolve/(?P<at>[^/]+)/(?P<file>[^/]+)", path)
            found = revision or file
            if found is None:
                return self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if (found["at"] or "main") not in ("main", "v1", COMMIT):
                return self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            if file is not None:
                return self.file(folder / file["file"])
            return self.json(self.tree() if "/tree/" in path else self.info())

        def info(self) -> dict[str, Any]:
            siblings = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
            return {"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": siblings, "tags": []}

        def tree(self) -> list[dict[str, Any]]:
            return [
                {"type": "file", "path": file.name, "size": file.stat().st_size, "oid": "0" * 40}
                for file in sorted(folder.iterdir())
            ]

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

        def json(self, data: Any) -> None:
            self.send(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

        def send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(status)
            for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                step = max(1, -(-len(data) // pieces))
                for start in range(0, len(data), step):
                    self.wfile.write(data[start : start + step])
                    time.sleep(0.1 if pieces > 1 else 0)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
