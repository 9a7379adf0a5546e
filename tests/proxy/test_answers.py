"""Ranges and conditions: the same request to nginx and to the registry, every header compared.

Only what OF_THE_CONNECTION, ALLOWED and DOCUMENTED list may differ, with the reasons given there.
docs/decisions/blobs_from_disk.md explains the same differences to readers.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import re
from email.utils import formatdate

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from local.stack import NAME, Answer, Stack

REPOSITORY = "someuser/compared"
# Not a power of two, so that no boundary coincides with a buffer's.
CONTENT = hashlib.shake_256(b"compared").digest(100_003)
SIZE = len(CONTENT)
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
ETAG = f'"{DIGEST}"'
PULL = ("repository", REPOSITORY, ["pull"])
PATH = f"/v2/{REPOSITORY}/blobs/{DIGEST}"
LONG_AGO, FAR_AWAY = formatdate(0, usegmt=True), formatdate(4e9, usegmt=True)

# These headers describe the connection or the moment, not the blob.
OF_THE_CONNECTION = {"date", "server", "connection"}

# (status, header) pairs that nginx sends and the registry does not, and why they mislead nobody.
ALLOWED = {
    (304, "content-length"): "nginx says 0, which caches ignore (RFC 9111, 3.2)",
    (416, "accept-ranges"): "said before nginx looked at the range, and true",
    (
        416,
        "cache-control",
    ): "said before nginx looked at the range; a 416 is not stored as the blob",
}

# Requests that are answered differently: the request, nginx's status, the registry's, and why.
DOCUMENTED: list[tuple[dict[str, str], int, int, str]] = [
    ({"Range": "bytes=-0"}, 416, 206, "the registry sends a part of minus one byte"),
    ({"Range": "bytes=0-1,"}, 416, 206, "nginx takes no empty part of a list"),
    ({"Range": "bytes=,0-1"}, 416, 206, "nginx takes no empty part of a list"),
    ({"Range": "bytes=+1-2"}, 416, 206, "no number (RFC 9110, 14.1.1)"),
    ({"Range": "bytes=5-2"}, 416, 416, "nginx says `failed to overlap` here too"),
    ({"Range": "bytes=0-9", "If-Range": ""}, 200, 206, "nginx takes the empty value for another"),
    ({"If-Match": ETAG}, 412, 200, "nginx knows no tag of the blob when it compares"),
    ({"If-Match": f'"x", {ETAG}', "Range": "bytes=0-9"}, 412, 206, "the same"),
    # The registry's own 412 announces the blob's length and then sends no body.
    ({"If-Match": '"another"'}, 412, 412, "nginx's is complete, in the registry's form"),
    ({"If-Unmodified-Since": LONG_AGO}, 412, 200, "nginx compares with the file's time"),
    ({"If-Unmodified-Since": "no date"}, 412, 200, "nginx compares with the file's time"),
]

RANGES = [
    *("bytes=0-9", "bytes=0-0", "bytes=-5", "bytes=99990-", "bytes=0-", f"bytes={SIZE - 1}-"),
    *("bytes=0-999999", "bytes=-999999", f"bytes=0-{SIZE - 1}", f"bytes={SIZE}-"),
    *("bytes=999999-", "bytes=999999-9999999", "bytes=0-1,5-6", "bytes=0-1, 5-6", "bytes=-1,-1"),
    *("bytes=0-50,20-70", "bytes=0-1,999999-", "bytes=999999-,888888-", "bytes=0-,0-,0-"),
    *("bytes= 0-1", "bytes=0 - 1", "bytes=abc", "bytes=", "bytes=-", "bytes", "bytes =0-1"),
    *("Bytes=0-1", "items=0-1", "bytes=0-1,abc", "bytes=1-2;x", "bytes=0x0-1", "0-1", "none"),
    *("bytes=0-99999999999999999999", "bytes=99999999999999999999-", "bytes=--1", "bytes=1-2-3"),
]
KNOWN = [
    *(ETAG, f"W/{ETAG}", "*", f'"x", {ETAG}', f'{ETAG},"y"', f'W/"x",W/{ETAG}', f"* , {ETAG}"),
    *(f'"x" {ETAG}', f'"a,b",{ETAG}', f"{ETAG}x", f",,{ETAG}", "*,", f'{ETAG}, "unfinished'),
]
OTHER = [
    *('"x"', DIGEST, f'"x{DIGEST}"', ETAG.upper(), f"garbage {ETAG}", f"garbage, {ETAG}", '"*"'),
    *('"a,*,b"', f"w/{ETAG}", f"W/ {ETAG}", '"x', ",", f"'{DIGEST}'", ""),
]
REQUESTS: list[dict[str, str]] = [
    {},
    {"Accept-Encoding": "gzip"},
    {"If-Modified-Since": LONG_AGO},
    {"If-Modified-Since": FAR_AWAY},
    {"If-Modified-Since": "no date"},
    {"If-Unmodified-Since": FAR_AWAY},
    {"If-Match": "*"},
    {"If-None-Match": '"x"', "If-Modified-Since": FAR_AWAY},
    *({"Range": value} for value in RANGES),
    *({"If-None-Match": value} for value in (*KNOWN, *OTHER)),
    *({"If-None-Match": value, "Range": "bytes=0-9"} for value in (*KNOWN[:3], *OTHER[:3])),
    *(
        {"Range": wanted, "If-Range": value}
        for wanted in ("bytes=0-9", "bytes=999999-", "items=0-1", "bytes=0-1,5-6")
        for value in (ETAG, '"x"', f"W/{ETAG}", DIGEST, LONG_AGO, FAR_AWAY)
    ),
    {"If-Range": ETAG},
]


@pytest.fixture(scope="module")
def compared(stack: Stack) -> Stack:
    assert stack.push_blob(REPOSITORY, CONTENT) == DIGEST
    return stack


def comparable(answer: Answer) -> tuple[dict[str, str], object]:
    """Headers and body. With several parts the boundary is arbitrary, and so the length is too."""
    pairs = [pair for pair in answer.headers if pair[0] not in OF_THE_CONNECTION]
    # If the ranges add up to more than the blob, nginx sends all of it and repeats this header.
    if answer.status == 200 and pairs.count(("accept-ranges", "bytes")) == 2:
        pairs.remove(("accept-ranges", "bytes"))
    headers = dict(pairs)
    assert len(headers) == len(pairs)
    several = re.fullmatch(r"multipart/byteranges; boundary=(\S+)", headers.get("content-type", ""))
    if not several:
        return headers, answer.body
    headers["content-type"] = "multipart/byteranges"
    headers.pop("content-length", None)
    parts = answer.body.split(b"--" + several[1].encode())
    assert not answer.body or parts[-1].strip() == b"--"
    ranges = []
    for part in parts[1:-1]:
        head, _, body = part[2:-2].partition(b"\r\n\r\n")
        lines = (line.split(b": ", 1) for line in head.split(b"\r\n"))
        ranges.append(({name.lower(): value for name, value in lines}, body))
    return headers, ranges


def assert_same(stack: Stack, method: str, request: dict[str, str]) -> None:
    token = stack.signer.token(PULL)
    proxied = stack.proxied(method, PATH, token=token, headers=request)
    direct = stack.direct(method, PATH, token=token, headers=request)
    assert proxied.status == direct.status
    (headers, body), (direct_headers, direct_body) = comparable(proxied), comparable(direct)
    for name in {name for status, name in ALLOWED if status == proxied.status} - set(
        direct_headers
    ):
        headers.pop(name, None)
    assert headers == direct_headers
    assert body == direct_body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_header_is_the_registrys(
    compared: Stack, method: str, request_: dict[str, str]
) -> None:
    assert_same(compared, method, request_)


@pytest.mark.parametrize("value", KNOWN)
def test_a_304_answers_a_client_that_knows_the_blob(compared: Stack, value: str) -> None:
    """The comparison alone would also hold if both sides sent the whole blob again."""
    answer = compared.proxied(
        "GET", PATH, token=compared.signer.token(PULL), headers={"If-None-Match": value}
    )
    assert (answer.status, answer.body, answer["ETag"]) == (304, b"", ETAG)


_number = st.one_of(st.integers(0, SIZE + 10), st.sampled_from([0, 1, SIZE - 1, SIZE, 10**17]))


@st.composite
def _part(draw: st.DrawFn) -> str:
    """One range of a list, as a reasonable client could send it."""
    first = draw(_number)
    last = draw(st.one_of(st.none(), st.integers(0, SIZE)))
    kind = draw(st.sampled_from(["both", "from", "last"]))
    if kind == "last":
        return f"-{first + 1}"
    return f"{first}-{'' if kind == 'from' or last is None else first + last}"


_ranges = st.one_of(
    st.lists(_part(), min_size=1, max_size=5).map(lambda parts: "bytes=" + ",".join(parts)),
    st.lists(_part(), min_size=1, max_size=3).map(lambda parts: "bytes=" + " , ".join(parts)),
    st.text("bytes=x;/", max_size=12),
    st.sampled_from(RANGES),
)
_tags = st.one_of(st.just(ETAG), st.just(f"W/{ETAG}"), st.sampled_from(['"x"', 'W/"y"', '""']))
_lists = st.one_of(
    st.lists(_tags, min_size=1, max_size=4).map(", ".join),
    st.text(f'"*W/, {DIGEST[:3]}', max_size=10).map(str.strip),
    st.sampled_from([*KNOWN, *OTHER]),
)
_conditions = st.fixed_dictionaries(
    {},
    optional={
        "Range": _ranges,
        "If-Range": st.sampled_from([ETAG, f"W/{ETAG}", '"x"', LONG_AGO, FAR_AWAY, "x"]),
        "If-None-Match": _lists,
        "If-Modified-Since": st.sampled_from([LONG_AGO, FAR_AWAY, "x"]),
    },
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@example(method="GET", request_={"Range": "bytes=0-0", "If-None-Match": "*"})
@given(method=st.sampled_from(["GET", "HEAD"]), request_=_conditions)
def test_any_ranges_and_conditions_are_answered_as_the_registry_does(
    compared: Stack, method: str, request_: dict[str, str]
) -> None:
    assert_same(compared, method, request_)


def raw(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer as it came over the wire, whatever length it claims."""
    line, _, rest = data.partition(b"\r\n")
    head, _, body = rest.partition(b"\r\n\r\n")
    headers = http.client.parse_headers(io.BytesIO(head + b"\r\n\r\n"))
    return int(line.split()[1]), {name.lower(): value for name, value in headers.items()}, body


