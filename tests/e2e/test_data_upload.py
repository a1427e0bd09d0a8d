"""Data for a task in a real browser: dropped, inspected, used in the form, and refused where something is wrong."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from modelshapley.client import Client
from tests.conftest import Server
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import assert_accessible
from tests.e2e.test_cards import assert_cards
from tests.e2e.test_tasks_page import REFUSED, expect_preview, field

ROWS = [{"problem": f"What is {a} + {b}?", "solution": str(a + b)} for a in range(1, 9) for b in range(1, 9)]


def write(file: Path, broken: bool = False) -> Path:
    lines = [json.dumps(row) for row in ROWS]
    if broken:
        lines[16] = "{problem}"
    file.write_text("\n".join(lines))
    return file


def upload(page: Page, file: Path) -> None:
    page.locator("#data-files").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()


@pytest.mark.parametrize("width", [pytest.param(1440, marks=pytest.mark.slow), 390])
def test_a_table_is_dropped_and_its_columns_are_offered(
    page: WatchedPage, server: Server, api: Client, looks: Looks, tmp_path: Path, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.allowed.append(REFUSED)
    name = f"sums-{width}"
    page.goto(f"{server.url}/tasks")
    upload(page, write(tmp_path / f"{name}.jsonl", broken=True))
    expect(page.locator("#data-problem")).to_contain_text(f"Row 17 of {name}.jsonl is not JSON", timeout=20_000)
    upload(page, write(tmp_path / f"{name}.jsonl"))
    about = page.locator("#data-about")
    expect(about).to_contain_text("64 rows", timeout=20_000)
    expect(about).to_contain_text("The data have no splits: half of the examples")
    expect(about.get_by_role("row")).to_have_count(4)
    expect(field(page, "File or folder")).to_have_value(f"uploads/{name}")
    expect(field(page, "Name")).to_have_value(name)
    expect(field(page, "Split for scoring")).to_have_value("all")
    expect(field(page, "Prompt")).to_have_value("{problem}")
    expect(field(page, "Reference answer")).to_have_value("{solution}")
    page.get_by_role("button", name="Insert {solution} into this field").first.click()
    expect(field(page, "Prompt")).to_have_value("{problem} {solution}")
    field(page, "Prompt").fill("{problem}")
    for _, seen in looks((390, 1024) if width == 390 else (1440,), ("light",)):
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if seen == 390:
            assert_cards(page, 1)
        assert_accessible(page)
    if width == 1440:
        page.locator("#task-preview").click()
        expect_preview(page)
        expect(page.locator("#preview-body")).to_contain_text("No problems found.")
    assert api.datasets()[0].path == f"uploads/{name}"
    upload(page, tmp_path / f"{name}.jsonl") if width != 1440 else None
    if width != 1440:
        expect(page.locator("#data-problem")).to_contain_text(f"There already are data called '{name}'")
    api.delete_dataset(name)


def test_a_zip_of_pictures_becomes_an_image_task(page: Page, server: Server, api: Client, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for name in ("pets/cat/1.png", "pets/cat/2.png", "pets/dog/1.png", "pets/dog/2.png"):
            archive.write(tmp_path / "0.png", name)
        archive.writestr("pets/notes.txt", "x")
    page.goto(f"{server.url}/tasks")
    upload(page, tmp_path / "pets.zip")
    expect(page.locator("#data-about")).to_contain_text("4 pictures · 2 classes: cat, dog", timeout=20_000)
    expect(page.locator("#data-about")).to_contain_text("Left out, as they are no pictures: pets/notes.txt")
    expect(page.locator("aside").get_by_role("textbox", name="Kind", exact=True)).to_have_value("Image classification")
    expect(field(page, "Image")).to_have_value("image")
    page.locator("#task-preview").click()
    expect(page.locator("#preview-body .example-image")).to_have_count(2, timeout=60_000)
    api.delete_dataset("pets")


DROP = """content => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([content], "dropped.csv"));
  const zone = document.querySelector(".data-drop");
  for (const type of ["dragover", "drop"])
    zone.dispatchEvent(new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def test_a_file_is_dropped_with_the_mouse(page: WatchedPage, server: Server, api: Client) -> None:
    page.allowed.append(REFUSED)
    page.goto(f"{server.url}/tasks")
    page.locator("#data-files").wait_for()
    page.evaluate(DROP, "")
    expect(page.locator("#data-problem")).to_have_text("dropped.csv is empty. Choose another file.")
    page.evaluate(DROP, "text,label\nfine,good\nbad,poor\n")
    expect(page.locator("#data-message")).to_have_text("dropped.csv: 30 B")
    page.get_by_label("Name of the data").fill("by hand")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#data-problem")).to_contain_text("name")
    page.get_by_label("Name of the data").fill("by-hand")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.locator("#data-about")).to_contain_text("by-hand: 2 rows", timeout=20_000)
    expect(field(page, "Text")).to_have_value("text")
    field(page, "Class").fill("")
    page.get_by_role("option", name="label").click()
    expect(field(page, "Class")).to_have_value("label")
    api.delete_dataset("by-hand")


def test_an_upload_is_stopped_while_it_is_checked(page: Page, server: Server, api: Client, tmp_path: Path) -> None:
    (tmp_path / "long.jsonl").write_text('{"a": 1}\n' * 700_000)
    page.goto(f"{server.url}/tasks")
    upload(page, tmp_path / "long.jsonl")
    expect(page.locator("#data-message")).to_contain_text("Checking the data …", timeout=20_000)
    expect(page.get_by_role("progressbar", name="share of the data")).to_be_visible()
    page.get_by_role("button", name="Stop and discard").click()
    expect(page.locator("#data-message")).to_contain_text("Stopped.", timeout=20_000)
    assert "long" not in {upload.name for upload in api.uploads()}
    assert "long" not in {dataset.name for dataset in api.datasets()}
