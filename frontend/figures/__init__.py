"""Pure functions from data to figures: Plotly for pages, SVG for the report."""
