"""Importance maps: the artefact between computing and displaying scores."""
