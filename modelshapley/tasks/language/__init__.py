"""Language models on tasks: rendering and encoding texts, scoring continuations, greedy generation."""
