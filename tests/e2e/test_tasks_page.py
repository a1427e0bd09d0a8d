"""Tasks in a real browser: look at one, fill the form in, paste a file, add, score on it, delete."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from modelshapley.client import Client
from modelshapley.models.catalog import ASSETS
from tests.conftest import Server, StartServer
from tests.e2e.conftest import Looks, WatchedPage
from tests.e2e.map.test_dashboard import assert_accessible

REFUSED = "the server responded with a status of"  # Chromium's words, for what the page shows in its own


@pytest.fixture(scope="module")
def house(start_server: StartServer) -> Server:
    """A server whose dataset root holds the sums from 1 + 1 to 8 + 8."""
    server = start_server()
    folder = server.data / "datasets" / "sums"
    folder.mkdir(parents=True)
    write(folder / "all.jsonl")
    return server


def write(file: Path) -> None:
    rows = [
        {
            "question": f"What is {a} + {b}?",
            "answer": f"{a} + {b} = {a + b}",
            "size": "odd" if (a + b) % 2 else "even",
        }
        for a in range(1, 9)
        for b in range(1, 9)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def field(page: Page, label: str) -> Locator:
    return page.locator("aside").get_by_label(label, exact=True)


def fill(page: Page, name: str) -> None:
    """The form for the sums."""
    field(page, "Name").fill(name)
    page.locator("#task-more summary").click()
    field(page, "Title (optional)").fill("Small sums")
    field(page, "File or folder").fill("sums/all.jsonl")
    for split in ("Split for scoring", "Split for accuracy"):
        field(page, split).fill("all")
    for share in page.locator("aside").get_by_label("Share of it").all():
        share.fill("50")
    page.locator("aside").get_by_role("textbox", name="Answer rule").click()
    page.get_by_role("option", name="The last number").click()
    field(page, "Classes of examples (optional)").fill("size")


def expect_preview(page: Page) -> None:
    expect(page.locator("#preview-body .example")).to_have_count(3, timeout=90_000)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_task_from_form_to_map(page: Page, house: Server) -> None:
    page.goto(f"{house.url}/tasks")
    fill(page, "small-sums")
    page.locator("#task-preview").click()
    expect(page.get_by_role("dialog")).to_contain_text("Preview of Small sums")
    expect_preview(page)
    expect(page.locator("#preview-body")).to_contain_text("No problems found.")
    facts = page.locator("#preview-body .task-facts")
    expect(facts).to_contain_text("examples for scoring32held out for accuracy32")
    first = page.locator("#preview-body .example").first
    expect(first).to_contain_text("What is")
    assert "=" in "".join(first.locator("mark.token").all_inner_texts())
    assert "What" not in "".join(first.locator("mark.token").all_inner_texts())
    page.locator("#preview-add").click()
    expect(page.locator("#task-small-sums")).to_contain_text("custom")
    page.get_by_role("link", name="Score a model on it").click()
    expect(page.locator("#form-task")).to_have_value("Small sums")
    expect(page.locator("#form-model")).to_have_value(re.compile("SmolLM2"))
    expect(page.locator("#form-task-about")).to_contain_text("from sums/all.jsonl")
    expect(page.get_by_label("Also a map for each class (size)")).to_be_visible()
    with Client(house.url) as api:
        assert api.task("small-sums").own


def test_mistakes_are_told_beside_their_fields(page: WatchedPage, house: Server) -> None:
    page.allowed.append(REFUSED)
    page.goto(f"{house.url}/tasks")
    page.locator("#task-add").click()
    aside = page.locator("aside")
    expect(aside.get_by_text("This field is required.")).to_have_count(2)
    expect(field(page, "Name")).to_be_focused()
    field(page, "Name").fill("Sums")
    expect(aside.get_by_text("At most 63 lower-case letters, digits and hyphens")).to_be_visible()
    field(page, "Name").fill("sums")
    field(page, "File or folder").fill("../records.sqlite")
    expect(aside.get_by_text("Some fields above")).to_have_count(0)
    page.locator("#task-preview").click()
    expect(aside.get_by_text("'../records.sqlite' leads out of the dataset roots")).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    field(page, "File or folder").fill("sums")
    expect(aside.get_by_text("leads out")).to_have_count(0)
    field(page, "Name").fill("digits")
    page.locator("#task-add").click()
    expect(aside.get_by_text("'digits' is a built-in task")).to_be_visible()
    assert_accessible(page)


def test_the_form_shows_the_fields_of_its_kind(page: Page, house: Server) -> None:
    page.goto(f"{house.url}/tasks")
    expect(field(page, "Prompt")).to_be_visible()
    expect(field(page, "Image")).to_be_hidden()
    page.locator("aside").get_by_role("textbox", name="Kind", exact=True).click()
    page.get_by_role("option", name="Image classification").click()
    expect(field(page, "Image")).to_be_visible()
    expect(field(page, "Prompt")).to_be_hidden()
    page.locator("aside").get_by_role("textbox", name="Location of the data").click()
    page.get_by_role("option", name="The Hugging Face hub").click()
    expect(field(page, "Dataset")).to_be_visible()
    expect(field(page, "File or folder")).to_be_hidden()


def test_a_task_file_is_dropped_mended_added_and_deleted(page: Page, house: Server, tmp_path: Path) -> None:
    file = tmp_path / "prose.yaml"
    file.write_text("kind: language-modelling\nname: prose\nsource: {path: sums}\nwindow: 2\n")
    page.goto(f"{house.url}/tasks")
    page.get_by_role("tab", name="Task file").click()
    page.locator("#task-upload input").set_input_files(file)
    text = page.get_by_role("textbox", name="Task file", exact=True)
    expect(text).to_have_value(re.compile("name: prose"))
    page.locator("#task-add").click()
    expect(page.locator("aside")).to_contain_text("window: Input should be greater than or equal to 8")
    text.fill(file.read_text().replace("window: 2", "window: 16"))
    page.locator("#task-add").click()
    expect(page.locator("#task-prose")).to_contain_text("from sums")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#task-prose").get_by_role("button", name="Delete").click()
    expect(page.locator("#task-prose")).to_have_count(0)
    with Client(house.url) as api:
        assert "prose" not in {task.id for task in api.tasks()}


def test_a_task_that_is_there_is_a_beginning(page: Page, house: Server) -> None:
    page.goto(f"{house.url}/tasks")
    page.locator("#task-gsm8k").get_by_role("button", name="Use as template").click()
    text = page.get_by_role("textbox", name="Task file", exact=True)
    expect(text).to_have_value(re.compile("kind: generation\nname: gsm8k"))
    page.locator("#task-add").click()
    expect(page.locator("aside")).to_contain_text("is a built-in task")


@pytest.mark.slow
def test_data_that_cannot_be_read_are_said(page: Page, house: Server) -> None:
    page.goto(f"{house.url}/tasks")
    fill(page, "nowhere")
    field(page, "File or folder").fill("sums/none.jsonl")
    page.locator("#task-preview").click()
    expect(page.locator("#preview-body")).to_contain_text("no file or folder 'sums/none.jsonl'", timeout=60_000)
    write(house.data / "datasets" / "sums" / "none.jsonl")
    page.locator("#preview-again").click()
    expect_preview(page)
    (house.data / "datasets" / "sums" / "none.jsonl").unlink()


def test_classes_that_do_not_match_are_shown_side_by_side(page: Page, house: Server) -> None:
    for split in ("train", "test"):
        for name in ("nought", "eins"):
            folder = house.data / "datasets" / "shapes" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("L", (8, 8), 60 * number).save(folder / f"{number}.png")
    page.goto(f"{house.url}/tasks")
    page.get_by_role("tab", name="Task file").click()
    page.get_by_role("textbox", name="Task file", exact=True).fill(
        "kind: image-classification\nname: shapes\nsource: {path: shapes}\nprobe: {split: train}\n"
    )
    page.locator("#task-preview").click()
    body = page.locator("#preview-body")
    expect(body).to_contain_text("The classes do not match", timeout=60_000)
    expect(body.get_by_label("In the data")).to_contain_text("nought")
    expect(body.get_by_label("In the model").locator("li")).to_have_count(10)
    expect(body).to_contain_text("A run would fail")
    assert_accessible(page)
    page.locator("#preview-model").click()
    page.get_by_role("option", name="No model").click()
    expect(body).to_contain_text("2 classes in the data", timeout=30_000)
    expect(body.locator("img")).to_have_count(3)


@pytest.mark.slow
def test_classes_are_mapped_in_a_table(page: Page, house: Server) -> None:
    for name in ("nought", "uno"):
        folder = house.data / "datasets" / "figures" / name
        folder.mkdir(parents=True)
        for number in range(4):
            Image.new("L", (8, 8), 60 * number).save(folder / f"{number}.png")
    page.goto(f"{house.url}/tasks")
    page.locator("aside").get_by_role("textbox", name="Kind").click()
    page.get_by_role("option", name="Image classification").click()
    field(page, "Name").fill("figures")
    field(page, "File or folder").fill("figures")
    for split in ("Split for scoring", "Split for accuracy"):
        field(page, split).fill("all")
    for share in page.locator("aside").get_by_label("Share of it").all():
        share.fill("50")
    page.locator("#task-preview").click()
    body = page.locator("#preview-body")
    expect(body.get_by_role("button", name="Use this mapping")).to_be_visible(timeout=60_000)
    body.get_by_label("The model's class for nought").click()
    page.get_by_role("option", name="0", exact=True).click()
    page.locator("#use-mapping").click()
    expect(page.locator("#mapping-problem")).to_have_text("Choose the model's class for uno.")
    body.get_by_label("The model's class for uno").click()
    page.get_by_role("option", name="1", exact=True).click()
    assert_accessible(page)
    page.locator("#use-mapping").click()
    expect(body.get_by_text("All 2 classes match the model's")).to_be_visible(timeout=60_000)
    body.get_by_text("All 2 classes match the model's").click()
    expect(body.get_by_label("Classes of the data and the model")).to_contain_text("uno")
    page.get_by_role("button", name="Close the preview").click()
    expect(field(page, "Names of the classes (optional)")).to_have_value("nought = 0\nuno = 1")


PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "size": {"height": 8, "width": 8},
    "do_normalize": False,
    "rescale_factor": 1 / 255,
}
SHADES = """kind: image-classification
name: shades
source: {path: shades}
probe: {split: all, share: 0.5}
test: {split: all, share: 0.5}
on_bad: skip
"""


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_run_per_class_tells_what_was_left_out(page: Page, house: Server) -> None:
    model = house.data / "models" / "vit"
    shutil.copytree(ASSETS / "digits-vit", model)
    (model / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    for shade in range(10):
        folder = house.data / "datasets" / "shades" / str(shade)
        folder.mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), 25 * shade + number).save(folder / f"{number}.png")
    (folder / "1.png").write_bytes(b"no picture")
    with Client(house.url) as api:
        api.add_task(SHADES)
    page.goto(f"{house.url}/new?task=shades")
    expect(page.locator("#form-task")).to_have_value("shades")
    page.locator("#form-model").click()
    page.get_by_role("option", name="local:vit").click()
    page.get_by_label("Also a map for each class (label)").check()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator("#run-notes")).to_contain_text("the picture cannot be read", timeout=60_000)
    assert_accessible(page)
    with Client(house.url) as api:
        run = api.runs().items[0]
    assert run.per_class
    assert set(run.classes) == {str(shade) for shade in range(10)}


def test_without_a_worker_the_preview_says_so(page: Page, start_server: StartServer) -> None:
    server = start_server("--workers", "0")
    page.goto(f"{server.url}/tasks?preview=world-capitals")
    expect(page.locator("#preview-body")).to_contain_text("No worker is running", timeout=15_000)


@pytest.mark.slow
def test_the_page_is_accessible_and_fits(page: Page, house: Server, looks: Looks) -> None:
    page.set_viewport_size({"width": 1440, "height": 800})
    page.goto(f"{house.url}/tasks?preview=world-capitals&model=demo:smollm2-135m")
    expect_preview(page)
    for _, width in looks((1440, 1024)):
        assert_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("button", name="Close the preview").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    for _ in looks((1440, 1024)):
        assert_accessible(page)
    page.get_by_role("tab", name="Task file").click()
    for _ in looks((1440, 1024)):
        assert_accessible(page)
