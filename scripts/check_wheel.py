"""Install the wheel of a commit into a new environment of any Python, from the package index, and score with it.

    python3.13 scripts/check_wheel.py [--lowest] [--extra test] [--run "pytest tests/maps"]

With --lowest, all packages that the library needs have the lowest versions that pyproject.toml allows; else those of
constraints.txt. --run is a command of the environment, run in a copy of the commit. Run it at the root of a checkout;
it needs git and downloads torch. pip's own settings say from where: PIP_FIND_LINKS, say, for a folder with a smaller
wheel of torch, without CUDA.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import tomllib
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


def lowest(source: Path) -> str:
    """Return constraints: each package that the library needs at the lowest version that it allows."""
    needed = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    pairs = [text.split(",")[0].split(">=") for text in needed]
    return "".join(f"{name}=={version}\n" for name, version in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lowest", action="store_true")
    parser.add_argument("--extra", nargs="*", default=[], help="packages beside the wheel")
    parser.add_argument("--run", nargs="*", default=[], help="commands to run in a copy of the commit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, programs = folder / "source", folder / "venv/bin"
        pip = [str(programs / "pip"), "--quiet", "--disable-pip-version-check"]
        subprocess.run(["git", "clone", "--quiet", ".", str(source)], check=True)
        venv.create(folder / "venv", with_pip=True)
        subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", name, str(source)], check=True)
        (wheel,) = folder.glob("*.whl")
        constraints = source / "constraints.txt"
        if options.lowest:
            constraints = folder / "lowest.txt"
            constraints.write_text(lowest(source), encoding="utf-8")
        subprocess.run([*pip, "install", "--constraint", str(constraints), str(wheel), *options.extra], check=True)
        for command in (["modelshapley", "--help"], ["python", "-I", "-c", FIVE_LINES]):
            subprocess.run([programs / command[0], *command[1:]], cwd=name, check=True)
        for line in options.run:
            first, *others = shlex.split(line)
            environment = os.environ | {"PYTHONPATH": str(source), "PATH": f"{programs}:{os.environ['PATH']}"}
            subprocess.run([programs / first, *others], cwd=source, env=environment, check=True)
    which = "with the lowest versions" if options.lowest else "with those of constraints.txt"
    print(f"{wheel.name} works on Python {sys.version.partition(' ')[0]}, {which}")


if __name__ == "__main__":
    main()
