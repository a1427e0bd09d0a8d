"""Prompts by hand: answers written token by token, intact and with units off; their comparison; their maps."""
