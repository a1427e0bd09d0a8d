"""Tests of what workers do: runs, shards, trials and checks, whatever happens to them."""
