"""Our reader reads each manifest that the registry accepts as the registry does, and a garbage
collection keeps what the manifest references.

The registry's program itself runs here, without a container. What its garbage collection marks for
a manifest shows what the registry reads in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from support.amount import FULL
from support.mutated_manifests import KINDS, Mutated, mutated
from support.networks import free_ports
from support.program import registry_program
from support.registry import digest
from wharfinger.host.contents.storage import (
    Storage,
    apply,
    collectable,
    examine,
    obstacles,
    plan_untagged,
    scrub,
)
from wharfinger.oci.manifests import Manifest, Unreadable, parse
from wharfinger.oci.media_types import DOCKER_IMAGE, DOCKER_LIST, OCI_IMAGE, OCI_INDEX

ENVIRONMENT = {"OTEL_TRACES_EXPORTER": "none"}
NUMBER = 10_000 if FULL else 400
EMPTY = b"{}"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return registry_program(tmp_path_factory.mktemp("program"))


@dataclass
class Server:
    """A registry with its own storage, on this machine's loopback interface."""

    program: Path
    folder: Path
    members: bool
    port: int = 0
    _connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    @property
    def storage(self) -> Storage:
        return Storage(self.folder / "storage")

    @property
    def journal(self) -> Path:
        return self.folder / "aside.json"

    @property
    def root(self) -> Path:
        return self.folder / "storage/docker/registry/v2"

    @property
    def configuration(self) -> Path:
        return self.folder / "config.yml"

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        (self.port,) = free_ports(1)
        middleware = "middleware: {repository: [{name: index-members}]}\n" if self.members else ""
        self.configuration.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {self.folder}/storage}}, "
            "delete: {enabled: true}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n{middleware}"
            "validation: {manifests: {urls: {allow: ['^https://']}}}\n"
        )
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [self.program, "serve", self.configuration], stderr=log, env=ENVIRONMENT
            )
        try:
            deadline = time.monotonic() + 60
            while self.ask("GET", "/v2/")[0] != 200:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()
            self._connection = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in lower case) and body. Status 0 means the registry hung up."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            self._connection.request(
                method,
                path,
                body,
                {name.replace("_", "-"): value for name, value in headers.items()},
            )
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection = None
            return 0, {}, b""
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content

    def put_manifest(self, repository: str, reference: str, kind: str, data: bytes) -> int:
        path = f"/v2/{repository}/manifests/{reference}"
        return self.ask("PUT", path, data, Content_Type=kind)[0]

    def get_manifest(self, repository: str, reference: str) -> tuple[int, str, bytes]:
        path = f"/v2/{repository}/manifests/{reference}"
        status, headers, body = self.ask("GET", path, Accept=",".join(KINDS))
        return status, headers.get("content-type", ""), body

    def put_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> str:
        """Uploads a blob under its digest, which is computed with this algorithm."""
        wanted = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
        _, headers, _ = self.ask("POST", f"/v2/{repository}/blobs/uploads/")
        where = headers["location"].partition(f":{self.port}")[2]
        status, _, body = self.ask("PUT", f"{where}&digest={wanted}", data)
        assert status == 201, body
        return wanted

    def has_blob(self, repository: str, name: str) -> bool:
        status, _, body = self.ask("GET", f"/v2/{repository}/blobs/{name}")
        algorithm, _, value = name.partition(":")
        return status == 200 and hashlib.new(algorithm, body).hexdigest() == value

    def write_blobs(self, repository: str, blobs: tuple[bytes, ...]) -> None:
        """Writes blobs as pushes leave them. Without our middleware an index's members must be
        manifests, so the blobs then also get manifests' links."""
        for data in blobs:
            name = digest(data)
            value = name.partition(":")[2]
            below = self.root / "repositories" / repository
            self._write(self.root / "blobs/sha256" / value[:2] / value / "data", data)
            self._write(below / "_layers/sha256" / value / "link", name.encode())
            if not self.members:
                self._write(below / "_manifests/revisions/sha256" / value / "link", name.encode())

    def forget_members(self, repository: str, blobs: tuple[bytes, ...]) -> None:
        """Removes the manifests' links of blobs that are not manifests."""
        if not self.members:
            revisions = self.root / "repositories" / repository / "_manifests/revisions/sha256"
            for data in blobs:
                shutil.rmtree(revisions / digest(data).partition(":")[2])

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def collect(self, *options: str) -> str:
        """Runs the real garbage collection, which must not fail. Returns its output."""
        done = subprocess.run(
            [self.program, "garbage-collect", *options, self.configuration],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout


@pytest.fixture(params=[True, False], ids=["ours", "official"])
def server(request: pytest.FixtureRequest, program: Path, tmp_path: Path) -> Server:
    """A registry with our image's middleware, and one without it, like the official image."""
    return Server(program, tmp_path, request.param)


def marked(output: str) -> dict[str, set[str]]:
    """The digests that a collection marks for each repository's manifests."""
    marks: defaultdict[str, set[str]] = defaultdict(set)
    for repository, name in re.findall(
        r"^(\S+): marking blob (sha(?:256|384|512):[0-9a-f]+)$", output, re.MULTILINE
    ):
        marks[repository].add(name)
    return marks


def test_manifests_are_read_as_the_registry_reads_them(server: Server) -> None:
    accepted: dict[str, Mutated] = {}
    unread: set[str] = set()
    with server.running():
        for seed in range(NUMBER):
            mutant, repository = mutated(seed), f"r{seed}"
            server.write_blobs(repository, mutant.blobs)
            if server.put_manifest(repository, "tag", mutant.kind, mutant.data) == 201:
                accepted[repository] = mutant
            server.forget_members(repository, mutant.blobs)
        for repository, mutant in accepted.items():
            status, kind, body = server.get_manifest(repository, "tag")
            read = parse(mutant.data)
            if isinstance(read, Unreadable):
                unread.add(repository)
                assert status != 200, (mutant, read)
            else:
                assert (status, kind, body) == (200, read.media_type, mutant.data), (mutant, read)
    assert len(accepted) > NUMBER // 4
    # Our registry refuses a manifest that it could not return.
    assert not (unread and server.members)
    assert unread or server.members
    storage = server.storage
    problems, special = examine(storage)
    assert problems == []
    assert {repository for repository, _ in special.hidden} == unread
    with collectable(storage, server.journal):
        marks = marked(server.collect("--dry-run"))
        server.collect()
    everywhere = set().union(*marks.values())
    for repository, mutant in accepted.items():
        read = parse(mutant.data)
        if isinstance(read, Manifest):
            ours = {each.digest for each in read.references}
            assert marks[repository] <= ours <= everywhere, (mutant, read)
    damage = [entry for entry in scrub(storage)["damage"] if entry["kind"] != "wrong size"]
    assert [entry for entry in damage if not _is_elsewhere(entry, accepted)] == []
    with server.running():
        for repository, mutant in accepted.items():
            read = parse(mutant.data)
            present = {digest(data) for data in mutant.blobs}
            if isinstance(read, Manifest):
                assert server.get_manifest(repository, "tag")[2] == mutant.data
                present &= {each.digest for each in read.references}
            missing = [name for name in present if not server.has_blob(repository, name)]
            assert missing == [], (mutant, read)


def _is_elsewhere(damage: dict[str, Any], accepted: dict[str, Mutated]) -> bool:
    """Whether only indexes reference the damaged object. Their members are blobs that stand in for
    manifests."""
    return all(
        accepted[repository].kind in (OCI_INDEX, DOCKER_LIST)
        for repository in damage["repositories"]
    )


# -- each form of reference ------------------------------------------------------------------------


def described(data: bytes, media_type: str = LAYER, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def written(kind: str, **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": kind, **fields}).encode()


@dataclass
class Pushed:
    """What was pushed, by repository: blobs' digests, and manifests by tag or digest."""

    server: Server
    blobs: dict[str, set[str]] = field(default_factory=dict)
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> dict[str, Any]:
        name = self.server.put_blob(repository, data, algorithm)
        self.blobs.setdefault(repository, set()).add(name)
        return {**described(data), "digest": name}

    def manifest(self, repository: str, kind: str, data: bytes, tag: str = "") -> dict[str, Any]:
        status = self.server.put_manifest(repository, tag or digest(data), kind, data)
        assert status == 201, (repository, data)
        self.manifests[repository, digest(data)] = data
        if tag:
            self.manifests[repository, tag] = data
        return described(data, kind)

    def image(self, repository: str, tag: str = "", kind: str = OCI_IMAGE, **more: Any) -> Any:
        """Pushes an image with its own config and layer. Returns its descriptor."""
        name = f"{repository} {len(self.manifests)}".encode()
        if "config" not in more:
            more["config"] = self.blob(repository, name + b" config")
        if "layers" not in more:
            more["layers"] = [self.blob(repository, name + b" layer")]
        data = written(kind, **more)
        return self.manifest(repository, kind, data, tag)

    def check(self) -> None:
        """Everything that was pushed is there."""
        for (repository, reference), data in self.manifests.items():
            assert self.server.get_manifest(repository, reference)[2] == data, repository
        for repository, names in self.blobs.items():
            for name in names:
                assert self.server.has_blob(repository, name), (repository, name)


def push_every_form(pushed: Pushed) -> None:
    """Pushes repositories that are named after the form of reference in them."""
    pushed.image("image", "v1")
    pushed.image("docker", "v1", DOCKER_IMAGE)
    for repository, kind, child in (
        ("index", OCI_INDEX, OCI_IMAGE),
        ("docker-list", DOCKER_LIST, DOCKER_IMAGE),
    ):
        platform = {"architecture": "amd64", "os": "linux"}
        members = [{**pushed.image(repository, "", child), "platform": platform} for _ in range(2)]
        pushed.manifest(repository, kind, written(kind, manifests=members), "v1")
    inner = pushed.manifest(
        "nested", OCI_INDEX, written(OCI_INDEX, manifests=[pushed.image("nested")])
    )
    pushed.manifest("nested", OCI_INDEX, written(OCI_INDEX, manifests=[inner]), "v1")
    subject = pushed.image("subject", "v1")
    referrers = [pushed.image("subject", subject=subject), pushed.image("subject", subject=subject)]
    pushed.manifest(
        "subject",
        OCI_INDEX,
        written(
            OCI_INDEX, manifests=[{**referrer, "artifactType": "a/b"} for referrer in referrers]
        ),
        subject["digest"].replace(":", "-"),
    )
    # An index may also have a subject, and no list needs to name a referrer.
    pushed.manifest(
        "subject", OCI_INDEX, written(OCI_INDEX, manifests=[referrers[0]], subject=subject)
    )
    for end in ("sig", "att", "sbom"):
        pushed.image("subject", f"{subject['digest'].replace(':', '-')}.{end}")
    # A tag leads only to the referrer, and the referrer keeps its subject.
    lonely = pushed.image("referrer")
    pushed.image("referrer", "v1", subject=lonely)
    foreign = described(b"elsewhere", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
    pushed.image("foreign", "v1", DOCKER_IMAGE, layers=[{**foreign, "urls": ["https://a.test/b"]}])
    away = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    pushed.image(
        "non-distributable",
        "v1",
        layers=[
            described(b"elsewhere", away, urls=["https://a.test/b"]),
            {**pushed.blob("non-distributable", b"here"), "mediaType": away},
        ],
    )
    empty = pushed.blob("artifact", EMPTY)
    pushed.image(
        "artifact",
        "v1",
        config={**empty, "mediaType": "application/vnd.oci.empty.v1+json", "data": "e30="},
        layers=[empty],
        artifactType="application/vnd.example",
    )
    for algorithm in ("sha512", "sha384"):
        pushed.image(
            algorithm,
            "v1",
            config=pushed.blob(algorithm, b"config", algorithm),
            layers=[pushed.blob(algorithm, algorithm.encode(), algorithm)],
        )
    # A layer may also be a manifest. Its own layers stay.
    child = pushed.image("manifest-as-layer")
    as_blob = pushed.blob(
        "manifest-as-layer", pushed.manifests["manifest-as-layer", child["digest"]]
    )
    pushed.image("manifest-as-layer", "v1", layers=[{**as_blob, "mediaType": OCI_IMAGE}])
    if pushed.server.members:
        cache = [pushed.blob("cache", b"layer"), pushed.blob("cache", b"other", "sha512")]
        pushed.manifest("cache", OCI_INDEX, written(OCI_INDEX, manifests=cache), "v1")


def test_each_form_of_reference_survives_a_collection(server: Server) -> None:
    pushed = Pushed(server)
    with server.running():
        push_every_form(pushed)
        server.put_blob("garbage", b"nobody's")
        server.ask("PUT", "/v2/garbage/manifests/none")
        pushed.check()
    storage = server.storage
    shutil.rmtree(server.root / "repositories/garbage")
    assert obstacles(storage) == []
    plan = plan_untagged(storage, {"untagged_keep": 0.0}, time.time() + 1)
    assert (plan["removals"], plan["damage"]) == ([], [])
    apply(storage, plan["removals"])
    with collectable(storage, server.journal):
        server.collect()
    assert storage.blob_size(digest(b"nobody's")) is None
    assert (scrub(storage)["damage"], scrub(storage)["harmless"]) == ([], [])
    with server.running():
        pushed.check()


PUSHED_AS_ANOTHER = [
    (OCI_IMAGE, '{"schemaVersion":2,"manifests":5,"manifests":null,"config":%s}'),
    (OCI_INDEX, '{"schemaVersion":2,"layers":5,"layers":null}'),
    (OCI_INDEX, '{"schemaVersion":2,"config":5,"config":null}'),
    (OCI_INDEX, '{"schemaVersion":2,"config":%s,"config":null}'),
    (OCI_INDEX, '{"schemaVersion":2}'),
]


@pytest.mark.parametrize(("kind", "text"), PUSHED_AS_ANOTHER)
def test_a_manifest_that_could_not_be_pulled_is_refused_or_harms_nothing_else(
    server: Server, kind: str, text: str
) -> None:
    with server.running():
        config = described(b"config")
        server.put_blob("app", b"config")
        server.put_blob("app", b"nobody's")
        server.put_blob("other", b"nobody's either")
        server.put_manifest("other", "v1", OCI_INDEX, written(OCI_INDEX, manifests=[]))
        data = text.replace("%s", json.dumps(config)).encode()
        path = "/v2/app/manifests/v1"
        status, _, body = server.ask("PUT", path, data, Content_Type=kind)
        if server.members:
            assert status == 400
            assert json.loads(body)["errors"][0]["code"] == "MANIFEST_INVALID"
            return
        assert status == 201
    storage = server.storage
    with collectable(storage, server.journal):
        server.collect()
    # Our reader tells whether the registry can read it.
    unread = isinstance(parse(data), Unreadable)
    assert (storage.blob_size(digest(b"nobody's")) is not None) == unread
    assert storage.blob_size(digest(b"nobody's either")) is None
    assert scrub(storage)["damage"] == []
    assert [entry["kind"] for entry in scrub(storage)["harmless"]] == ["unread manifest"] * unread


FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
MISTAKES: dict[str, tuple[str, dict[str, Any]]] = {
    "another version": (OCI_IMAGE, {"schemaVersion": 1}),
    "docker's, of another version": (DOCKER_IMAGE, {"schemaVersion": 3}),
    "an index of another version": (OCI_INDEX, {"schemaVersion": 0, "manifests": []}),
    "a digest that is none": (OCI_IMAGE, {"layers": [{"digest": "sha256:0"}]}),
    "a digest of a kind that nobody knows": (
        OCI_IMAGE,
        {"layers": [{"digest": "md5:" + 32 * "0"}]},
    ),
    "a layer without a digest": (DOCKER_IMAGE, {"layers": [{"mediaType": LAYER}]}),
    "an index's member without a digest": (OCI_INDEX, {"manifests": [{"mediaType": OCI_IMAGE}]}),
    "a foreign layer's address that is none": (
        OCI_IMAGE,
        {"layers": [described(b"x", FOREIGN, urls=["https://[x"])]},
    ),
    "a foreign layer's address that is not allowed": (
        OCI_IMAGE,
        {"layers": [described(b"x", FOREIGN, urls=["http://example.com/x"])]},
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_clients_mistake_in_a_manifest_is_not_an_error_of_the_registry(
    server: Server, mistake: str
) -> None:
    kind, fields = MISTAKES[mistake]
    with server.running():
        server.put_blob("app", b"config")
        body = {"config": described(b"config"), "layers": []} if kind != OCI_INDEX else {}
        data = written(kind, **body | fields)
        status, _, answer = server.ask("PUT", "/v2/app/manifests/v1", data, Content_Type=kind)
        if server.members:
            code = json.loads(answer)["errors"][0]["code"]
            assert (status, code) == (400, "MANIFEST_INVALID")
        else:
            assert status in (400, 500)
        assert server.ask("GET", "/v2/app/manifests/v1", Accept=kind)[0] == 404
        # A foreign layer at an allowed address is accepted.
        fields = {"layers": [described(b"x", FOREIGN, urls=["https://example.com/x"])]}
        data = written(OCI_IMAGE, config=described(b"config"), **fields)
        path = "/v2/app/manifests/v2"
        assert server.ask("PUT", path, data, Content_Type=OCI_IMAGE)[0] == 201
