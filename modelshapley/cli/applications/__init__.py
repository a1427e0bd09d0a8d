"""Commands that use a map, and those that repeat the experiments of the paper."""
