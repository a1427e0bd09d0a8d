"""Compute runs of the demo models on a server of its own and save their reports, each one HTML file.

python -m scripts.make_gallery .gallery [--only digits]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.support.common import DATA
from benchmarks.support.live_service import service
from modelshapley.client import Client
from modelshapley.contracts import RunRequest
from modelshapley.models.catalog import DIGITS_VIT, SMOLLM2, Catalog
from modelshapley.models.demo import prepare_smollm2

RUNS = {
    "digits": RunRequest(
        model=DIGITS_VIT, task="digits", methods=["two-sided", "mean-abs", "random"], faithfulness="full"
    ),
    "world-capitals": RunRequest(
        model=SMOLLM2, task="world-capitals", methods=["two-sided", "mean-abs"], faithfulness="quick"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=RUNS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [options.only] if options.only else list(RUNS)
    if "world-capitals" in names:
        prepare_smollm2(Catalog(DATA).smollm2_folder)
    with tempfile.TemporaryDirectory() as folder:
        if (DATA / "demo").is_dir():
            (Path(folder) / "demo").symlink_to((DATA / "demo").resolve())
        with service(Path(folder)) as (url, _), Client(url) as api:
            for name in names:
                run = api.wait(api.submit_run(RUNS[name]).id)
                while not api.faithfulness(run.id).status.ended:
                    time.sleep(0.5)
                api.save_report(run.id, options.out / f"{name}.html")
                print(options.out / f"{name}.html", flush=True)


if __name__ == "__main__":
    main()
