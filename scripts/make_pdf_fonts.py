"""Make the fonts that PDF figures embed (frontend/assets/inter-400.ttf, inter-600.ttf).

    npm pack inter-ui@4.1.1 && tar xzf inter-ui-4.1.1.tgz
    python scripts/make_pdf_fonts.py package/web

It needs fonttools and brotli. PDF writers in browsers take TrueType without compression; hinting and layout features
are left out, since jsPDF uses neither. The letters are Latin, Greek, Cyrillic and the signs of formulas.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset

ASSETS = Path(__file__).parent.parent / "frontend" / "assets"
WEIGHTS = {"Regular": 400, "SemiBold": 600}
LETTERS = (
    "U+0020-007E,U+00A0-017F,U+0370-03FF,U+0400-045F,U+2010-2015,U+2018-201E,U+2020-2022,U+2026,U+2030,U+2032-2033,"
    "U+2039-203A,U+20AC,U+2122,U+2190-2193,U+2200,U+2202,U+2206,U+2211-2212,U+221A,U+221E,U+2248,U+2260,U+2264-2265"
)
UNUSED_TABLES = ["GPOS", "GSUB", "GDEF", "DSIG", "STAT"]


def main(folder: Path) -> None:
    """Write both fonts from the package's web fonts in `folder`."""
    for name, weight in WEIGHTS.items():
        options = subset.Options(layout_features=[], hinting=False, name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14])
        options.drop_tables += UNUSED_TABLES
        font = subset.load_font(str(folder / f"Inter-{name}.woff2"), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=subset.parse_unicodes(LETTERS))
        subsetter.subset(font)
        options.flavor = None
        subset.save_font(font, str(ASSETS / f"inter-{weight}.ttf"), options)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
