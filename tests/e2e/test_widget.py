"""The widget of notebooks: its script in a real browser, joined to the real widget in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page

import modelshapley
from modelshapley.maps.widget import MapWidget
from modelshapley.units import Deactivation, UnitKind
from tests.maps.test_widget import made

pytestmark = pytest.mark.own_page

SCRIPT = Path(modelshapley.__file__).parent / "assets" / "map-widget.js"
# What Jupyter gives a widget: shared values, and news of their changes.
MODEL = """
import widget from "URL";
const values = STATE, listeners = {};
window.sent = [];
window.model = {
  get: (name) => values[name],
  set: (name, value) => { values[name] = value; (listeners[`change:${name}`] || []).forEach((call) => call()); },
  save_changes: () => window.sent.push(JSON.stringify({ kind: values.kind, selected: values.selected })),
  on: (event, call) => { (listeners[event] ||= []).push(call); },
  off: () => {},
};
widget.render({ model: window.model, el: document.body });
window.ready = true;
"""


def shown(page: Page, widget: MapWidget) -> None:
    state = {name: getattr(widget, name) for name in ("title", "maps", "kind", "selected")}
    script = MODEL.replace("URL", "http://127.0.0.1:9/map-widget.js").replace("STATE", json.dumps(state))
    page.route("**/map-widget.js", lambda route: route.fulfill(
        body=SCRIPT.read_text(), content_type="text/javascript", headers={"Access-Control-Allow-Origin": "*"}
    ))  # fmt: skip
    page.set_content(f'<body><script type="module">{script}</script></body>')
    page.wait_for_function("window.ready")


def answered(page: Page, widget: MapWidget) -> Deactivation:
    """Give Python what the page sent last, as Jupyter does, and return the selection."""
    widget.set_state(json.loads(page.evaluate("window.sent.at(-1)")))
    return widget.selection


def test_click_box_and_keys_select_in_the_browser(page: Page) -> None:
    widget = made().widget("head")
    shown(page, widget)
    canvas, status = page.locator("canvas"), page.get_by_role("status")
    canvas.click(position={"x": 24 * 1.5, "y": 14 * 0.5})
    assert answered(page, widget).of_kind(UnitKind.HEAD) == ((0, 1),)
    corner = canvas.bounding_box()
    assert corner is not None
    page.mouse.move(corner["x"] + 24 * 2.5, corner["y"] + 14 * 1.5)
    page.mouse.down()
    page.mouse.move(corner["x"] + 24 * 3.9, corner["y"] + 14 * 2.9)
    page.mouse.up()
    boxed = answered(page, widget).of_kind(UnitKind.HEAD)
    assert boxed == ((0, 1), (1, 2), (1, 3), (2, 2))  # the last layer has no head 3
    assert "4 heads selected" in status.inner_text()
    canvas.click(position={"x": 24 * 1.5, "y": 14 * 0.5})
    canvas.press("ArrowDown")
    canvas.press(" ")
    assert answered(page, widget).of_kind(UnitKind.HEAD) == ((1, 1), (1, 2), (1, 3), (2, 2))
    assert "head 1.1" in status.inner_text()
    page.get_by_label("Kind of unit").select_option("neuron")
    canvas.click(position={"x": 4 * 0.5, "y": 14 * 0.5})
    found = answered(page, widget)
    assert widget.kind == "neuron"
    assert found.of_kind(UnitKind.NEURON) == tuple((0, i) for i in range(widget.maps["neuron"]["edges"][1]))
    page.get_by_role("button", name="Clear selection").click()
    assert len(answered(page, widget)) == 0


def test_python_selects_on_the_page(page: Page) -> None:
    widget = made().widget("layer")
    shown(page, widget)
    widget.select(Deactivation.of({UnitKind.LAYER: [0, 2]}))
    page.evaluate(f"window.model.set('selected', {json.dumps(widget.selected)})")
    assert "2 layers selected" in page.get_by_role("status").inner_text()
