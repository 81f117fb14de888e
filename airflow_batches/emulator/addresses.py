"""Where an emulator listens: a host as the user gives it, its socket address, and the URL for clients."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Self

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Address:
    """A resolved host and port; `name` is the host as it was given."""

    name: str
    ip: str
    port: int
    family: socket.AddressFamily

    @classmethod
    def resolve(cls, host: str, port: int) -> Self:
        """Resolve a name or an IP address.

        Raises OSError for a host that has no address.
        """
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except socket.gaierror as error:
            raise OSError(f"The host {host!r} has no address: {error.strerror}.") from None
        family, _, _, _, address = found[0]
        return cls(host, str(address[0]), port, family)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ip_address(self.ip).is_loopback

    @property
    def is_any(self) -> bool:
        """Whether it stands for all addresses of this machine."""
        return ip_address(self.ip).is_unspecified

    @property
    def origin(self) -> str:
        """Scheme, host and port under which a client on this machine connects."""
        name = self.name
        if self.is_any:
            name = LOOPBACK if self.family == socket.AF_INET else "::1"
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"
