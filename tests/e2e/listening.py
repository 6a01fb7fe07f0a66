"""Which addresses a process listens on, from /proc."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path

_LISTEN = "0A"


def listening(pid: int) -> set[tuple[str, int]]:
    """The (address, port) pairs of the process's listening TCP sockets."""
    inodes = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(fd.readlink())
        except OSError:  # closed in between
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        path = Path(f"/proc/{pid}/net/{table}")
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                address, _, port = fields[1].partition(":")
                found.add((_address(address, family), int(port, 16)))
    return found


def beyond_loopback(pid: int) -> set[tuple[str, int]]:
    """Those of `listening` that another machine could reach."""
    return {
        (address, port)
        for address, port in listening(pid)
        if not ipaddress.ip_address(address).is_loopback
    }


def _address(text: str, family: socket.AddressFamily) -> str:
    """The kernel writes each 32-bit word in the machine's own byte order."""
    words = [int(text[i : i + 8], 16) for i in range(0, len(text), 8)]
    return socket.inet_ntop(family, b"".join(word.to_bytes(4, sys.byteorder) for word in words))
