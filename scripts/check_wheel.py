"""Install the wheel of a commit into a new environment of any Python, from the package index, and score with it.

    python3.13 scripts/check_wheel.py

Run it at the root of a checkout; it needs git and downloads torch.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FIVE_LINES = """
from modelshapley import evaluate, load_model, load_task, score
model, task = load_model("demo:digits-vit"), load_task("digits")
importance_map = score(model, task)
intact, without = (evaluate(model, task, *off).accuracy for off in ((), (importance_map.least("head", 0.25),)))
assert intact > 0.95 and without > 0.5, (intact, without)
print(f"{intact:.3f} -> {without:.3f}")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, pip = folder / "source", [str(folder / "venv/bin/pip"), "--quiet", "--disable-pip-version-check"]
        subprocess.run(["git", "clone", "--quiet", ".", str(source)], check=True)
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", name, str(source)], check=True)
        (wheel,) = folder.glob("*.whl")
        subprocess.run([*pip, "install", "--constraint", str(source / "constraints.txt"), str(wheel)], check=True)
        for command in (["modelshapley", "--help"], ["python", "-I", "-c", FIVE_LINES]):
            subprocess.run([folder / "venv/bin" / command[0], *command[1:]], cwd=name, check=True)
    print(f"{wheel.name} works on Python {sys.version.partition(' ')[0]}")


if __name__ == "__main__":
    main()
