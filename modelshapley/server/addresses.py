"""Network addresses and ports of this machine, and which of them may be served without a key."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from contextlib import suppress

from modelshapley.errors import ModelShapleyError

OPEN_FILES = "/dev/fd"  # one entry for each file descriptor of the process that reads it


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def refuse_open_host(host: str, key: str | None) -> None:
    """Raise ModelShapleyError for a host that others can reach, unless there is a key."""
    if not is_loopback(host) and not (key or "").strip():
        raise ModelShapleyError(
            f"Listening on {host or 'every address'} opens the server to others: set MODELSHAPLEY_API_KEY to a secret, "
            "or use 127.0.0.1."
        )


def open_listeners() -> list[str] | None:
    """Return the addresses at which this process listens and that others can reach; None before it listens at all.

    It looks at the sockets themselves, since any program may have bound them: uvicorn's own command line, another
    ASGI server, a parent process that passes them on.
    """
    addresses = [address for descriptor in os.listdir(OPEN_FILES) if (address := _listens_at(int(descriptor)))]
    return [address for address in addresses if not is_loopback(address)] if addresses else None


def _listens_at(descriptor: int) -> str | None:
    """Return the address of a listening TCP socket; None for any other file, one closed meanwhile included."""
    with suppress(OSError):
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        with socket.socket(fileno=os.dup(descriptor)) as copy:
            internet = copy.family in (socket.AF_INET, socket.AF_INET6)
            if internet and copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return str(copy.getsockname()[0])
    return None


def free_port() -> int:
    """Return a loopback port that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
