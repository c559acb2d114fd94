"""Connections that can only reach the public internet, decided on the address that is then connected to."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
"""From a host and port to its addresses in text form; raises OSError where it has none."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: the last four bytes are an IPv4 address that a gateway connects to."""
SIX_TO_FOUR = ipaddress.IPv6Network("2002::/16")
"""RFC 3056: bytes 2 to 5 are an IPv4 address."""
REFUSED_NETWORKS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's host service, in public space; the other clouds' lie in link-local ranges
        "192.0.0.0/24",  # RFC 6890, whole: is_global differs between Python versions
        "192.88.99.0/24",  # RFC 7526, the 6to4 relays
        "::/96",  # RFC 4291, IPv4-compatible
        "64:ff9b:1::/48",  # RFC 8215, local NAT64
        "100::/64",  # RFC 6666
        "2001::/23",  # RFC 2928: Teredo, ORCHID and other protocol assignments
        "fec0::/10",  # RFC 3879, site-local
    )
)


class RefusedAddress(OSError):
    """A host has an address that is not of the public internet. `address` says which."""

    def __init__(self, host: str, address: str) -> None:
        super().__init__(f"{host} is at {address}, which is no public address")
        self.address = address


class OutOfTime(TimeoutError):
    """The request as a whole took longer than it may."""


def system_resolver(host: str, port: int) -> list[str]:
    """The operating system's answer, each address once, in its order of preference."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: Address) -> bool:
    """Whether an address is of the public internet: no private, loopback, link-local (cloud metadata), shared,
    reserved or multicast one, nor an IPv6 address that stands for such an IPv4 one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is None and address in SIX_TO_FOUR:
            inner = ipaddress.IPv4Address(int(address) >> 80 & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    if any(address in network for network in REFUSED_NETWORKS if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def checked_addresses(host: str, port: int, resolve: Resolver, allowed_networks: Sequence[Network] = ()) -> list[str]:
    """The host's addresses, looked up once. Raises RefusedAddress where any of them is not public.

    Hosts written as numbers (http://2130706433/, http://0177.0.0.1/) are judged by what they resolve to, like names.
    allowed_networks: taken besides the public ones.
    """
    texts = list(resolve(host, port))
    if not texts:
        raise OSError(f"{host} has no address")
    for text in texts:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            raise RefusedAddress(host, text) from None
        allowed = any(address in network for network in allowed_networks if network.version == address.version)
        if not allowed and not is_public(address):
            raise RefusedAddress(host, text)
    return texts


def guarded_backend(resolve: Resolver, allowed_networks: Sequence[Network], ends_at: float) -> Any:
    """An httpcore network backend that connects to checked addresses only, and to nothing after `ends_at`.

    The name is resolved once and the connection goes to the very address that was checked, so that a name whose
    answer changes in between gains nothing; TLS and the Host header keep the name. ends_at (time.monotonic) bounds
    the request as a whole: a server that sends a byte now and then is cut off.
    """
    import httpcore

    class Stream(httpcore.NetworkStream):
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return bytes(self._inner.read(max_bytes, _time_left(ends_at, timeout)))

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._inner.write(buffer, _time_left(ends_at, timeout))

        def close(self) -> None:
            self._inner.close()

        def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> Any:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, _time_left(ends_at, timeout)))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Backend(httpcore.NetworkBackend):
        def connect_tcp(
            self,
            host: str,
            port: int,
            timeout: float | None = None,
            local_address: str | None = None,
            socket_options: Iterable[Any] | None = None,
        ) -> Any:
            problem: Exception = OSError(f"{host} has no address")
            plain = httpcore.SyncBackend()
            for address in checked_addresses(host, port, resolve, allowed_networks):
                try:
                    return Stream(plain.connect_tcp(address, port, _time_left(ends_at, timeout)))
                except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                    problem = error
            raise problem

    return Backend()


def _time_left(ends_at: float, timeout: float | None) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise OutOfTime("the page as a whole took too long")
    return left if timeout is None else min(left, timeout)
