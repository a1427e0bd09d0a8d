"""Requests that no client means well with, one line each: method, path, body and headers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Hostile(NamedTuple):
    """A request. body: bytes as they are, anything else as JSON. kind: its media type."""

    method: str
    path: str
    body: Any = None
    kind: str = "application/json"
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed


RUN = {"model": "demo:digits-vit", "task": "digits", "methods": ["mean-abs"], "units": ["head"], "limit": 8}
LABELLED = {"kind": "text-classification", "name": "many", "source": {"path": "x.csv"}}
WRITTEN = {"kind": "generation", "name": "x", "source": {"path": "x.csv"}, "prompt": "{q}", "rule": "regex"}
YAML = "application/yaml"
HEAD = "kind: text-classification\nname: many\nsource: {path: x.csv}\n"


def run(**change: Any) -> Hostile:
    return Hostile("POST", "/runs", RUN | change)


def task(**fields: Any) -> Hostile:
    return Hostile("POST", "/tasks", LABELLED | fields)


def rule(pattern: str) -> Hostile:
    return Hostile("POST", "/tasks", WRITTEN | {"pattern": pattern})


def text(body: str | bytes) -> Hostile:
    return Hostile("POST", "/tasks", body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"), YAML)


def raw(path: str, body: bytes, kind: str = "application/json", **headers: str) -> Hostile:
    return Hostile("POST", path, body, kind, headers)


def get(path: str, **headers: str) -> Hostile:
    return Hostile("GET", path, headers=headers)


def upload(file: str, size: Any = 10, **fields: Any) -> Hostile:
    files = [{"name": "config.json", "size": 10}, {"name": file, "size": size}]
    return Hostile("POST", "/uploads", {"name": "bad", "files": files} | fields)


def data(*files: str, size: Any = 10, **fields: Any) -> Hostile:
    listed = [{"name": file, "size": size} for file in files]
    return Hostile("POST", "/uploads", {"kind": "data", "name": "bad", "files": listed} | fields)


def trial(off: Any) -> Hostile:
    return Hostile("POST", "/trials", {"run": "0123456789ab", "off": off})


def key(**fields: Any) -> Hostile:
    return Hostile("POST", "/keys", {"name": "ada"} | fields)


def derived(**fields: Any) -> Hostile:
    return Hostile("POST", "/derived", {"run": "0123456789ab", "name": "small", "share": 0.5} | fields)


def used(use: str, **fields: Any) -> Hostile:
    return Hostile("POST", "/derived", {"use": use, "run": "0123456789ab", "most": {"neuron": 0.1}} | fields)


DEEP = b'{"a":' + b"[" * 100_000
BILLION = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
)

RUNS: dict[str, Hostile] = {
    "a path as a model": run(model="../../../etc/passwd"),
    "a path as a local model": run(model="local:../../etc"),
    "an absolute path": run(model="local:/etc"),
    "a hidden model": run(model="local:.uploads"),
    "a null byte in a model": run(model="local:a\x00b"),
    "a hub path": run(model="hub:../../x/y"),
    "a URL as a model": run(model="http://169.254.169.254/latest"),
    "a model of a megabyte": run(model="demo:" + "x" * 1_000_000),
    "half a surrogate pair as a model": raw("/runs", json.dumps(RUN | {"model": "\ud800"}).encode()),
    "half a surrogate pair as a task": raw("/runs", json.dumps(RUN | {"task": "\udfff"}).encode()),
    "a path as a task": run(task="../../tasks/x"),
    "a thousand methods": run(methods=["mean-abs"] * 1000),
    "a method of a megabyte": run(methods=["mean-abs," + "x" * 1_000_000]),
    "points without end": run(methods=["path-shapley,points=" + "9" * 5000]),
    "points that are no number": run(methods=["path-shapley,points=nan"]),
    "passes without end": run(methods=["coalition-shapley,passes=1e308"]),
    "a method's code": run(methods=["__import__('os').system('id')"]),
    "a limit of 10^30": run(limit=10**30),
    "a limit without end": raw("/runs", json.dumps(RUN).replace("8", "1e999").encode()),
    "a limit that is no number": raw("/runs", json.dumps(RUN).replace("8", "NaN").encode()),
    "a limit as a truth": run(limit=True),
    "a limit as a fraction": run(limit=8.5),
    "a limit of 50,000 digits": raw("/runs", json.dumps(RUN).replace("8", "8" * 50_000).encode()),
    "a negative seed": run(seed=-1),
    "a seed beyond 64 bits": run(seed=2**70),
    "a million shards": run(shards=1_000_000),
    "no units": run(units=[]),
    "units as an object": run(units={"head": 1}),
    "ten thousand units": run(units=["head"] * 10_000),
    "unknown fields": run(**{f"f{i}": i for i in range(50)}),
    "twenty thousand fields": run(**{f"f{i}": i for i in range(20_000)}),
    "its own id": run(id="0123456789ab"),
    "its own owner": run(owner="ada"),
    "a check that does not exist": run(faithfulness="x" * 10_000),
    "tags as bombs": run(tags=["x" * 100_000] * 100),
}
TASKS: dict[str, Hostile] = {
    "data that are still uploaded": task(source={"path": ".uploads/0123456789ab/files"}),
    "a path out of the data": task(name="out", source={"path": "../../etc/passwd"}),
    "an absolute path of data": task(name="out", source={"path": "/etc/passwd"}),
    "a null byte in a path": task(source={"path": "a\x00b"}),
    "a source that is a list": task(source=[]),
    "a name with a slash": task(name="a/b"),
    "a name of dots": task(name=".."),
    "a name of a megabyte": task(name="x" * 1_000_000),
    "a name of a built-in task": task(name="digits"),
    "labels that repeat": task(labels=["a"] * 20_000),
    "labels of nothing": task(labels=[]),
    "labels of nulls": task(labels=[None] * 100),
    "labels of lists": task(labels=[[["a"]]]),
    "a label of a megabyte": task(labels=["x" * 1_000_000, 5, {}]),
    "labels as a deep object": task(labels={"a": {"b": {"c": {}}}}),
    "a limit of 10^30 rows": task(limit=10**30),
    "a share that is no number": Hostile(
        "POST", "/tasks", json.dumps(LABELLED | {"probe": {"share": float("nan")}}).encode()
    ),
    "a share of 10^300": task(probe={"split": "train", "share": 1e300}),
    "a negative share": task(probe={"split": "train", "share": -1}),
    "an unknown kind": task(kind="exec"),
    "a kind as a list": task(kind=["text-classification"]),
    "attributes in a prompt": Hostile("POST", "/tasks", WRITTEN | {"prompt": "{q.__class__.__mro__}"}),
    "an index in a prompt": Hostile("POST", "/tasks", WRITTEN | {"prompt": "{q[0]}"}),
    "a width in a prompt": Hostile("POST", "/tasks", WRITTEN | {"prompt": "{q:>9999999999}"}),
    "open braces in a prompt": Hostile("POST", "/tasks", WRITTEN | {"prompt": "{" * 10_000}),
    "a window of 10^18": Hostile(
        "POST", "/tasks", {"kind": "language-modelling", "name": "w", "source": {"path": "x"}, "window": 10**18}
    ),
    "an answer of 10^9 tokens": Hostile("POST", "/tasks", WRITTEN | {"rule": "exact", "max_new_tokens": 10**9}),
    "a pattern that nests": rule("((((((((((a{99}){99}){99}){99}){99}){99}){99}){99}){99}){99})"),
    "a pattern that repeats": rule("(a{99999999})"),
    "a pattern of a megabyte": rule("(" + "a" * 1_000_000 + ")"),
    "a pattern of brackets": rule("(" * 50_000),
    "a pattern without a group": rule("a+"),
    "a pattern of nothing": rule(""),
    "a pattern that recurses": rule("((?R))"),
    "a pattern that calls a group": rule("((?1)|a)"),
    "a pattern with a fuzzy match": rule("(?:a){e<=99999}"),
    "a YAML bomb": text(BILLION),
    "a YAML tag that runs": text("!!python/object/apply:os.system ['id']"),
    "a YAML tag that opens": text(HEAD + "title: !!python/name:os.system ''"),
    "YAML merges": text("a: &a {<<: *a}"),
    "YAML in base 60": text(HEAD + "limit: 1" + ":1" * 50_000),
    "YAML brackets": text(HEAD + "labels: " + "[" * 100_000),
    "YAML dashes": text(HEAD + "labels:\n" + "- " * 50_000 + "a"),
    "YAML that is binary": text(b"\x00\x01\x02\xff\xfe"),
    "YAML half a surrogate pair": text(HEAD + "title: \ud800"),
    "YAML escaped half a surrogate pair": text(HEAD + 'title: "\\ud800"'),
    "YAML of many documents": text("---\n" * 50_000),
    "YAML with keys twice": text(HEAD + "name: twice"),
    "YAML that is a list": text("[1, 2, 3]"),
    "YAML of a date": text("2026-01-01"),
    "YAML of nothing": text(""),
    "YAML in UTF-32": text(HEAD.encode("utf-32")),
}
BODIES: dict[str, Hostile] = {
    "deep JSON": raw("/runs", DEEP),
    "deep JSON that ends": raw("/trials", b"[" * 50_000 + b"]" * 50_000),
    "JSON with NaN": raw(
        "/trials", b'{"run": "x", "method": "two-sided", "unit": "head", "which": "least", "fraction": NaN}'
    ),
    "JSON that is no UTF-8": raw("/runs", b'{"model": "\xff"}'),
    "JSON with a byte order mark": raw("/runs", b"\xef\xbb\xbf{}"),
    "JSON that is empty": raw("/runs", b""),
    "JSON that is null": raw("/runs", b"null"),
    "JSON of white space": raw("/runs", b" " * 1_000_000),
    "JSON of digits": raw("/runs", b"9" * 1_000_000),
    "ten megabytes": raw("/runs", b'"' + b"x" * 10_000_000 + b'"'),
    "a form": raw("/runs", b"model=demo", "application/x-www-form-urlencoded"),
    "a multipart form": raw("/runs", b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
    "plain text": raw("/tasks", b"{}", "text/plain"),
    "no media type": raw("/tasks", b"{}", ""),
    "a pickle": raw("/runs", b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01a\x94.", "application/octet-stream"),
    "a length that is none": raw("/runs", b"{}", **{"content-length": "nothing"}),
    "a length that lies": raw("/runs", b"{}", **{"content-length": "99999999999"}),
    "another site": raw("/runs", json.dumps(RUN).encode(), origin="http://evil.example"),
    "a frame of another site": raw("/runs", json.dumps(RUN).encode(), **{"sec-fetch-site": "cross-site"}),
    "another host": get("/runs", host="evil.example"),
    "no host": get("/runs", host=""),
    "a host of a megabyte": get("/runs", host="x" * 100_000),
}
PATHS: dict[str, Hostile] = {
    "a run that climbs": get("/runs/..%2f..%2fetc%2fpasswd"),
    "data to delete that climb": Hostile("DELETE", "/datasets/..%2f..%2fmodels"),
    "data to delete that are hidden": Hostile("DELETE", "/datasets/.uploads"),
    "a partial map that climbs": get("/runs/0123456789ab/partial/..%2f..%2fx/head"),
    "a partial map of a negative number": get("/runs/0123456789ab/partial/two-sided/head?after=-1"),
    "a run with a null byte": get("/runs/%00"),
    "a run that is no UTF-8": get("/runs/%ff%fe"),
    "a run of 10,000 letters": get("/runs/" + "x" * 10_000),
    "a map that climbs": get("/runs/0123456789ab/maps/..%2f..%2fx/head"),
    "a map of a line": get("/runs/%0A/maps/two-sided/head"),
    "a task file that climbs": get("/tasks/..%2f..%2fx/file"),
    "a task in another format": get("/tasks/digits/file?format=exe"),
    "a limit of runs": get("/runs?limit=999999999999999999999"),
    "a negative offset": get("/runs?offset=-1"),
    "an offset beyond 64 bits": get("/runs?offset=99999999999999999999999"),
    "a limit that is no number": get("/runs?limit=NaN"),
    "a status that does not exist": get("/runs?status=' OR 1=1 --"),
    "a search with a null byte": get("/runs?search=%00"),
    "a search of 100,000 letters": get("/runs?search=" + "x" * 50_000),
    "an event id that is none": get("/runs/0123456789ab/events", **{"last-event-id": "\x7f" * 100}),
    "a unit that does not exist": get("/runs/0123456789ab/maps/two-sided/circuit"),
    "a map of an answer that names a kind twice": Hostile("POST", "/prompts/0123456789ab/run", {"units": ["head"] * 2}),
    "a hub model that climbs": get("/models/hub?name=../../etc/passwd"),
    "a hub model in letters that the hub does not take": get("/models/hub?name=O%2Fi%C3%AD"),
    "a hub model whose name is longer than any": get("/models/hub?name=o%2F" + "n" * 97),
    "a model that climbs": Hostile("DELETE", "/models/local:..%2f..%2fetc"),
    "a demo model to delete": Hostile("DELETE", "/models/demo:digits-vit"),
    "a task to delete that is built in": Hostile("DELETE", "/tasks/digits"),
    "a method that does not exist": Hostile("PATCH", "/runs/0123456789ab", {}),
    "a trace": Hostile("TRACE", "/runs"),
    "an upload that climbs": Hostile(
        "PUT", "/uploads/0123456789ab/files/..%2f..%2fx?offset=0", b"x", "application/octet-stream"
    ),
    "an offset of a piece": Hostile(
        "PUT", "/uploads/0123456789ab/files/config.json?offset=-1", b"x", "application/octet-stream"
    ),
}
OTHERS: dict[str, Hostile] = {
    "an upload of a pickle": upload("pytorch_model.bin"),
    "an upload of code": upload("modeling_evil.py"),
    "an upload that climbs out": upload("../model.safetensors"),
    "an upload of a hidden file": upload(".env.safetensors"),
    "an upload with a null byte": upload("a\x00.safetensors"),
    "an upload of letters that look alike": upload("m\u043edel.safetensors"),
    "an upload of nothing": upload("model.safetensors", 0),
    "an upload of 10^15 bytes": upload("model.safetensors", 2**50),
    "an upload of a negative size": upload("model.safetensors", -1),
    "an upload of a truth": upload("model.safetensors", True),
    "an upload of 10,000 files": upload("a", files=[{"name": f"{i}.safetensors", "size": 1} for i in range(10_000)]),
    "an upload of one file twice": upload("config.json"),
    "an upload named with dots": upload("model.safetensors", name=".."),
    "an upload named with a slash": upload("model.safetensors", name="a/b"),
    "an upload of a huge config": Hostile(
        "POST",
        "/uploads",
        {"name": "bad", "files": [{"name": "config.json", "size": 2**40}, {"name": "model.safetensors", "size": 9}]},
    ),
    "data that are code": data("evil.py"),
    "data that are a pickle": data("rows.pkl"),
    "data that climb out": data("../rows.csv"),
    "data in a hidden file": data(".rows.csv"),
    "data with a null byte": data("a\x00.csv"),
    "data of letters that look alike": data("d\u0430ta.csv"),
    "data of nothing": data("rows.csv", size=0),
    "data of 10^15 bytes": data("rows.csv", size=2**50),
    "data of two archives": data("a.zip", "b.zip"),
    "data of one split twice": data("val.csv", "validation.csv"),
    "data named with dots": data("rows.csv", name=".."),
    "data of another kind": data("rows.csv", kind="code"),
    "a trial of nothing there": trial({"head": [[0, 0]]}),
    "a trial of 10^30": trial({"head": [[10**30, 0]]}),
    "a trial of negative units": trial({"head": [[-1, -1]]}),
    "a trial of truths": trial({"head": [[True, False]]}),
    "a trial of a million units": trial({"neuron": [[0, i] for i in range(700_000)]}),
    "a trial of an unknown kind": trial({"circuit": [[0, 0]]}),
    "a trial scaled without end": Hostile(
        "POST", "/trials", b'{"run": "x", "off": {"head": [[0, 0]]}, "treatment": {"mode": "scale", "factor": 1e999}}'
    ),
    "a key without a name": key(name=""),
    "a key with a line break": key(name="ada\nadmin"),
    "a key with a tag": key(name="<script>"),
    "a key of a megabyte": key(name="a" * 1_000_000),
    "a key with a scope of its own": key(scope="root"),
    "a key with scopes": key(scope=["admin"]),
    "a key with 10^18 requests": key(requests_per_minute=10**18),
    "a key with no requests": key(requests_per_minute=0),
    "a key with its own secret": key(secret="x"),
    "a key to revoke that is not there": Hostile("DELETE", "/keys/%00"),
    "a derived model of nothing": derived(),
    "a derived model that climbs": derived(name="../x"),
    "a derived model of a share that is no number": raw("/derived", b'{"run": "x", "name": "s", "share": NaN}'),
    "a derived model of everything": derived(share=1.0),
    "a derived model of less than nothing": derived(share=-0.5),
    "a use of a map for nothing": Hostile("POST", "/derived", {"use": ["prune"], "run": "0123456789ab"}),
    "a use of a map that is an object": Hostile("POST", "/derived", {"use": {"a": 1}, "run": "0123456789ab"}),
    "a list of uses of a map": Hostile("POST", "/derived", [{"use": "probe"}]),
    "a training without end": used("finetune", name="x", settings={"steps": 10**18}),
    "a training at a rate that is no number": raw(
        "/derived",
        b'{"use": "finetune", "run": "0123456789ab", "name": "x", "most": {"neuron": 0.1}, "settings": {"rate": NaN}}',
    ),
    "a training of all kinds that there are not": used("finetune", name="x", most={"x" * 100_000: 0.1}),
    "a quantised model that climbs": Hostile(
        "POST", "/derived", {"use": "quantise", "run": "0123456789ab", "name": "..", "scheme": "rtn-w4"}
    ),
    "a scheme of a megabyte": Hostile(
        "POST", "/derived", {"use": "quantise", "run": "0123456789ab", "name": "x", "scheme": "x" * 1_000_000}
    ),
    "a probe with 10^9 draws": used("probe", draws=10**9),
    "a probe with true draws": used("probe", draws=True),
    "an amplification by infinity": raw(
        "/derived",
        b'{"use": "amplify", "run": "0123456789ab", "most": {"neuron": 0.1}, "factors": [Infinity]}',
    ),
    "an amplification by 10,000 factors": used("amplify", factors=[1.1] * 10_000),
    "a size of an unknown method": Hostile(
        "POST", "/derived/sizes", {"run": "x", "method": "x" * 100_000, "unit": "head", "share": 0.1}
    ),
    "a group of a megabyte": Hostile("POST", "/groups", {"name": "x" * 1_000_000, "units": {}}),
    "a check without end": Hostile("POST", "/runs/0123456789ab/faithfulness", {"effort": "x" * 100_000}),
    "a task check of a bomb": Hostile("POST", "/tasks/checks", {"file": BILLION}),
    "labels of a run as a bomb": Hostile("PUT", "/runs/0123456789ab/labels", {"tags": ["x" * 100_000] * 1000}),
}
REQUESTS = {
    f"{group}: {name}": request
    for group, requests in (("run", RUNS), ("task", TASKS), ("body", BODIES), ("path", PATHS), ("other", OTHERS))
    for name, request in requests.items()
}
