"""oras, regctl and cosign attach, sign, list and verify after each kind of deletion, in a registry
without the referrers API."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.registries import Served, ours
from support.program import registry_program
from tests.client import machines
from tests.client.conftest import Person
from tests.client.machines import Machine
from wharfinger.host.contents.storage import Storage, apply, plan_retention, plan_untagged, scrub

RULES = [
    {"who": "owner", "may": ["pull", "push", "delete"], "on": "team/**"},
    {"who": "cleaner", "may": ["pull", "delete"], "on": "team/**"},
    {"who": "writer", "may": ["pull", "push"], "on": "team/**"},
]
LOGIN = """
for tool in oras cosign skopeo; do
  echo owner-pw | $tool login --username owner --password-stdin $R
done
regctl registry login $R --user owner --pass owner-pw
cosign generate-key-pair
echo '{}' > sbom.json
"""
# $N makes each attachment different.
ATTACH = {
    "oras": "oras attach $I:$TAG --artifact-type oras/$N sbom.json:text/plain",
    "regctl": "regctl artifact put --artifact-type regctl/$N --subject $I:$TAG"
    " --file-media-type text/plain --file sbom.json",
    "cosign": "COSIGN_EXPERIMENTAL=1 cosign sign --registry-referrers-mode oci-1-1"
    " --key cosign.key --tlog-upload=false --yes $I@$D",
}
# What each tool lists, and a check that it exists.
LIST = """
oras discover --format json $I:$TAG | sed -n '/"digest"/s/^/oras /p'
regctl artifact list $I:$TAG --format '{{range .Descriptors}}{{println .Digest}}{{end}}' > listed
for name in $(cat listed); do
  crane manifest $I@$name > manifest
  echo regctl $name
done
"""
# No transparency log can be reached from here, so none is used.
VERIFY = """
COSIGN_EXPERIMENTAL=1 cosign verify --experimental-oci11 --key cosign.pub --insecure-ignore-tlog \
  $I@$D
"""
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class Bench:
    """The registry, a machine with the tools, and `wharf` as each user."""

    served: Served
    machine: Machine
    people: dict[str, Person]

    @property
    def storage(self) -> Storage:
        return Storage(self.served.folder / "storage")

    @property
    def wharf(self) -> Person:
        return self.people["owner"]


@dataclass
class Image:
    """An image in its own repository."""

    bench: Bench
    repository: str
    tag: str = "1"
    digest: str = ""
    number: int = 0

    def tried(self, script: str, **more: str) -> tuple[int, str]:
        name = f"{self.bench.served.name}/{self.repository}"
        variables = {"I": name, "TAG": self.tag, "D": self.digest, "N": str(self.number)}
        return self.bench.machine.tried(script, **(variables | more))

    def run(self, script: str, **more: str) -> str:
        code, text = self.tried(script, **more)
        assert code == 0, f"exit code {code}:\n{script}\n{text[-3000:]}"
        return text

    def push(self) -> None:
        """Pushes the image, with the same bytes each time."""
        self.run(
            "oras push --annotation org.opencontainers.image.created=2026-11-30T00:00:00Z"
            " --artifact-type image/$TAG $I:$TAG sbom.json:text/plain"
        )
        self.digest = self.run("crane digest $I:$TAG").strip()

    @property
    def list_tag(self) -> str:
        return self.digest.replace(":", "-")

    def listed(self) -> set[str]:
        """What every tool lists. All of it exists."""
        by_tool: dict[str, set[str]] = {"oras": set(), "regctl": set()}
        for line in self.run(LIST).splitlines():
            tool, _, rest = line.partition(" ")
            by_tool[tool] |= set(DIGEST.findall(rest))
        # oras names the image itself too.
        assert by_tool["oras"] - {self.digest} == by_tool["regctl"]
        return by_tool["regctl"]

    def verify(self) -> None:
        """Every tool attaches and lists, and signatures are verified."""
        before = self.listed()
        self.number += 1
        self.run("\n".join([*ATTACH.values(), VERIFY]))
        after = self.listed()
        assert before < after and len(after) == len(before) + len(ATTACH)
        report = scrub(self.bench.storage)
        # Earlier lists, without a tag, may name missing manifests.
        assert report["damage"] == report["stale"] == []


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    # ./test provides everything and counts skips. Only pytest by hand may lack something.
    if lacking := machines.missing():
        pytest.skip(lacking)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wharf-referrers-")))
        program = registry_program(folder)
        name, address = stack.enter_context(machines.network())
        users = {rule["who"]: {} for rule in RULES}
        served = stack.enter_context(
            ours(folder, program, address=address, users=users, rules=RULES)
        )
        machine = stack.enter_context(machines.machine("tools13", name, served))
        machine.run(LOGIN)
        people = {}
        for user in users:
            home = folder / f"home-{user}"
            home.mkdir()
            people[str(user)] = Person(served, home).logged_in(str(user))
        yield Bench(served, machine, people)


@pytest.fixture
def image(bench: Bench, request: pytest.FixtureRequest) -> Image:
    """An image to which every tool has attached something."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    image = Image(bench, f"team/{name}")
    image.push()
    image.verify()
    return image


