"""Latency of the map page on large models, in headless Chromium: `python -m benchmarks.dashboard --json`.

Maps have random scores, for 80 layers x 28,672 neurons and 126 x 53,248; server, page and browser are real. For each
map, medians:
`first_paint_ms`: from the start of a navigation until the heatmap is drawn, with the map in the browser's cache;
`first_look_ms`: the same for a colour scale that is not cached, so that the server draws it;
`wire_kb`: compressed bytes of a first visit without scripts; `again_kb`: of later visits;
`zoom_ms`: from a press on a button of the zoom until the new cells are drawn;
`toggle_to_paint_ms`: from a click on a cell until its mark is painted; `toggles_lost`: clicks without effect;
`heap_ratio`: the page's JavaScript heap after 200 toggles over that after 50, both after garbage collection;
`js_mb`: uncompressed size of all scripts of a cold load; `map_scripts_kb_wire`: their compressed bytes;
`press_to_state_ms`: from a press on a cell until the tray says what happens next, 95th percentile;
`first_readable_ms_50kbps`: from the start of a first visit on a line of 50 KB a second with 100 ms of latency until
text can be read.

Beside them `scripts_kb_wire`: compressed bytes of the scripts of a first visit to the front page.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from backend.settings import Settings
from backend.store.files import Storage
from backend.store.records import Records
from backend.store.schema import migrate
from benchmarks.browser import QUIET_FLAGS, chromium
from benchmarks.common import report
from benchmarks.live_service import service
from modelshapley.contracts import Layout, Measured, RunRequest, Status
from modelshapley.maps.importance import ImportanceMap
from modelshapley.units import UnitKind

SHAPES = {"80 x 28672": (80, 64, 28_672), "126 x 53248": (126, 128, 53_248)}
LOADS, TOGGLES = 9, 200
SLOW_LINE = {"offline": False, "latency": 100, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
COLOUR_SCALES = ["share", "percentile", "log", "share,log"]
IS_DRAWN = "document.querySelector('#map .heatmaplayer image') && document.getElementById('marks').dataset.cells"


def add_random_run(data: Path, layers: int, heads: int, neurons: int) -> str:
    """Add a finished run with a random map, and return its id. As in real maps, a few units stand out."""
    rng = np.random.default_rng(layers)
    settings = Settings(data=data)
    migrate(settings.records_url)
    records, storage = Records(settings.records_url), Storage(settings.maps_url)
    shapes = {UnitKind.NEURON: [layers, neurons], UnitKind.HEAD: [layers, heads], UnitKind.LAYER: [layers]}
    scores = {kind: rng.lognormal(-6, 1.5, shape) for kind, shape in shapes.items()}
    request = RunRequest(
        model=f"local:made-up-{layers}", task="world-capitals", units=list(shapes), faithfulness="none"
    )
    run = records.add_run(request, shapes, Layout())
    provenance = dict.fromkeys(("model", "revision", "task", "task_fingerprint", "created", "device"), "made up")
    storage.save_map(
        run.id,
        ImportanceMap(
            method="two-sided",
            quantity="made up, nats",
            signed=False,
            scores=scores,
            standard_errors={kind: values / 4 for kind, values in scores.items()},
            provenance=provenance | {"n": 64, "seed": 0, "parameters": {}, "versions": {}},
        ),
    )
    intact = Measured(accuracy=0.8, interval=(0.7, 0.9), n=97)
    records.update_run(run.id, status=Status.DONE, intact=intact.model_dump(mode="json"), done=64, total=64)
    records.close()
    return run.id


class NetworkTraffic:
    """Bytes received over the network, and the size of scripts."""

    def __init__(self, cdp: CDPSession) -> None:
        self.bytes = self.wire_of_scripts = self.script_bytes = 0
        self._scripts: set[str] = set()
        cdp.on("Network.responseReceived", self._received)
        cdp.on("Network.dataReceived", self._data)
        cdp.on("Network.loadingFinished", self._finished)
        cdp.send("Network.enable")

    def _received(self, event: dict[str, Any]) -> None:
        if event["type"] == "Script":
            self._scripts.add(event["requestId"])

    def _data(self, event: dict[str, Any]) -> None:
        if event["requestId"] in self._scripts:
            self.script_bytes += event["dataLength"]

    def _finished(self, event: dict[str, Any]) -> None:
        self.bytes += int(event["encodedDataLength"])
        if event["requestId"] in self._scripts:
            self.wire_of_scripts += int(event["encodedDataLength"])


def paint_ms(page: Page, url: str) -> float:
    """Measure from the start of a navigation until the map is drawn."""
    page.goto(url, wait_until="commit")
    page.wait_for_function(IS_DRAWN)
    return float(page.evaluate("() => new Promise(r => requestAnimationFrame(() => r(performance.now())))"))


def zoom_ms(page: Page, button: str) -> float:
    script = """(button) => new Promise(done => {
        const graph = document.querySelector('#map .js-plotly-plot'), before = graph.dataset.window;
        const began = performance.now();
        document.getElementById(button).click();
        const look = () => graph.dataset.window !== before
            ? requestAnimationFrame(() => done(performance.now() - began)) : requestAnimationFrame(look);
        look();
    })"""
    return float(page.evaluate(script, button))


def toggle_ms(page: Page, place: int) -> float | None:
    """Click on a head and measure until the marks' canvas counts it as painted; None if it never does."""
    watch = """() => {
        const canvas = document.getElementById('marks'), before = canvas.dataset.cells;
        window.toggled = new Promise(done => {
            window.addEventListener('mousedown', () => {
                const began = performance.now();
                const look = () => {
                    const now = performance.now();
                    if (canvas.dataset.cells !== before) done(now - began);
                    else now - began > 3000 ? done(null) : requestAnimationFrame(look);
                };
                look();
            }, { once: true, capture: true });
        });
        const graph = document.querySelector('#map .js-plotly-plot');
        const box = graph.getBoundingClientRect(), x = graph._fullLayout.xaxis2, y = graph._fullLayout.yaxis2;
        return [box.left + x._offset, x._length, box.top + y._offset, y._length];
    }"""
    left, width, top, _ = page.evaluate(watch)
    page.mouse.click(left + width * ((place * 7 % 31) + 0.5) / 31, top + 5 + 16 * (place // 31 % 20))
    elapsed: float | None = page.evaluate("() => window.toggled")
    return elapsed


def press_ms(page: Page, place: int) -> float:
    """Measure from a press on a head until the tray says what happens next."""
    watch = """() => {
        const line = document.getElementById('tray-state');
        line.textContent = '';
        window.said = new Promise(done => {
            let began = null;
            window.addEventListener('mouseup', () => (began = performance.now()), { once: true, capture: true });
            new MutationObserver(() => began !== null && line.textContent && done(performance.now() - began))
                .observe(line, { childList: true, subtree: true, characterData: true });
        });
        const graph = document.querySelector('#map .js-plotly-plot');
        const box = graph.getBoundingClientRect(), x = graph._fullLayout.xaxis2, y = graph._fullLayout.yaxis2;
        return [box.left + x._offset, x._length, box.top + y._offset, y._length];
    }"""
    left, width, top, _ = page.evaluate(watch)
    page.mouse.click(left + width * ((place * 7 % 31) + 0.5) / 31, top + 5)
    return float(page.evaluate("() => window.said"))


def readable_ms(page: Page, cdp: CDPSession, url: str) -> float:
    """Measure a first visit on a slow line until the first contents are painted."""
    cdp.send("Network.enable")
    cdp.send("Network.emulateNetworkConditions", SLOW_LINE)
    page.goto(url, wait_until="commit")
    script = """() => new Promise(done => new PerformanceObserver(list => {
        const paint = list.getEntriesByName('first-contentful-paint')[0];
        if (paint) done(paint.startTime);
    }).observe({ type: 'paint', buffered: true }))"""
    return float(page.evaluate(script))


def scripts_kb(browser: Browser, url: str) -> int:
    """Measure the compressed bytes of the scripts of a first visit, in units of 1,000."""
    with browser.new_context() as context:
        page = context.new_page()
        traffic = NetworkTraffic(context.new_cdp_session(page))
        page.goto(url)
        page.get_by_role("link", name="Score a model").wait_for()
        page.wait_for_timeout(3000)
        return round(traffic.wire_of_scripts / 1000)


def heap(cdp: CDPSession) -> float:
    cdp.send("HeapProfiler.collectGarbage")
    cdp.send("Performance.enable")
    metrics = cdp.send("Performance.getMetrics")["metrics"]
    return float(next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize"))


def measure(page: Page, cdp: CDPSession, url: str) -> dict[str, Any]:
    cold = NetworkTraffic(cdp)
    paint_ms(page, url)
    page.wait_for_timeout(3000)
    wire_of_scripts = cold.wire_of_scripts / 1000
    scripts, first_visit = cold.script_bytes, (cold.bytes - cold.wire_of_scripts) / 1000
    warm, paints = [], []
    for _ in range(LOADS):
        bytes_before = cold.bytes
        paints.append(paint_ms(page, url))
        page.wait_for_timeout(1500)
        warm.append((cold.bytes - bytes_before) / 1000)
    first_looks = []
    for colour_scale in COLOUR_SCALES:
        first_looks.append(paint_ms(page, f"{url}?look={colour_scale}"))
        page.wait_for_timeout(1500)
    paint_ms(page, url)
    page.wait_for_timeout(1500)
    zooms = []
    for button in ["zoom-in", "zoom-in", "zoom-in", "zoom-right", "zoom-in", "zoom-all"] * 2:
        zooms.append(zoom_ms(page, button))
        page.wait_for_timeout(300)
    toggles, heaps = [], {}
    for number in range(1, TOGGLES + 1):
        toggles.append(toggle_ms(page, number))
        if number in (50, TOGGLES):
            page.wait_for_timeout(1000)
            heaps[number] = heap(cdp)
    presses = []
    for number in range(20):
        presses.append(press_ms(page, number))
        page.wait_for_timeout(400)
    return {
        "first_paint_ms": round(statistics.median(paints)),
        "first_look_ms": round(statistics.median(first_looks)),
        "wire_kb": round(first_visit),
        "again_kb": round(statistics.median(warm)),
        "zoom_ms": round(statistics.median(zooms)),
        "toggle_to_paint_ms": round(statistics.median(t for t in toggles if t is not None), 1),
        "toggles_lost": sum(t is None for t in toggles),
        "heap_ratio": round(heaps[TOGGLES] / heaps[50], 2),
        "heap_mb": round(heaps[TOGGLES] / 1e6),
        "js_mb": round(scripts / 1e6, 2),
        "map_scripts_kb_wire": round(wire_of_scripts),
        "press_to_state_ms": round(sorted(presses)[18], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--only", choices=list(SHAPES), help="measure one of the shapes")
    arguments = parser.parse_args()
    path = chromium()
    if path is None:
        sys.exit("No Chromium on this machine; `make tools` installs Debian's.")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        runs = {name: add_random_run(data, *shape) for name, shape in SHAPES.items() if arguments.only in (None, name)}
        with service(data) as (url, _), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=[*QUIET_FLAGS, "--js-flags=--expose-gc"])
            scripts = scripts_kb(browser, url)
            for name, run in runs.items():
                # The benchmark waits by evaluated text, which the pages' own policy forbids.
                context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
                page = context.new_page()
                results[name] = measure(page, context.new_cdp_session(page), f"{url}/runs/{run}")
                context.close()
                context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
                page = context.new_page()
                slow = readable_ms(page, context.new_cdp_session(page), f"{url}/runs/{run}")
                results[name]["first_readable_ms_50kbps"] = round(slow)
                print(name, results[name], file=sys.stderr)
                context.close()
            browser.close()
    if arguments.json:
        report({"benchmark": "dashboard", "scripts_kb_wire": scripts, "maps": results})


if __name__ == "__main__":
    main()
