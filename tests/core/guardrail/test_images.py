"""Which pictures are judged: their bytes, their types, their addresses."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.picture_addresses import address_in, is_public
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082"
)
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
WEBP = bytes.fromhex("524946461a000000574542505650384c0d0000002f00000010071011118888fe0700")
PICTURES = {"image/png": PNG, "image/jpeg": JPEG, "image/gif": GIF, "image/webp": WEBP}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'
SECRET = "walnut"


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def checked(url: str, **settings: Any) -> str:
    return ImageRules.of(settings).checked(Image(url), Stage.PROMPT).url


def refused(url: str, **settings: Any) -> str:
    """Why a picture is not judged; never with a word of it."""
    with pytest.raises(GuardUnavailable) as caught:
        checked(url, **settings)
    error = caught.value
    assert (Stage.PROMPT, None, None) == (error.stage, error.__cause__, error.__context__)
    assert SECRET not in f"{error}{error!r}{vars(error)}"
    return error.reason


def is_judged(url: str, **settings: Any) -> bool:
    try:
        return url == checked(url, **settings)
    except GuardUnavailable as error:
        reason = error.reason
    assert "not_judgeable" == reason
    return False


@pytest.mark.parametrize("kind", PICTURES)
def test_data_of_an_allowed_type_is_sent_as_it_is(kind: str) -> None:
    url = data_url(PICTURES[kind], kind)
    assert url == checked(url)


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("declared", [*PICTURES, "image/jpg", "IMAGE/PNG", "", "application/octet-stream"])
def test_the_type_that_is_sent_is_the_one_that_the_bytes_have(kind: str, declared: str) -> None:
    assert data_url(PICTURES[kind], kind) == checked(data_url(PICTURES[kind], declared))


@pytest.mark.parametrize(
    "declared", ["image/svg+xml", "text/html", "image/bmp", "application/pdf", "image", "video/mp4"]
)
def test_a_declared_type_that_is_not_allowed_is_refused_whatever_the_bytes(declared: str) -> None:
    assert "not_judgeable" == refused(data_url(PNG, declared))


@pytest.mark.parametrize(
    "content",
    [
        SVG,
        b"<html>",
        b"%PDF-1.7",
        b"BM\x00\x00",
        b"II*\x00",
        b"RIFF\x00\x00\x00\x00WAVE",
        b"\x00" + PNG,
        PNG[:4],
        b"walnut",
    ],
)
@pytest.mark.parametrize("declared", [*PICTURES, ""])
def test_bytes_of_another_type_are_refused_whatever_is_declared(content: bytes, declared: str) -> None:
    assert "not_judgeable" == refused(data_url(content, declared))


def test_types_can_be_allowed_more_narrowly() -> None:
    only_png = {"media_types": ["image/png"]}
    assert data_url(PNG) == checked(data_url(PNG), **only_png)
    assert "not_judgeable" == refused(data_url(GIF), **only_png)
    assert "not_judgeable" == refused(data_url(PNG, "image/gif"), **only_png)


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:image/png",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png,walnut",
        "data:image/png;base64;charset=utf-8,iVBORw0KGgo=",
        "data:image/png;base64,iVBORw0KGgo",
        "data:image/png;base64,iVBO*Rw0KGgo=",
        "data:image/png;base64,iVBORw0KGgo=walnut",
        "data:image/png;base64,iVBORw0KGgo%3D",
        "data:image/png;base64,_-__walnut==",
        "data:image/png;base64,ïVBORw0KGgo=",
        f"data:image/png;base64,{data_url(PNG)}",
    ],
)
def test_data_that_decoders_read_differently_or_not_at_all_is_refused(url: str) -> None:
    assert "not_judgeable" == refused(url)


def test_lines_parameters_and_capitals_of_a_data_url_are_put_straight() -> None:
    wrapped = base64.encodebytes(PNG * 3).decode().replace("\n", "\r\n")
    assert data_url(PNG * 3) == checked(f"DATA:image/png;name=a.png;BASE64,{wrapped}")


@given(st.binary(max_size=200), st.sampled_from(sorted(PICTURES)))
def test_whatever_is_judged_has_the_bytes_that_were_given(tail: bytes, kind: str) -> None:
    sent = checked(data_url(PICTURES[kind] + tail))
    assert (f"data:{kind};base64", PICTURES[kind] + tail) == (
        sent.partition(",")[0],
        base64.b64decode(sent.partition(",")[2]),
    )


def test_a_picture_may_have_max_bytes_and_no_more() -> None:
    assert data_url(PNG) == checked(data_url(PNG), max_bytes=len(PNG))
    assert "too_large" == refused(data_url(PNG), max_bytes=len(PNG) - 1)


def test_a_question_may_have_max_images_and_no_more() -> None:
    rules = ImageRules(max_images=2)
    rules.check_number(2)
    with pytest.raises(GuardUnavailable, match="the most is max_images, 2") as caught:
        rules.check_number(3, Stage.DOCUMENT)
    assert ("too_large", Stage.DOCUMENT) == (caught.value.reason, caught.value.stage)


@pytest.mark.parametrize("urls", ["pass", "fetch"])
@pytest.mark.parametrize(
    "url",
    [
        "https://images.example.com/a.png",
        "HTTPS://Images.Example.COM/a.png?size=1&b=%20@/#part",
        "https://images.example.com",
        "https://images.example.com?a",
        "https://images.example.com./a",
        "https://images.example.com:443/a",
        "https://xn--bcher-kva.example.com/a",
        "https://my_bucket.s3.amazonaws.com/~a/(b)/c,d;e=f",
        "https://example.com/user@host/a",
        "https://8.8.8.8/a",
        "https://[2606:4700::1111]/a",
    ],
)
def test_an_address_of_a_public_host_is_left_as_it_is(urls: Any, url: str) -> None:
    assert url == checked(url, urls=urls)


@pytest.mark.parametrize(
    "url",
    [
        "", "walnut", "walnut.png", "/walnut.png", "//walnut.com/a", "https:", "https:/", "https://", "https:///walnut.com/a",
        "https:walnut.com", "https:/walnut.com", "file:///etc/walnut", "ftp://walnut.com/a", "gs://walnut/a", "s3://walnut/a",
        "blob:https://walnut.com/a", "javascript:walnut", "view-source:https://walnut.com", "sandbox:/walnut.png",
        "https://good.com@walnut.com/", "https://good.com:443@walnut.com/", "https://@walnut.com/", "https://a:b@walnut.com",
        r"https://good.com\@walnut.com/", r"https:\\walnut.com/", r"https://walnut.com\a", r"https://good.com/\walnut.com",
        " https://walnut.com/a", "https://walnut.com/a ", "\thttps://walnut.com", "https://walnut.com\n", "https://wal\nnut.com",
        "ht\ttps://walnut.com", "https://walnut.com/\x00", "https://wal nut.com", "\ufeffhttps://walnut.com", "https://walnut.com\u3000",
        "https://wälnut.com", "https://walnut.com/ä", "https://good.com\uff0f.walnut.com/", "https://walnut\u3002com",
        "https://wal%6eut.com/", "https://walnut.com%2f@good.com/", "https://walnut..com", "https://.walnut.com", "https://-walnut.com",
        "https://walnut-.com", "https://walnut.com..", "https://.", "https://walnut,com", "https://walnut!.com", "https://*.walnut.com",
        "https://walnut.com:", "https://walnut.com:0", "https://walnut.com:65536", "https://walnut.com:4x", "https://walnut.com:1:2",
        "https://walnut.com:0443", "https://[walnut]/", "https://[::1", "https://::1/", "https://[2606:4700::1111%25eth0]/",
        f"https://{'w' * 64}.com", "https://" + "walnut." * 40 + "com", "https://walnut.com/" + "w" * 9000,
    ],
)  # fmt: skip
def test_what_parsers_may_read_differently_is_refused(url: str) -> None:
    for rules in ({}, {"private_addresses": True, "allowed_hosts": ["good.com", "*.com", "*.walnut.com"]}):
        assert "not_judgeable" == refused(url, **rules)


NUMBERS = [
    "2130706433", "0x7f000001", "017700000001", "0x7f.1", "127.1", "127.0.1", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.0x1", "1", "0",
    "0x", "256.0.0.1", "1.2.3.4.5", "4294967296", "134744072", "8.8.8.010", "example.1", "example.0x1f", "00000177.0.0.1",
]  # fmt: skip


@pytest.mark.parametrize("host", NUMBERS)
def test_ipv4_in_unusual_notation_is_refused_even_where_private_addresses_are_allowed(host: str) -> None:
    assert "not_judgeable" == refused(f"https://{host}/", private_addresses=True)
    assert "not_judgeable" == refused(f"https://{host}./", private_addresses=True)


PRIVATE_IPS = [
    "0.0.0.0",  # noqa: S104 (nothing is bound to it)
    "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.9.9.9", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::808:808", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "5f00::1", "fc00::1",
    "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
]  # fmt: skip
PUBLIC_IPS = [
    "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.255", "168.63.129.17",
    "2606:4700::1111", "2a00:1450::1", "2001:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


def in_url(ip: str) -> str:
    return f"https://[{ip}]/a" if ":" in ip else f"https://{ip}/a"


@pytest.mark.parametrize("urls", ["pass", "fetch"])
@pytest.mark.parametrize("ip", PRIVATE_IPS)
def test_addresses_that_are_not_public_are_refused_unless_allowed(urls: Any, ip: str) -> None:
    assert not is_judged(in_url(ip), urls=urls)
    assert is_judged(in_url(ip), urls=urls, private_addresses=True)
    assert (False, True) == (ImageRules().may_reach(ip), ImageRules(private_addresses=True).may_reach(ip))


@pytest.mark.parametrize("ip", PUBLIC_IPS)
def test_public_addresses_are_allowed(ip: str) -> None:
    assert is_judged(in_url(ip))
    assert ImageRules().may_reach(ip)


@pytest.mark.parametrize("text", ["", "walnut", "8.8.8", "fe80::1%eth0", "fe80::1%0"])
def test_what_a_resolver_gives_beside_public_addresses_is_not_public(text: str) -> None:
    assert not is_public(text)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_as_public_as_its_ipv6_forms(ip: Any) -> None:
    assert is_public(str(ip)) == is_public(f"::ffff:{ip}") == is_public(f"64:ff9b::{ip}")
    assert not is_public(str(ip)) or ip.is_global


@pytest.mark.parametrize("urls", ["pass", "fetch"])
@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.localdomain", "printer.local", "metadata.google.internal",
        "metadata", "intranet", "router.lan", "a.corp", "a.home", "a.home.arpa", "a.private", "a.intranet",
    ],
)  # fmt: skip
def test_names_of_private_networks_are_refused_unless_allowed(urls: Any, host: str) -> None:
    assert not is_judged(f"https://{host}/", urls=urls)
    assert is_judged(f"https://{host}/", urls=urls, private_addresses=True)


LISTS = [
    ("images.example.com", "https://images.example.com/a", True),
    ("images.example.com", "https://IMAGES.Example.com./a", True),
    ("Images.Example.com.", "https://images.example.com/a", True),
    ("images.example.com", "https://images.example.com:443/a", True),
    ("images.example.com:443", "https://images.example.com/a", True),
    ("images.example.com", "https://images.example.com:8443/a", False),
    ("images.example.com:8443", "https://images.example.com:8443/a", True),
    ("images.example.com:8443", "https://images.example.com/a", False),
    ("images.example.com", "https://a.images.example.com/a", False),
    ("images.example.com", "https://example.com/a", False),
    ("images.example.com", "https://images.example.com.walnut.org/a", False),
    ("images.example.com", "https://walnut.org/images.example.com", False),
    ("images.example.com", "https://walnut.org?images.example.com", False),
    ("images.example.com", "https://walnut.org#images.example.com", False),
    ("images.example.com", "https://images-example.com/a", False),
    ("images.example.com", "https://imagesxexample.com/a", False),
    ("*.example.com", "https://a.example.com/a", True),
    ("*.example.com", "https://a.b.example.com/a", True),
    ("*.Example.com", "https://A.EXAMPLE.com./a", True),
    ("*.example.com", "https://example.com/a", False),
    ("*.example.com", "https://walnutexample.com/a", False),
    ("*.example.com", "https://a.example.com.walnut.org/a", False),
    ("*.example.com", "https://a.example.com:8443/a", False),
    ("*.example.com:8443", "https://a.example.com:8443/a", True),
    ("*.example.com:8443", "https://a.example.com/a", False),
    ("xn--bcher-kva.example", "https://xn--bcher-kva.example/a", True),
    ("xn--bcher-kva.example", "https://bcher-kva.example/a", False),
    ("8.8.8.8", "https://8.8.8.8/a", True),
    ("8.8.8.8", "https://8.8.8.88/a", False),
    ("[2606:4700:0:0::1111]", "https://[2606:4700::1111]/a", True),
    ("[2606:4700::1111]:8443", "https://[2606:4700::1111]:8443/a", True),
    ("[2606:4700::1111]:8443", "https://[2606:4700::1111]/a", False),
]


@pytest.mark.parametrize("urls", ["pass", "fetch"])
@pytest.mark.parametrize(("entry", "url", "judged"), LISTS)
def test_a_list_of_hosts_allows_what_it_names_and_nothing_else(urls: Any, entry: str, url: str, judged: bool) -> None:
    assert judged is is_judged(url, urls=urls, allowed_hosts=["other.example.org", entry])


def test_an_empty_list_allows_no_host_and_a_port_must_be_listed() -> None:
    assert not is_judged("https://example.com/a", allowed_hosts=[])
    assert not is_judged("https://example.com:8443/a")


def test_a_listed_host_may_not_be_private_for_all_that() -> None:
    hosts = ["127.0.0.1:8000", "localhost", "images.internal"]
    for url in ("https://127.0.0.1:8000/a", "https://localhost/a", "https://images.internal/a"):
        assert not is_judged(url, allowed_hosts=hosts)
        assert is_judged(url, allowed_hosts=hosts, private_addresses=True)
        assert not is_judged(url, allowed_hosts=["images.example.com"], private_addresses=True)


@pytest.mark.parametrize(
    "entry",
    [
        "", "*", "*.", "*.*.com", "a.*.com", "https://a.com", "a.com/b", "a@b.com", "bücher.example", "a.com:0", "a.com:x", "*.8.8.8.8",
        "0x7f.1", "a b.com", ".com", "*a.com", "*.[::1]", "a.com\n",
        "a.com:65536", "\u212a.com",
    ],
)  # fmt: skip
def test_an_entry_that_names_no_host_is_refused_at_once(entry: str) -> None:
    with pytest.raises(ValidationError, match="a host is written"):
        ImageRules(allowed_hosts=(entry,))


@pytest.mark.parametrize("urls", ["pass", "fetch"])
def test_http_is_refused_unless_allowed(urls: Any) -> None:
    assert not is_judged("http://example.com/a", urls=urls)
    assert is_judged("http://example.com/a", urls=urls, http=True)
    assert is_judged("http://example.com:80/a", urls=urls, http=True, allowed_hosts=["example.com"])
    assert not is_judged("http://example.com:443/a", urls=urls, http=True, allowed_hosts=["example.com"])


def test_addresses_may_be_refused_altogether_and_data_never_is() -> None:
    assert "not_judgeable" == refused("https://example.com/walnut", urls="refuse", allowed_hosts=["example.com"])
    for urls in ("pass", "fetch", "refuse"):
        assert data_url(PNG) == checked(data_url(PNG), urls=urls, allowed_hosts=[])


def test_only_addresses_are_fetched_and_only_if_that_was_chosen() -> None:
    address, data = Image("https://example.com/a"), Image(data_url(PNG))
    chosen = [
        (ImageRules(urls=urls).must_be_fetched(image), urls) for urls in ("pass", "fetch") for image in (address, data)
    ]
    assert [(False, "pass"), (False, "pass"), (True, "fetch"), (False, "fetch")] == chosen


PIECES = [
    "good.com",
    "a",
    "B.c",
    "[::1]",
    "1",
    "0x1",
    ":",
    "443",
    "8443",
    ".",
    "/",
    "@",
    "\\",
    "?",
    "#",
    "%40",
    " ",
    "é",
    "。",
    "\uff0f",
]


@given(st.lists(st.sampled_from(PIECES), max_size=9))
@settings(max_examples=500)
def test_every_parser_finds_the_host_that_was_checked(pieces: list[str]) -> None:
    """What is let through is read alike by Python's and httpx's parsers."""
    url = "https://" + "".join(pieces)
    address = address_in(url)
    if address is not None:
        assert {address.host} == {
            (urlsplit(url).hostname or "").removesuffix("."),
            httpx.URL(url).host.removesuffix("."),
        }
        assert {address.port} == {urlsplit(url).port or 443, httpx.URL(url).port or 443}


def test_the_parts_of_an_address_are_what_is_asked_for() -> None:
    address = ImageRules(allowed_hosts=("a.example.com:8443",)).address_of(Image("HTTPS://A.example.com.:8443?b=/c#d"))
    assert ("https", "a.example.com", 8443, "/?b=/c") == (address.scheme, address.host, address.port, address.target)
    assert ("a.example.com:8443", False) == (address.authority, "example" in repr(address))


@pytest.mark.parametrize(
    "wrong",
    [
        {"urls": "maybe"}, {"url": "pass"}, {"max_bytes": 0}, {"max_images": -1}, {"timeout": 0}, {"timeout": float("inf")},
        {"media_types": ["image/svg+xml"]}, {"allowed_hosts": "example.com"},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageRules.of(wrong)


def test_rules_are_taken_in_each_form() -> None:
    rules = ImageRules(urls="refuse")
    assert (rules, rules, ImageRules()) == (
        ImageRules.of(rules),
        ImageRules.of({"urls": "refuse"}),
        ImageRules.of(None),
    )
