"""A server's certificate that only tests trust."""

from __future__ import annotations

import ssl
from pathlib import Path

NAME = "pictures.test"

# Made for these tests: valid for pictures.test until 2120, trusted by nobody.
_CERTIFICATE = """-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1waWN0dXJl
cy50ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1waWN0dXJlcy50ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEdCkF
47fKF9ZS5EDR6r8qEXpYky334dHc8rFHP9stdyZIrFg6RNFDR7AaCpLhRcztv2pT
C3RPID9k8V75B060m6NcMFowGAYDVR0RBBEwD4INcGljdHVyZXMudGVzdDAPBgNV
HRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUuK8iWMkL/2W7
wj+4CtkfshX9jAAwCgYIKoZIzj0EAwIDSAAwRQIgdgQSpRcUYIz/orluHmnNi3Mj
qVGi+xDoBPeH5xd9OdUCIQCxFbj1PJxXfBhBARDUWdlPvvBc2E6wugV/8mNml49H
/A==
-----END CERTIFICATE-----
"""
_KEY = """-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgG6oms+lNwh/rzbTS
5M/YC7dH0ThFU288fhC7OdBgXEihRANCAAR0KQXjt8oX1lLkQNHqvyoReliTLffh
0dzysUc/2y13JkisWDpE0UNHsBoKkuFFzO2/alMLdE8gP2TxXvkHTrSb
-----END PRIVATE KEY-----
"""


def certified_server(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """What a server called `NAME` serves with, and the file of the certificate that a client is to trust."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(_CERTIFICATE)
    key.write_text(_KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate
