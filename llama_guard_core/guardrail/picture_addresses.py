"""Addresses of pictures: only such as every parser reads alike, and whether they lead out of one's own networks."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

# No space, control character, backslash or letter beyond ASCII: each is where parsers differ on what the host is.
_ADDRESS = re.compile(r"(?=[!-\[\]-~]{1,8192}\Z)(https?)://([^/?#]+)([^#]*)(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+))(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a host that ends in one is an IPv4 address to every browser
_LONGEST_NAME, _HIGHEST_PORT = 253, 65535
_PORTS = {"http": 80, "https": 443}

# RFC 6761, RFC 8375, RFC 6762 (appendix G); `.internal` is also where clouds keep their metadata services.
_PRIVATE_NAMES = (
    ".localhost", ".localdomain", ".local", ".internal", ".home.arpa",
    ".intranet", ".private", ".corp", ".home", ".lan",
)  # fmt: skip
# IANA's special-purpose registries, written out because what `ipaddress` calls global changes between Pythons;
# 168.63.129.16 is public by number and Azure's own host to each of its machines.
_SPECIAL_IPV4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32",
    )
)  # fmt: skip
# Of IPv6 only 2000::/3 is public, without protocol assignments and Teredo, documentation and 6to4.
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how networks without IPv4 reach it: public where the address in it is


@dataclass(frozen=True, slots=True)
class PictureAddress:
    """An `http(s)://` address, taken apart.

    Attributes:
        scheme: `http` or `https`.
        host: in lower case without a last dot; an IP address in its usual form, without brackets.
        port: the scheme's own where none was given.
        target: path and query.
    """

    scheme: str
    host: str = field(repr=False)
    port: int
    target: str = field(repr=False)

    @property
    def has_usual_port(self) -> bool:
        """Whether the port is the scheme's own."""
        return self.port == _PORTS[self.scheme]

    @property
    def authority(self) -> str:
        """Host and port, the port only where it is not the scheme's own."""
        return _written(self.host, None if self.has_usual_port else self.port)

    @property
    def seems_public(self) -> bool:
        """Whether the host is outside one's own networks, as far as can be told without looking its name up."""
        if _is_ip(self.host):
            return is_public(self.host)
        return "." in self.host and not self.host.endswith(_PRIVATE_NAMES)

    def is_listed(self, entries: tuple[str, ...]) -> bool:
        """Whether one of the entries, each as `listed_host` writes it, names this host and port."""
        forms = [_written(self.host, self.port), *([_written(self.host, None)] if self.has_usual_port else [])]
        return any(
            form.endswith(entry[1:]) if entry.startswith("*.") else form == entry for entry in entries for form in forms
        )


def address_in(url: str) -> PictureAddress | None:
    """The address that a text is, or None if it is no `http(s)` address or parsers may read it differently."""
    match = _ADDRESS.fullmatch(url)
    named = _host_and_port(match[2]) if match else None
    if match is None or named is None:
        return None
    scheme, target = match[1].lower(), match[3]
    return PictureAddress(scheme, named[0], named[1] or _PORTS[scheme], target if target[:1] == "/" else f"/{target}")


def listed_host(text: str) -> str:
    """An entry of a list of hosts, in one spelling: a host, or `*.` and a name, perhaps with a port.

    Raises:
        ValueError: if it is something else.
    """
    wildcard, host = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    named = _host_and_port(host)
    if named is None or (wildcard and _is_ip(named[0])):
        msg = "a host is written images.example.com, *.example.com or images.example.com:8443, other letters as xn--…"
        raise ValueError(msg)
    return wildcard + _written(*named)


def is_public(ip_address: str) -> bool:
    """Whether an IP address is one of the public Internet."""
    try:
        ip = ipaddress.ip_address(ip_address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
        if inner is None:
            return ip in _PUBLIC_IPV6 and not any(ip in network for network in _SPECIAL_IPV6)
        ip = inner
    return not any(ip in network for network in _SPECIAL_IPV4)


def _host_and_port(authority: str) -> tuple[str, int | None] | None:
    match = _AUTHORITY.fullmatch(authority.lower()) if authority.isascii() else None
    if match is None:
        return None
    in_brackets, name, port = match.groups()
    host = _as_ip(ipaddress.IPv6Address, in_brackets) if in_brackets else _host(name.removesuffix("."))
    if host is None or int(port or 0) > _HIGHEST_PORT:
        return None
    return host, int(port) if port else None


def _host(name: str) -> str | None:
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        return None
    return _as_ip(ipaddress.IPv4Address, name) if _is_ip(name) else name


def _as_ip(kind: type[ipaddress.IPv4Address | ipaddress.IPv6Address], text: str) -> str | None:
    try:
        return str(kind(text))
    except ValueError:
        return None


def _is_ip(host: str) -> bool:
    return ":" in host or bool(_NUMBER.fullmatch(host.rpartition(".")[2]))


def _written(host: str, port: int | None) -> str:
    written = f"[{host}]" if ":" in host else host
    return f"{written}:{port}" if port else written
