"""The copier of mirrors, as its own process: with this environment's httpx and with Debian's, from
real registries (ours, and Debian's with Basic) and from ones that misbehave, into ours."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from filling import Content
from load.image import Image, digest, made
from load.record import Attempt
from load.transfer import Transfer
from local.registries import ADDRESS, Served, ours
from local.upstreams import Handler, Misbehaving, misbehaving
from support.program import registry_program
from tests.client.conftest import admin_session
from wharfinger.client.api import Fetched, Registry
from wharfinger.client.credentials import Credentials
from wharfinger.client.transport import Settings, Transport
from wharfinger.deployment.fixed import MIRROR_ID
from wharfinger.host.mirrors import copier
from wharfinger.host.setup import zipapp
from wharfinger.host.system.runner import Result, SystemRunner
from wharfinger.oci import manifests
from wharfinger.oci.digests import subject_of

PROJECT = Path(__file__).resolve().parents[2]
RULES = [{"who": "admin", "may": ["pull", "push", "delete"], "on": "base/**"}]
MIB = 1 << 20
# httpx of Debian, as on a host; and of this environment, which is that of Debian 13 or newer.
PYTHONS = [sys.executable, "/usr/bin/python3"]


@pytest.fixture(scope="module")
def goal() -> Iterator[Served]:
    """Our registry, empty. Indexes in base/sparse may lack platforms."""
    with tempfile.TemporaryDirectory(prefix="wharf-mirror-") as name:
        folder = Path(name)
        program = registry_program(folder)
        with ours(folder, program, rules=RULES, sparse=["base/sparse"]) as served:
            yield served


@pytest.fixture
def bad(debian: Served, tmp_path: Path) -> Iterator[Misbehaving]:
    """An upstream that misbehaves, before Debian's registry."""
    with misbehaving(tmp_path, debian) as upstream:
        yield upstream


