"""What several pages use: wiring of callbacks, figures, tables, empty states."""