DELETIONS = {
    "wharf": "",
    "oras": "oras manifest delete --force $I@$X",
    "regctl": "regctl manifest delete --referrers $I@$X",
}
# Deletion with tools that do not know the list.
STALE = {
    "crane": "crane delete $I@$X",
    "skopeo": "skopeo delete docker://$I@$X",
    "regctl": "regctl manifest delete $I@$X",
}


def removed(image: Image, *references: str) -> str:
    """The output of `wharf rm`."""
    ran = image.bench.wharf(
        "rm", *(f"{image.repository}{reference}" for reference in references), "--yes"
    )
    assert ran.code == 0, ran.err
    return ran.err


@pytest.mark.parametrize("how", DELETIONS)
def test_attachments_are_deleted(image: Image, how: str) -> None:
    """Deletes one of three attachments, then the others."""
    for number in (1, 99):
        digests = image.listed()
        for digest in sorted(digests)[:number]:
            if how == "wharf":
                said = removed(image, f"@{digest}")
                assert f"taken out of the list of referrers {image.repository}:" in said
            else:
                image.run(DELETIONS[how], X=digest)
            digests.remove(digest)
            assert image.listed() == digests
            assert image.tried("crane manifest $I@$X", X=digest)[0] != 0
        if number == 1:
            image.verify()
    # oras leaves an empty list.
    tags = ["1", image.list_tag] if how == "oras" else ["1"]
    assert image.run("crane ls $I").split() == tags
    image.verify()


def test_the_image_itself_is_deleted_and_pushed_again(image: Image) -> None:
    digests, digest, tag = image.listed(), image.digest, image.list_tag
    removed(image, f"@{digest}")
    assert image.run("crane ls $I").split() == [tag]
    image.push()
    assert (image.digest, image.listed()) == (digest, digests)
    image.run(VERIFY)
    image.verify()


def test_the_list_itself_is_removed(image: Image) -> None:
    said = removed(image, f":{image.list_tag}")
    assert f"this is the list of 3 signatures and other referrers of {image.digest}" in said
    assert image.listed() == set()
    image.verify()


def test_a_signature_of_the_older_scheme_is_removed(image: Image) -> None:
    """It has its own tag and no subject."""
    sign = "cosign sign --key cosign.key --tlog-upload=false --yes $I@$D"
    verify = "cosign verify --key cosign.pub --insecure-ignore-tlog $I:$TAG"
    for end in (":{}", "@{}"):
        image.run(f"{sign}; {verify}")
        name = f"{image.list_tag}.sig"
        if end == "@{}":
            name = image.run("crane digest $I:$T", T=name).strip()
        removed(image, end.format(name))
        assert image.tried(verify)[0] != 0
    image.run(f"{sign}; {verify}")
    image.verify()


