"""What each task is, in words; torch-free, so that the API can list them."""

from __future__ import annotations

from modelshapley.contracts import TaskInfo

DIGITS = TaskInfo(
    id="digits",
    title="Handwritten digits",
    modality="image",
    auto_class="AutoModelForImageClassification",
    summary="8 x 8 grey images of handwritten digits (scikit-learn's); right: the digit with the highest logit.",
    probe_examples=288,
    test_examples=360,
    classes="digits",
)
WORLD_CAPITALS = TaskInfo(
    id="world-capitals",
    title="World capitals",
    modality="text",
    auto_class="AutoModelForCausalLM",
    summary=(
        "'The capital of X is' with four capitals of the same continent; "
        "right: the one with the highest mean token log-likelihood."
    ),
    probe_examples=64,
    test_examples=94,
    classes="continents",
)

TASKS: dict[str, TaskInfo] = {info.id: info for info in (DIGITS, WORLD_CAPITALS)}
