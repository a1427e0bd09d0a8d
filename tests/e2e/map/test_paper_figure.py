"""A figure for a paper: title, size, light ground, marks and legend, as PNG, SVG and PDF."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from modelshapley.contracts import Run
from tests.conftest import Server
from tests.e2e.conftest import Looks
from tests.e2e.map.test_dashboard import assert_accessible, open_map
from tests.support.pdf_text import page_size, streams, text_of

OFF = "?off=head:0.1;neuron:1.5-12"
SVG = "{http://www.w3.org/2000/svg}"
OFF_COLOUR = (0xE8, 0x34, 0x7F)


def open_dialog(page: Page) -> Locator:
    page.get_by_text("Download", exact=True).click()
    page.locator("#paper-open").click()
    dialog = page.get_by_role("dialog", name="Figure for a paper")
    expect(dialog).to_be_visible()
    return dialog


def saved(page: Page, form: str, folder: Path) -> bytes:
    with page.expect_download() as caught:
        page.locator(f"#picture-{form}").click()
    caught.value.save_as(folder / form)
    assert re.fullmatch(rf"map-\w+-two-sided\.{form}", caught.value.suggested_filename)
    return (folder / form).read_bytes()


def ink_of(file: Path, colour: tuple[int, int, int]) -> int:
    """The number of pixels of a colour, nearly."""
    pixels = np.asarray(Image.open(file).convert("RGB")).astype(int)
    return int((np.abs(pixels - np.array(colour)).sum(axis=2) < 30).sum())


def test_title_size_unit_legend_and_marks_are_in_every_format(
    page: Page, server: Server, digits_run: Run, tmp_path: Path
) -> None:
    page.emulate_media(color_scheme="dark")
    open_map(page, server, digits_run, OFF)
    dialog = open_dialog(page)
    expect(page.locator("#paper-title")).to_have_value("digits-vit on digits · Two-sided")
    page.locator("#paper-title").fill("Heads & neurons ≥ 0, ρ < 1")
    page.locator("#paper-size").select_option("single")
    expect(page.locator("#paper-about")).to_contain_text("85 x")
    height = float(re.search(r"x ([\d.]+) mm", page.inner_text("#paper-about"))[1])

    saved(page, "png", tmp_path)
    image = Image.open(tmp_path / "png")
    assert image.size == (round(85 / 25.4 * 300), round(height / 25.4 * 300))
    assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    assert ink_of(tmp_path / "png", OFF_COLOUR) > 500

    root = ElementTree.fromstring(saved(page, "svg", tmp_path))
    assert (root.get("width"), root.get("height")) == ("85mm", f"{height:g}mm")
    texts = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert "Heads & neurons ≥ 0, ρ < 1" in texts
    assert "switched off: 8 neurons · 1 head" in texts
    assert "Colour: estimated loss increase if removed (nats per example)." in " ".join(texts)
    assert root.find(f"{SVG}rect").get("fill") == "#ffffff"
    assert not list(root.iter(f"{SVG}image"))
    crosses = [path for path in root.iter(f"{SVG}path") if path.get("stroke") == "#e8347f"]
    assert len(crosses) == 4  # two strokes on the map, two in the legend
    struck = [rect for rect in root.iter(f"{SVG}rect") if rect.get("fill") == "#e8347f"]
    assert len(struck) == 9  # eight neurons, and the legend

    data = saved(page, "pdf", tmp_path)
    assert data.startswith(b"%PDF")
    assert page_size(data) == pytest.approx((85, height), abs=0.05)
    lines = text_of(data).splitlines()
    assert "Heads & neurons ≥ 0, ρ < 1" in lines
    assert "switched off: 8 neurons · 1 head" in lines
    assert "Colour: estimated loss increase if removed (nats per example)." in " ".join(lines)
    assert b"/Subtype /Image" not in data
    drawing = next(content for content in streams(data) if b" Tj" in content)
    assert drawing.count(b" re") > 4 * (1 + 4 + 40)  # every cell is a rectangle
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_have_count(0)


def test_sizes_are_checked_and_letters_that_the_font_lacks_are_named(
    page: Page, server: Server, digits_run: Run, tmp_path: Path
) -> None:
    open_map(page, server, digits_run)
    dialog = open_dialog(page)
    page.locator("#paper-size").select_option("custom")
    page.locator("#paper-width").fill("9")
    expect(dialog.get_by_role("alert")).to_have_text("The width '9' is not a number from 60 to 400 mm.")
    page.locator("#paper-width").fill("120")
    expect(dialog.get_by_role("alert")).to_be_empty()
    assert b'width="120mm"' in saved(page, "svg", tmp_path)
    page.locator("#paper-title").fill("神経")
    page.locator("#picture-pdf").click()
    expect(dialog.get_by_role("alert")).to_have_text(
        "The font of PDF files has no letter '神'. Change the title, or save as SVG or PNG."
    )
    assert "神経" in saved(page, "svg", tmp_path).decode()


def test_the_dialog_is_accessible_and_fits(page: Page, server: Server, digits_run: Run, looks: Looks) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_map(page, server, digits_run, OFF)
    open_dialog(page)
    for _ in looks():
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_pages_do_not_load_what_writes_pdfs(page: Page, server: Server, digits_run: Run) -> None:
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    open_map(page, server, digits_run)
    assert any("paper-formats.js" in address for address in requested)
    assert not [address for address in requested if "jspdf" in address or address.endswith(".ttf")]