def started(request: Mapping[str, Any], python: str = sys.executable) -> subprocess.Popen[str]:
    """The copier with its request."""
    process = subprocess.Popen(
        [python, "-m", "wharfinger.copier"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(request))
    process.stdin.close()
    process.stdin = None
    return process


def ran(request: Mapping[str, Any], python: str = sys.executable) -> dict[str, Any]:
    """What the copier answers."""
    process = started(request, python)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "admin-pw" not in out + errors
    answer: dict[str, Any] = json.loads(out)
    return answer


def copied(
    goal: Served,
    *mirrors: Mapping[str, Any],
    python: str = sys.executable,
    patience: float = 30,
) -> Any:
    """What the copier answers to the task `copy`."""
    request = {"task": "copy", "registry": own(goal), "mirrors": mirrors, "patience": patience}
    return ran(request, python)


def own(goal: Served) -> dict[str, str]:
    """Our registry, as a request names it."""
    return {
        "name": goal.name,
        "address": ADDRESS,
        "user": "admin",
        "password": "admin-pw",
        "ca": goal.ca.read_text(),
    }


def mirror(upstream: Served | Misbehaving, source: str, to: str, **more: Any) -> dict[str, Any]:
    """An entry of the request."""
    return {
        "from": f"{upstream.name}/{source}",
        "upstream": upstream.name,
        "source": source,
        "to": to,
        "tags": ["*"],
        "username": "admin",
        "password": "admin-pw",
        "ca": upstream.ca.read_text(),
        "lines": {},
    } | more


def locked(*mirrors: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries with a line for each tag that upstream has now."""
    answer = ran({"task": "look", "mirrors": mirrors})
    for entry, found in zip(mirrors, answer["mirrors"], strict=True):
        assert found["problem"] is None
        entry["lines"] = found["tags"]
    return list(mirrors)


def pushed(upstream: Served, repository: str, tag: str, *sizes: int) -> Image:
    """A new image in an upstream."""
    image = made(sizes or (1000, 2000))
    put(upstream, repository, tag, image)
    return image


def put(upstream: Served, repository: str, tag: str, image: Image) -> None:
    """Pushes an image into an upstream, by wharf's own client."""
    read = manifests.parse(image.manifest)
    assert isinstance(read, manifests.Manifest)
    fetched = Fetched(digest(image.manifest), read.media_type, image.manifest, read)

    async def main() -> None:
        login = Credentials("admin", "admin-pw")
        async with Transport(upstream.name, Settings(login, upstream.ca)) as transport:
            registry = Registry(transport)
            for blob in (image.config, *image.layers):

                async def content(blob: bytes = blob) -> AsyncIterator[bytes]:
                    yield blob

                await registry.blobs.push(repository, digest(blob), len(blob), content)
            await registry.put_manifest(repository, tag, fetched)

    asyncio.run(main())


def there(goal: Served, repository: str, reference: str) -> str | None:
    """The digest of a tag in our registry; None without it."""
    transfer = Transfer(admin_session(goal), repository, threading.Event())
    answer = transfer.request(
        Attempt(), "HEAD", transfer.path(f"manifests/{reference}"), headers={"Accept": "*/*"}
    )
    return answer.headers["docker-content-digest"] if answer.status_code == 200 else None


# -- well-behaved upstreams ------------------------------------------------------------------------


@pytest.mark.parametrize("python", PYTHONS)
def test_everything_that_clients_push_is_copied_by_digest(
    registry: tuple[Served, Content], goal: Served, python: str
) -> None:
    upstream, content = registry
    to = "base/venv" if python == sys.executable else "base/debian"
    names = [name for name in sorted(content.repositories) if not name.startswith("small/")]
    mirrors = locked(*(mirror(upstream, name, f"{to}/{name}") for name in names))
    answer = copied(goal, *mirrors, python=python)
    assert {entry["to"]: entry["failed"] for entry in answer["mirrors"] if entry["failed"]} == {}
    for entry, found in zip(mirrors, answer["mirrors"], strict=True):
        assert sorted(found["copied"]) == sorted(entry["lines"])
        expected = content[entry["source"]].tags
        for tag, name in expected.items():
            if tag in entry["lines"] or subject_of(tag) in entry["lines"].values():
                assert there(goal, entry["to"], tag) == name
    again = copied(goal, *mirrors, python=python)
    assert [(entry["copied"], entry["failed"], entry["blobs"]) for entry in again["mirrors"]] == [
        ([], {}, 0)
    ] * len(mirrors)
    assert [entry["here"] for entry in again["mirrors"]] == [
        len(entry["lines"]) for entry in mirrors
    ]


def test_a_locked_tag_that_moved_upstream_is_copied_by_its_digest(
    debian: Served, goal: Served
) -> None:
    first = digest(pushed(debian, "moving", "13").manifest)
    (entry,) = locked(mirror(debian, "moving", "base/moving"))
    second = digest(pushed(debian, "moving", "13").manifest)
    answer = copied(goal, entry)["mirrors"][0]
    assert (answer["copied"], answer["failed"]) == (["13"], {})
    # What upstream has now is only reported.
    assert answer["tags"] == {"13": second}
    assert there(goal, "base/moving", "13") == first
    # The lock moves: the new digest takes the tag, and the old one stays under a tag of its own.
    entry["lines"] = {"13": second, "13-20261201": first}
    answer = copied(goal, entry)
    assert sorted(answer["mirrors"][0]["copied"]) == ["13", "13-20261201"]
    assert there(goal, "base/moving", "13") == second
    assert there(goal, "base/moving", "13-20261201") == first
    # The old one was here already. For the new one: the login's first answer, the list, HEAD, the
    # manifest, configuration and two layers, and whether there are referrers.
    assert answer["requests"] == {debian.name: 8}


def test_a_run_that_changes_nothing_asks_once_for_each_tag(debian: Served, goal: Served) -> None:
    image = made((1000,))
    for number in range(20):
        put(debian, "many", f"1.{number}", image)
    (entry,) = locked(mirror(debian, "many", "base/many"))
    copied(goal, entry)
    answer = copied(goal, entry)
    assert answer["mirrors"][0]["here"] == 20
    # The login's first answer, the list, and a HEAD for each tag.
    assert answer["requests"] == {debian.name: 22}


def test_gone_tags_stay_and_are_named(debian: Served, goal: Served) -> None:
    name = digest(pushed(debian, "going", "1").manifest)
    pushed(debian, "going", "2")
    (entry,) = locked(mirror(debian, "going", "base/going"))
    copied(goal, entry)
    entry["lines"]["0"] = name
    answer = copied(goal, entry)["mirrors"][0]
    assert answer["gone"] == ["0"]
    assert answer["copied"] == ["0"]
    assert there(goal, "base/going", "0") == name


def test_a_host_runs_it_as_an_account_without_rights(
    debian: Served, goal: Served, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pushed(debian, "account", "1")
    (entry,) = locked(mirror(debian, "account", "base/account"))
    # What this process has must not reach it.
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    request = {"task": "copy", "registry": own(goal), "mirrors": [entry]}
    done = as_on_a_host(["-I", "-c", copier.program(str(program))], json.dumps(request))
    answer = json.loads(done.output)
    assert (answer["mirrors"][0]["copied"], answer["mirrors"][0]["problem"]) == (["1"], None)
    assert there(goal, "base/account", "1") == digest(image.manifest)
    look = "import json, os; print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups()]))"
    accounts = json.loads(as_on_a_host(["-I", "-c", look], "").output)
    assert accounts == [[MIRROR_ID] * 3, [MIRROR_ID] * 3, []]


def as_on_a_host(arguments: Sequence[str], request: str) -> Result:
    """Runs Debian's python as the host program runs the copier."""
    return SystemRunner().run_as(
        MIRROR_ID, ["/usr/bin/python3", *arguments], request=request, timeout=300
    )


@pytest.fixture
def program() -> Iterator[Path]:
    """The host program's file, where every account may read it."""
    with tempfile.TemporaryDirectory(prefix="wharf-mirror-") as name:
        Path(name).chmod(0o755)
        path = Path(name) / "wharfinger-host.pyz"
        path.write_bytes(zipapp.build())
        path.chmod(0o755)
        yield path


# -- misbehaving upstreams -------------------------------------------------------------------------


def test_other_bytes_behind_a_digest_are_refused(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    image = pushed(debian, "changed", "1", 3 * MIB)

    def behave(handler: Handler) -> bool:
        changed = digest(image.layers[0]) in handler.path
        return changed and handler.say(200, body=b"x" * (3 * MIB))

    (entry,) = locked(mirror(bad, "changed", "base/changed"))
    bad.behave = behave
    answer = copied(goal, entry)["mirrors"][0]
    assert answer["failed"] == {
        "1": f"{bad.name} sends other bytes than those of {digest(image.layers[0])}: they were "
        "refused"
    }
    assert there(goal, "base/changed", "1") is None
    assert there(goal, "base/changed", digest(image.manifest)) is None


def test_a_changed_manifest_is_refused(debian: Served, bad: Misbehaving, goal: Served) -> None:
    image = pushed(debian, "changed", "2")
    (entry,) = locked(mirror(bad, "changed", "base/changed", tags=["2"]))
    other = made((10,)).manifest
    bad.behave = lambda handler: (
        handler.command == "GET"
        and "/manifests/" in handler.path
        and handler.say(200, {"Content-Type": "application/json"}, other)
    )
    answer = copied(goal, entry)["mirrors"][0]
    assert "with other content than" in answer["failed"]["2"]
    assert there(goal, "base/changed", digest(image.manifest)) is None


def test_a_kind_whose_digest_is_that_of_a_part_is_no_way_around_the_digest(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    image = pushed(debian, "signed1", "1")
    (entry,) = locked(mirror(bad, "signed1", "base/signed1"))
    other = made((10,)).manifest
    kind = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    bad.behave = lambda handler: (
        handler.command == "GET"
        and "/manifests/" in handler.path
        and handler.say(200, {"Content-Type": kind}, other)
    )
    answer = copied(goal, entry)["mirrors"][0]
    assert answer["failed"] == {
        "1": f"the upstream answers other content than {digest(image.manifest)}: it was refused"
    }
    assert there(goal, "base/signed1", "1") is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"name": "odd", "tags": ["1", "a b", "1/../2", "sha256-x"]}', None),
        (b'{"name": "odd", "tags": ["1", "%s"]}' % (b"9" * 5000), None),
    ],
)
def test_what_cannot_be_a_tag_is_none(
    debian: Served, bad: Misbehaving, body: bytes, problem: str | None
) -> None:
    name = digest(pushed(debian, "odd", "1").manifest)
    kind = {"Content-Type": "application/json"}
    bad.behave = lambda handler: "tags" in handler.path and handler.say(200, kind, body)
    for tags in (["*"], [">=0"]):
        answer = ran({"task": "look", "mirrors": [mirror(bad, "odd", "base/odd", tags=tags)]})
        found = answer["mirrors"][0]
        assert found["problem"] == problem
        assert {"1": name}.items() <= found["tags"].items() <= {"1": name}.items()


def test_another_kind_of_digest_is_named(debian: Served, bad: Misbehaving) -> None:
    pushed(debian, "odd", "1")
    other = "sha512:" + "0" * 128
    bad.behave = lambda handler: (
        handler.command == "HEAD" and handler.say(200, {"Docker-Content-Digest": other})
    )
    answer = ran({"task": "look", "mirrors": [mirror(bad, "odd", "base/odd")]})
    assert answer["mirrors"][0]["problem"] == (
        f"1 has the digest {other}: mirror.lock takes sha256 alone"
    )


def test_an_answer_that_nobody_thought_of_is_one_mirrors_problem(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    pushed(debian, "form", "1")
    odd, good = locked(mirror(bad, "form", "base/odd"), mirror(debian, "form", "base/good"))
    kind = {"Content-Type": "application/vnd.oci.image.index.v1+json"}
    bad.behave = lambda handler: (
        "referrers" in handler.path and handler.say(200, kind, b'{"manifests": 5}')
    )
    answer = copied(goal, odd, good)
    assert [entry["problem"] for entry in answer["mirrors"]] == [
        "an answer cannot be read (TypeError)",
        None,
    ]
    assert there(goal, "base/good", "1") is not None


@pytest.mark.parametrize("basic", [False, True])
def test_a_login_goes_to_no_other_host(
    debian: Served, bad: Misbehaving, tmp_path_factory: pytest.TempPathFactory, basic: bool
) -> None:
    pushed(debian, "private", "1")
    with misbehaving(tmp_path_factory.mktemp("evil")) as evil:
        evil.behave = lambda handler: handler.say(200, body=b'{"token": "x"}')
        if basic:
            # The tags are elsewhere.
            where = {"Location": f"https://{evil.name}/v2/private/tags/list"}
            bad.behave = lambda handler: "tags" in handler.path and handler.say(307, where)
        else:
            header = f'Bearer realm="https://{evil.name}/token",service="s"'
            bad.behave = lambda handler: handler.say(401, {"WWW-Authenticate": header})
        entry = mirror(bad, "private", "base/private")
        # It could be reached: both certificates are trusted.
        entry["ca"] = bad.ca.read_text() + evil.ca.read_text()
        answer = ran({"task": "look", "mirrors": [entry]})["mirrors"][0]
        assert [asked.headers.get("Authorization") for asked in evil.asked] == [None] * basic
        if not basic:
            assert answer["problem"] == (
                f"{bad.name} sends logins to {evil.name} for a token, which is another host: "
                "nothing was sent there; if that host is right, write it as token_host in this "
                "entry"
            )
            entry["token_host"] = evil.name
            ran({"task": "look", "mirrors": [entry]})
            assert evil.asked[0].headers["Authorization"].startswith("Basic ")


def test_a_long_pause_that_upstream_wants_ends_its_run_and_nobody_elses(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    pushed(debian, "limited", "1")
    (other,) = locked(mirror(debian, "limited", "base/limited"))
    entries = [mirror(bad, f"limited{number}", f"base/limited{number}") for number in range(3)]
    bad.behave = lambda handler: handler.say(429, {"Retry-After": "3600"})
    before = time.time()
    answer = copied(goal, *entries, other)
    assert len(bad.asked) == answer["requests"][bad.name] == 1
    until = answer["left_alone"][bad.name]
    assert before + 3600 <= until <= time.time() + 3600
    problem = f"{bad.name} wants no requests before {minute(until)}"
    assert [entry["problem"] for entry in answer["mirrors"]] == [*[problem] * 3, None]
    assert there(goal, "base/limited", "1") is not None
    # The next run asks nothing, and says the same.
    again = ran({"task": "look", "mirrors": entries, "left_alone": answer["left_alone"]})
    assert (again["mirrors"][0]["problem"], again["requests"]) == (problem, {})
    assert len(bad.asked) == 1


def minute(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def test_no_upstream_is_left_alone_for_more_than_a_day(bad: Misbehaving, goal: Served) -> None:
    bad.behave = lambda handler: handler.say(429, {"Retry-After": "99999999"})
    answer = copied(goal, mirror(bad, "far", "base/far"))
    assert answer["left_alone"][bad.name] <= time.time() + 86400


def test_a_short_pause_is_made_by_all_requests(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    for number in range(10):
        pushed(debian, "short", f"{number}", 1000)
    refused: list[float] = []

    def behave(handler: Handler) -> bool:
        if "/manifests/" in handler.path and not refused:
            refused.append(time.monotonic())
            return handler.say(429, {"Retry-After": "2"})
        return False

    bad.behave = behave
    answer = ran({"task": "look", "mirrors": [mirror(bad, "short", "base/short")]})
    assert answer["mirrors"][0]["problem"] is None
    assert len(answer["mirrors"][0]["tags"]) == 10
    assert answer["left_alone"] == {}


def test_an_upstream_that_says_no_again_and_again_is_left_alone(
    bad: Misbehaving, goal: Served
) -> None:
    bad.behave = lambda handler: handler.say(429, {"Retry-After": "0"})
    answer = copied(goal, *(mirror(bad, name, f"base/{name}") for name in ("a", "b", "c")))
    assert len(bad.asked) == 5
    assert {entry["problem"] for entry in answer["mirrors"]} == {
        f"{bad.name} has refused 5 requests in this run (429), so it is asked no more in it"
    }
    # The next run may ask again.
    assert answer["left_alone"][bad.name] == 0


def test_an_upstream_that_is_down_is_asked_once(goal: Served, tmp_path: Path) -> None:
    with misbehaving(tmp_path) as upstream:
        pass
    entries = [mirror(upstream, name, f"base/{name}") for name in ("a", "b")]
    answer = copied(goal, *entries)
    assert answer["requests"] == {upstream.name: 1}
    assert {entry["problem"] for entry in answer["mirrors"]} == {
        f"{upstream.name} refuses the connection: does the registry run, is the port right?"
    }


def test_a_blob_that_breaks_off_is_tried_again(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    image = pushed(debian, "broken", "1", 4 * MIB)
    (entry,) = locked(mirror(bad, "broken", "base/broken"))
    broken: list[str] = []

    def behave(handler: Handler) -> bool:
        if digest(image.layers[0]) in handler.path and not broken:
            broken.append(handler.path)
            return handler.pass_on(lambda sent: sent < MIB)
        return False

    bad.behave = behave
    answer = copied(goal, entry)["mirrors"][0]
    assert (answer["copied"], answer["failed"]) == (["1"], {})
    assert broken
    assert there(goal, "base/broken", "1") == digest(image.manifest)


def test_a_copier_that_is_killed_goes_on_with_what_is_missing(
    debian: Served, bad: Misbehaving, goal: Served
) -> None:
    image = pushed(debian, "killed", "1", 2 * MIB, 3 * MIB)
    small, large = (digest(layer) for layer in image.layers)
    (entry,) = locked(mirror(bad, "killed", "base/killed"))
    reached = threading.Event()

    def stops(sent: int) -> bool:
        if sent >= MIB and not reached.is_set():
            # The small layer is whole by now.
            deadline = time.monotonic() + 60
            while not whole(goal, small) and time.monotonic() < deadline:
                time.sleep(0.1)
            reached.set()
            time.sleep(60)
        return True

    bad.behave = lambda handler: large in handler.path and handler.pass_on(stops)
    process = started({"task": "copy", "registry": own(goal), "mirrors": [entry]})
    assert reached.wait(120)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert there(goal, "base/killed", "1") is None
    bad.behave = lambda handler: False
    bad.asked.clear()
    answer = copied(goal, entry)["mirrors"][0]
    assert (answer["copied"], answer["failed"]) == (["1"], {})
    assert there(goal, "base/killed", "1") == digest(image.manifest)
    assert (bad.count(small), bad.count(large)) == (0, 1)


def whole(goal: Served, name: str) -> bool:
    """Whether our registry has stored this blob."""
    return (
        goal.folder / f"storage/docker/registry/v2/blobs/sha256/{name[7:9]}/{name[7:]}"
    ).exists()


def test_silence_is_bounded(bad: Misbehaving, goal: Served) -> None:
    silent = threading.Event()

    def behave(handler: Handler) -> bool:
        silent.wait(120)
        return handler.say(503)

    bad.behave = behave
    entries = [mirror(bad, name, f"base/{name}") for name in ("a", "b")]
    answer = ran({"task": "look", "mirrors": entries, "patience": 1})
    silent.set()
    assert {entry["problem"] for entry in answer["mirrors"]} == {
        f"{bad.name} has not answered within 1 s"
    }
    assert len(bad.asked) == 1


def test_an_answer_that_drips_is_bounded(bad: Misbehaving) -> None:
    over = threading.Event()

    def behave(handler: Handler) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        while not over.wait(0.05):
            handler.wfile.write(b" ")
        return True

    bad.behave = behave
    entries = [mirror(bad, name, f"base/{name}") for name in ("a", "b")]
    answer = ran({"task": "look", "mirrors": entries, "patience": 2})
    over.set()
    assert {entry["problem"] for entry in answer["mirrors"]} == {
        f"{bad.name} has not ended its answer within 20 s"
    }
    assert len(bad.asked) == 1


def test_a_list_of_tags_without_an_end_ends(bad: Misbehaving) -> None:
    def behave(handler: Handler) -> bool:
        page = bad.count()
        tags = [f"{page}.{number}" for number in range(20_000)]
        link = {"Link": f'</v2/endless/tags/list?last={page}>; rel="next"'}
        return handler.say(200, link, json.dumps({"tags": tags}).encode())

    bad.behave = behave
    entry = mirror(bad, "endless", "base/endless")
    answer = ran({"task": "look", "mirrors": [entry]})["mirrors"][0]
    assert answer["problem"] == (
        f"{bad.name}: the list /v2/endless/tags/list does not end: after 51 pages and 1020000 tags "
        "there is still a next page"
    )
    assert len(bad.asked) == 51


def test_a_blob_elsewhere_is_fetched_without_the_login(
    debian: Served, bad: Misbehaving, goal: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    image = pushed(debian, "elsewhere", "1")
    blobs = {digest(blob): blob for blob in (image.config, *image.layers)}
    with misbehaving(tmp_path_factory.mktemp("storage")) as storage:
        storage.behave = lambda handler: handler.say(200, body=blobs[handler.path[1:]])

        def behave(handler: Handler) -> bool:
            name = handler.path.rpartition("/")[2]
            where = {"Location": f"https://{storage.name}/{name}"}
            return "/blobs/" in handler.path and handler.say(307, where)

        bad.behave = behave
        (entry,) = locked(mirror(bad, "elsewhere", "base/elsewhere"))
        entry["ca"] = bad.ca.read_text() + storage.ca.read_text()
        bad.asked.clear()
        answer = copied(goal, entry)
        assert answer["mirrors"][0]["copied"] == ["1"]
        assert there(goal, "base/elsewhere", "1") == digest(image.manifest)
        assert sorted(asked.path[1:] for asked in storage.asked) == sorted(blobs)
        sent = [{name.lower() for name in asked.headers} for asked in storage.asked]
        assert not any({"authorization", "cookie"} & names for names in sent)
        # Both hosts' requests are counted.
        assert answer["requests"] == {bad.name: len(bad.asked), storage.name: len(blobs)}


@pytest.mark.parametrize("more", [-1000, 1000])
def test_a_blob_of_another_length_is_refused(
    debian: Served, bad: Misbehaving, goal: Served, more: int
) -> None:
    source = f"length{more}"
    image = pushed(debian, source, "1", 2 * MIB)
    layer = image.layers[0]

    def behave(handler: Handler) -> bool:
        if digest(layer) not in handler.path:
            return False
        # What it promises is not what it has.
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(layer) + more))
        handler.end_headers()
        handler.wfile.write(layer[: len(layer) + more])
        handler.close_connection = True
        return True

    (entry,) = locked(mirror(bad, source, f"base/{source}"))
    bad.behave = behave
    answer = copied(goal, entry)["mirrors"][0]
    assert list(answer["failed"]) == ["1"] or answer["problem"]
    assert bad.name in str(answer["problem"]) + str(answer["failed"])
    assert there(goal, f"base/{source}", "1") is None
    assert there(goal, f"base/{source}", digest(image.manifest)) is None
    assert not whole(goal, digest(layer))


@pytest.mark.parametrize("ends", ["dies", "hangs"])
def test_an_upstream_that_stops_in_a_blob_holds_up_nobody_else(
    debian: Served, bad: Misbehaving, goal: Served, ends: str
) -> None:
    source = f"stops-{ends}"
    image = pushed(debian, source, "1", 2 * MIB, 3 * MIB)
    small, large = (digest(layer) for layer in image.layers)
    pushed(debian, f"{source}-not", "1")
    (entry,) = locked(mirror(bad, source, f"base/{source}"))
    (other,) = locked(mirror(debian, f"{source}-not", f"base/{source}-not"))
    over = threading.Event()

    def stops(sent: int) -> bool:
        if sent < MIB:
            return True
        # By now the small layer is whole.
        deadline = time.monotonic() + 60
        while not whole(goal, small) and time.monotonic() < deadline:
            time.sleep(0.1)
        if ends == "hangs":
            over.wait(120)
        return False

    bad.behave = lambda handler: large in handler.path and handler.pass_on(stops)
    answer = copied(goal, entry, other, patience=5)["mirrors"]
    over.set()
    assert bad.name in str(answer[0]["problem"]) + str(answer[0]["failed"])
    if ends == "hangs":
        said = f"{bad.name} has not answered within 5 s"
        assert said in str(answer[0]["problem"]) + str(answer[0]["failed"])
    assert (answer[1]["copied"], answer[1]["problem"]) == (["1"], None)
    assert there(goal, f"base/{source}", "1") is None
    # The next run sends only what is missing.
    bad.behave = lambda handler: False
    bad.asked.clear()
    assert copied(goal, entry)["mirrors"][0]["copied"] == ["1"]
    assert (bad.count(small), bad.count(large)) == (0, 1)
    assert there(goal, f"base/{source}", "1") == digest(image.manifest)


def test_a_repository_that_no_deployment_has_opened_names_the_playbook(
    debian: Served, goal: Served
) -> None:
    pushed(debian, "team/unopened", "1")
    [answer] = copied(goal, *locked(mirror(debian, "team/unopened", "other/app")))["mirrors"]
    assert answer["problem"].startswith("admin may not ")
    assert answer["problem"].endswith(": run site.yml, which lets it fill other/app")
    assert answer["copied"] == []