def text(stack: Stack, request: dict[str, str], method: str = "GET", version: str = "1.1") -> bytes:
    sent = {
        "Host": f"{NAME}:{stack.port}",
        "Authorization": f"Bearer {stack.signer.token(PULL)}",
        "X-Forwarded-Proto": "https",
        "Connection": "close",
        **request,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"{method} {PATH} HTTP/{version}\r\n{lines}\r\n".encode()


@pytest.mark.parametrize("request_", [{}, {"Range": "bytes=7-19"}, {"Range": "items=1-2"}], ids=str)
def test_http_1_0_is_answered_alike(compared: Stack, request_: dict[str, str]) -> None:
    sent = text(compared, request_, version="1.0")
    status, headers, body = raw(compared.raw(sent))
    registrys_status, registrys, registrys_body = raw(compared.raw_direct(sent))
    assert (status, body) == (registrys_status, registrys_body)
    for name in OF_THE_CONNECTION:
        headers.pop(name, None)
        registrys.pop(name, None)
    assert headers == registrys


@pytest.mark.parametrize(
    ("request_", "status", "registrys", "why"), DOCUMENTED, ids=lambda value: str(value)[:60]
)
def test_differences_from_the_registrys_answers_are_listed(
    compared: Stack, request_: dict[str, str], status: int, registrys: int, why: str
) -> None:
    """If nginx or the registry changes, the list of differences must be reviewed."""
    del why
    code, headers, body = raw(compared.raw(text(compared, request_)))
    direct_code, direct_headers, _ = raw(compared.raw_direct(text(compared, request_)))
    assert (code, direct_code) == (status, registrys)
    assert int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == direct_headers["x-content-type-options"]
    if status == 412:
        assert headers["content-type"] == "application/json"
        assert b"leave If-Match and If-Unmodified-Since out" in body


def test_a_download_that_broke_off_is_resumed(compared: Stack) -> None:
    token = compared.signer.token(PULL)
    got = CONTENT[:31_337]
    rest = compared.proxied(
        "GET",
        PATH,
        token=token,
        headers={"Range": f"bytes={len(got)}-", "If-Range": ETAG},
    )
    assert rest.status == 206
    assert rest["Content-Range"] == f"bytes {len(got)}-{SIZE - 1}/{SIZE}"
    assert hashlib.sha256(got + rest.body).hexdigest() == DIGEST[7:]
    # Another blob at the same address would be sent whole.
    whole = compared.proxied(
        "GET", PATH, token=token, headers={"Range": f"bytes={len(got)}-", "If-Range": '"other"'}
    )
    assert (whole.status, whole.body) == (200, CONTENT)
