"""How jobs run in a worker: whose turn it is, how they are cancelled and stopped, how failures are recorded."""