def test_retention_and_the_collection_take_an_image_with_all_of_its_own(image: Image) -> None:
    """Nobody writes meanwhile."""
    old, gone = image.digest, image.listed()
    image.tag = "2"
    image.push()
    image.verify()
    stays = image.listed()
    storage, now = image.bench.storage, time.time() + 1
    rule = {"number": 1, "on": [image.repository], "newest": 1}
    settings = {"retention": [rule], "untagged_keep": 0.0}
    for plan in (plan_retention, plan_untagged):
        apply(storage, plan(storage, settings, now)["removals"])
    assert image.run("crane ls $I").split() == sorted(["2", image.list_tag])
    assert image.listed() == stays
    for digest in (old, *gone):
        assert image.tried("crane manifest $I@$X", X=digest)[0] != 0
    image.verify()
    image.tag = "1"
    image.push()
    assert (image.digest, image.listed()) == (old, set())
    image.verify()


def test_the_collection_takes_former_lists_and_no_more(image: Image) -> None:
    digests = image.listed()
    storage = image.bench.storage
    removals = [
        removal
        for removal in plan_untagged(storage, {"untagged_keep": 0.0}, time.time() + 1)["removals"]
        if removal.repository == image.repository
    ]
    assert removals and not {removal.digest for removal in removals} & digests
    apply(storage, removals)
    assert image.listed() == digests
    image.run(VERIFY)
    image.verify()


def test_a_stale_list_is_named_and_repaired(image: Image) -> None:
    image.verify()
    digests = image.listed()
    gone = sorted(digests)[: len(STALE)]
    for delete, digest in zip(STALE.values(), gone, strict=True):
        image.run(delete, X=digest)
        image.number += 1
        for attach in ATTACH.values():
            code, text = image.tried(attach)
            assert code != 0 and re.search("(?i)manifest.blob.unknown", text), text
    name = f"{image.repository}:{image.list_tag}"
    report = scrub(image.bench.storage)
    assert report["damage"] == []
    (stale,) = report["stale"]
    named = next(digest for digest in gone if digest in stale["sentence"])
    assert f"The list of referrers {name} names {named} and 2 more, which" in stale["sentence"]
    assert stale["sentence"].endswith(f"Mend it: wharf repair HOST/{image.repository}")
    server = image.bench.served.name
    for options, would in ((["--dry-run"], "would be "), ([], "")):
        ran = image.bench.wharf("repair", image.repository, *options)
        assert (ran.code, ran.err) == (0, "")
        lines = [f"{server}/{name}: {digest} is gone, {would}taken out" for digest in gone]
        assert sorted(ran.out.splitlines()) == lines
    assert image.listed() == digests - set(gone)
    image.verify()


def test_a_user_without_a_right_changes_nothing(image: Image) -> None:
    digests = image.listed()
    for user, words in (
        ("cleaner", "first, and cleaner may not pull and push team/"),
        ("writer", "wharf: writer may not delete team/"),
    ):
        for digest in digests:
            ran = image.bench.people[user]("rm", f"{image.repository}@{digest}", "--yes")
            assert (ran.code, ran.out, words in ran.err) == (3, "", True), ran.err
        assert image.listed() == digests


def test_deleting_and_attaching_at_the_same_time_leave_a_list_that_works(image: Image) -> None:
    """An entry may be lost or come back if both write at once. `wharf repair` fixes that."""
    digests = image.listed()
    name = f"{image.bench.served.name}/{image.repository}"
    # A client that attaches while wharf writes may be refused. The result is checked afterwards.
    script = """
for number in 1 2 3 4; do
  oras attach $I:1 --artifact-type at-the-same/time$number sbom.json:text/plain || true
done
"""
    with ThreadPoolExecutor() as pool:
        attaching = pool.submit(image.bench.machine.tried, script, I=name)
        for digest in sorted(digests):
            image.bench.wharf("rm", f"{image.repository}@{digest}", "--yes")
        attaching.result()
    assert image.bench.wharf("repair", image.repository).code == 0
    assert not image.listed() & digests
    image.verify()
