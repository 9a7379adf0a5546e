"""Third-party builders and tools, each used as its users use it, with the registry behind the site
of a deployment. Then our own readers and a garbage collection process everything they pushed.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from local.registries import Served, ours
from support import networks
from support.program import registry_program
from tests.client import machines
from tests.client.conftest import Person
from tests.client.machines import Machine
from wharfinger.host.contents.storage import (
    Storage,
    apply,
    make_collectable,
    obstacles,
    plan_untagged,
    scrub,
)

USERS = {name: {} for name in ("admin", "someuser", "dev", "builder", "intern", "member", "lister")}
GROUPS = {"reviewers": ["member"]}
# The network of the machines.
ROBOTS = {"runner": {"addresses": [str(networks.HOSTS)]}}
# All forms of `who`, `may` and `on` in docs/access.md.
RULES = [
    {"who": "admin", "may": "all", "on": "all"},
    {"who": "someuser", "may": ["pull", "push", "delete"], "on": "{user}/**"},
    {"who": "dev", "may": ["pull", "push"], "on": "team/**"},
    {"who": "dev", "may": ["pull"], "on": "base/**"},
    {"who": "builder", "may": ["pull", "push"], "on": "ci/**"},
    {"who": "intern", "may": [], "on": "team/secret"},
    {"who": "intern", "may": ["pull"], "on": "**"},
    {"who": "anonymous", "may": ["pull"], "on": "public/**"},
    {"who": "group:reviewers", "may": [], "on": "team/secret"},
    {"who": ["group:reviewers", "robot:runner"], "may": ["pull"], "on": ["team/*", "base/**"]},
    {"who": "robot:runner", "may": ["pull", "push"], "on": "ci/*"},
    {"who": "everyone", "may": "all", "on": "{user}/**"},
    {"who": "everyone", "may": ["pull"], "on": "shared/*"},
    {"who": "everyone", "may": ["pull", "push"], "on": "shared/*/{user}"},
    {"who": "lister", "may": ["list"], "on": "all"},
]
PASSWORD = "someuser-pw"


@dataclass(frozen=True)
class Use:
    """A tool on a machine (`tools13`, `tools12`): the command that prints its version, what is
    tried (in the table's words), the script that does it, and one that pulls the results again.

    In scripts, $R is the registry and $I is the tool's own repository there.
    """

    tool: str
    machine: str
    version: str
    tried: str
    script: str
    again: str

    @property
    def repository(self) -> str:
        return f"someuser/{self.tool}{self.machine.removeprefix('tools')}"


LOGIN = f"echo {PASSWORD} | %s login --username someuser --password-stdin $R; "
DOCKER = (
    LOGIN % "docker"
    + """
docker build --quiet --tag $I:1 .
docker push $I:1
docker tag $I:1 $I:latest
docker push $I:latest
docker rmi --force $I:1 $I:latest
docker pull $I:1
docker manifest inspect $I:1
"""
)
DOCKER_AGAIN = "docker rmi --force $I:1; docker pull $I:1; docker pull $I:several"
PODMAN = (
    LOGIN % "podman"
    + """
podman build --isolation chroot --tag $I:1 .
podman push $I:1
podman push --compression-format zstd $I:1 $I:zstd
podman manifest create several
podman manifest add several docker://$I:1
podman manifest push --all several docker://$I:several
podman search --list-tags $I
"""
)
PODMAN_AGAIN = "podman rmi --all --force; podman pull $I:1; podman pull $I:several"
BUILDAH = (
    LOGIN % "buildah"
    + """
buildah bud --isolation chroot --tag $I:1 .
buildah push $I:1
buildah push --format v2s2 $I:1 docker://$I:docker
"""
)
BUILDAH_AGAIN = "buildah rmi --all --force; buildah pull $I:1; buildah pull $I:docker"
SKOPEO = (
    LOGIN % "skopeo"
    + """
skopeo copy --all docker://$B:several docker://$I:several
skopeo copy docker://$B:1 docker://$I:1
skopeo copy --format v2s2 docker://$B:1 docker://$I:docker
skopeo copy --dest-compress-format zstd docker://$B:1 docker://$I:zstd
skopeo copy docker://$B:1 docker://$I:extra
skopeo list-tags docker://$I
skopeo inspect docker://$I:several
skopeo sync --all --src docker --dest docker $I $R/someuser/synced
skopeo delete docker://$R/someuser/synced/${I##*/}:extra
"""
)
SKOPEO_AGAIN = "rm -rf /tmp/copy; skopeo copy --all docker://$I:several dir:/tmp/copy"

USES = [
    Use(
        "docker",
        "tools12",
        "docker version --format '{{.Client.Version}}'",
        "login, build, push, tag, pull, manifest inspect, create and push",
        DOCKER + "docker manifest create $I:several $I:1; docker manifest push $I:several",
        DOCKER_AGAIN,
    ),
    Use(
        "docker",
        "tools13",
        "docker version --format '{{.Client.Version}}'",
        "the same with containerd's image store, and buildx imagetools create",
        DOCKER + "docker buildx imagetools create --tag $I:several $I:1",
        DOCKER_AGAIN,
    ),
    Use(
        "buildx",
        "tools13",
        "docker buildx version",
        "two platforms, provenance, zstd, cache as an index (its default) and as an image, "
        "mode=max, and a build from that cache",
        LOGIN % "docker"
        + """
docker buildx build --push --tag $I:1 --provenance=false .
docker buildx build --push --tag $I:several --platform linux/amd64,linux/arm64 \
  --provenance=mode=max --cache-to type=registry,ref=$I:cache,mode=max .
docker buildx build --push --tag $I:latest \
  --cache-to type=registry,ref=$I:image-cache,mode=max,image-manifest=true,oci-mediatypes=true .
docker buildx build --output \
  type=image,name=$I:zstd,push=true,compression=zstd,force-compression=true,oci-mediatypes=true .
""",
        """
for cache in cache image-cache; do
  docker buildx prune --all --force
  docker buildx build --progress plain --cache-from type=registry,ref=$I:$cache . 2>&1 | tee log
  grep --quiet CACHED log
done
docker pull $I:several
docker pull $I:zstd
""",
    ),
    Use(
        "buildah",
        "tools12",
        "buildah --version",
        "login, build, push in both families",
        BUILDAH,
        BUILDAH_AGAIN,
    ),
    Use(
        "buildah",
        "tools13",
        "buildah --version",
        "the same, and --cache-to with --cache-from",
        BUILDAH
        + """
buildah bud --isolation chroot --layers --cache-to $I/cache --cache-from $I/cache --tag $I:2 .
buildah push $I:2
""",
        BUILDAH_AGAIN,
    ),
    Use(
        "podman",
        "tools12",
        "podman --version",
        "login, build, push as gzip and zstd, manifest push, search --list-tags",
        PODMAN,
        PODMAN_AGAIN,
    ),
    Use(
        "podman",
        "tools13",
        "podman --version",
        "the same, push as zstd:chunked, artifact push and pull",
        PODMAN
        + """
podman push --compression-format zstd:chunked $I:1 $I:chunked
echo text > text
podman artifact add $I:artifact text
podman artifact push $I:artifact
""",
        PODMAN_AGAIN + "; podman artifact pull $I:artifact",
    ),
    Use(
        "skopeo",
        "tools12",
        "skopeo --version",
        "login, copy (--all, v2s2, zstd), list-tags, inspect, sync, delete",
        SKOPEO,
        SKOPEO_AGAIN,
    ),
    Use("skopeo", "tools13", "skopeo --version", "the same", SKOPEO, SKOPEO_AGAIN),
    Use(
        "oras",
        "tools13",
        "oras version",
        "login, push, attach, discover, pull, cp -r, tag, repo tags, manifest delete",
        LOGIN % "oras"
        + """
echo '{}' > sbom.json
oras push $I:1 --artifact-type application/vnd.example.thing sbom.json:text/plain
oras attach $I:1 --artifact-type application/spdx+json sbom.json:application/spdx+json
oras attach $I:1 --artifact-type application/vnd.cyclonedx+json \
  sbom.json:application/vnd.cyclonedx+json
oras discover $I:1 | tee log
grep --quiet spdx log
oras tag $I:1 latest
oras repo tags $I
oras cp --recursive $I:1 $I/copied:1
oras cp $B:cache $I:cache
oras push $I:wasm --config sbom.json:application/vnd.wasm.config.v0+json sbom.json:application/wasm
oras push $I:gone sbom.json:text/plain
oras manifest delete --force $I:gone
""",
        "oras pull --output /tmp/oras $I:1; oras discover $I/copied:1 | grep cyclonedx",
    ),
    Use(
        "crane",
        "tools13",
        "",
        "auth login, copy, push, ls, digest, tag, delete, pull",
        f"echo {PASSWORD} | crane auth login --username someuser --password-stdin $R"
        + """
crane copy $B:several $I:several
crane copy $B:cache $I:cache
crane pull $B:1 image.tar
crane push image.tar $I:pushed
crane ls $I
crane tag $I:pushed extra
crane delete $I:extra
""",
        "crane pull $I:pushed again.tar; crane digest $I:several",
    ),
    Use(
        "regctl",
        "tools13",
        "",
        "registry login, image copy with referrers, artifact put, list and tree, index create, tag "
        "ls and delete",
        f"regctl registry login $R --user someuser --pass {PASSWORD}"
        + """
regctl image copy --referrers --digest-tags $B:several $I:several
regctl image copy $B:cache $I:cache
echo text > text
regctl artifact put --artifact-type application/x.example --subject $I:several \
  --file-media-type text/plain --file text
regctl artifact list $I:several
regctl artifact tree $I:several
regctl index create $I:index --ref $B:1
regctl tag ls $I
regctl image copy $B:1 $I:extra
regctl tag delete $I:extra
""",
        "regctl image export $I:several /tmp/regctl.tar",
    ),
    Use(
        "cosign",
        "tools13",
        "dpkg-query --show --showformat '${Version}' cosign",
        "login, sign and verify, attest and verify-attestation, attach sbom, tree, copy; "
        "signatures as tags and as referrers",
        LOGIN % "cosign"
        + """
rm -f cosign.key cosign.pub
cosign generate-key-pair
crane copy $B:several $I:1
D=$I@$(crane digest $I:1)
cosign sign --key cosign.key --tlog-upload=false --yes $D
COSIGN_EXPERIMENTAL=1 cosign sign --registry-referrers-mode oci-1-1 --key cosign.key \
  --tlog-upload=false --yes $D
echo '{}' > predicate.json
cosign attest --key cosign.key --tlog-upload=false --yes --type custom --predicate predicate.json $D
cosign attach sbom --sbom predicate.json --type spdx $D
cosign tree $D
cosign copy $I:1 $I/copied:1
""",
        """
D=$I@$(crane digest $I:1)
cosign verify --key cosign.pub --insecure-ignore-tlog $D
cosign verify-attestation --key cosign.pub --insecure-ignore-tlog --type custom $D
cosign verify --key cosign.pub --insecure-ignore-tlog $I/copied:1
""",
    ),
    Use(
        "helm",
        "tools13",
        "",
        "registry login, package, push, show chart, pull",
        f"echo {PASSWORD} | helm registry login --username someuser --password-stdin $R"
        + """
mkdir -p chart
printf 'apiVersion: v2\\nname: chart\\nversion: 0.1.0\\n' > chart/Chart.yaml
helm package chart
helm push chart-0.1.0.tgz oci://$I
helm show chart oci://$I/chart --version 0.1.0
""",
        "helm pull oci://$I/chart --version 0.1.0 --destination /tmp",
    ),
]
EVERY = [pytest.param(use, id=f"{use.tool}{use.machine.removeprefix('tools')}") for use in USES]


@dataclass
class Bench:
    """The registry, the machines, and `wharf` as its user."""

    served: Served
    program: Path
    machines: dict[str, Machine]
    person: Person

    def run(self, use: Use, script: str) -> str:
        repository = f"{self.served.name}/{use.repository}"
        built = f"{self.served.name}/someuser/buildx13"
        return self.machines[use.machine].run(script, I=repository, B=built)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    if lacking := machines.missing():
        pytest.skip(lacking)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wharf-tools-")))
        program = registry_program(folder)
        name, address = stack.enter_context(machines.network())
        served = stack.enter_context(
            ours(
                folder,
                program,
                address=address,
                users=USERS,
                groups=GROUPS,
                robots=ROBOTS,
                rules=RULES,
            )
        )
        by_name = {
            image: stack.enter_context(machines.machine(image, name, served))
            for image in ("tools12", "tools13")
        }
        home = folder / "home"
        home.mkdir()
        yield Bench(served, program, by_name, Person(served, home).logged_in("admin"))


@pytest.mark.parametrize("use", EVERY)
def test_a_tool_does_what_its_users_do(bench: Bench, use: Use) -> None:
    bench.run(use, use.script)


@pytest.mark.parametrize("use", EVERY)
def test_a_tool_pulls_what_it_pushed(bench: Bench, use: Use) -> None:
    bench.run(use, use.again)


def types(bench: Bench, reference: str) -> str:
    """The type in the output of `wharf show`."""
    return str(bench.person("show", reference, "--json").json["type"])


def test_our_readers_understand_all_of_it(bench: Bench) -> None:
    assert scrub(Storage(bench.served.folder / "storage"))["damage"] == []
    ran = bench.person("du")
    assert (ran.code, ran.err) == (0, "")
    rows = bench.person("repositories", "--tags", "--json").json
    repositories = {row["repository"] for row in rows}
    assert {use.repository for use in USES if use.tool != "helm"} < repositories
    for reference, words in {
        "someuser/buildx13:1": "container image",
        "someuser/buildx13:cache": "BuildKit cache",
        "someuser/buildx13:image-cache": "BuildKit cache",
        "someuser/oras13:cache": "BuildKit cache",
        "someuser/oras13:wasm": "WebAssembly module",
        "someuser/helm13/chart:0.1.0": "Helm chart",
    }.items():
        assert types(bench, reference) == words, reference
    several = bench.person("show", "someuser/buildx13:several", "--json").json["manifests"]
    assert "in-toto attestation: SLSA provenance" in [row["type"] for row in several]
    signed = bench.person("show", "someuser/cosign13:1", "--json").json["referrers"]
    assert {"cosign signature", "in-toto attestation", "SBOM"} <= {row["type"] for row in signed}
    for number, reference in enumerate(
        (
            *("someuser/buildx13:several", "someuser/buildx13:cache", "someuser/podman13:zstd"),
            *("someuser/oras13:1", "someuser/helm13/chart:0.1.0", "someuser/docker12:several"),
        )
    ):
        ran = bench.person("copy", reference, f"copied/by-wharf:{number}")
        assert (ran.code, ran.err) == (0, "")


def test_a_collection_keeps_everything_that_a_tag_leads_to(bench: Bench) -> None:
    storage = Storage(bench.served.folder / "storage")
    assert obstacles(storage) == []
    # Nobody writes meanwhile.
    plan = plan_untagged(storage, {"untagged_keep": 0.0}, time.time() + 1)
    assert plan["damage"] == []
    apply(storage, plan["removals"])
    make_collectable(storage)
    command = [str(bench.program), "garbage-collect", str(bench.served.folder / "registry.yml")]
    subprocess.run(command, check=True, capture_output=True)
    assert scrub(storage)["damage"] == []


@pytest.mark.parametrize("use", EVERY)
def test_a_tool_pulls_what_it_pushed_after_a_collection(bench: Bench, use: Use) -> None:
    bench.run(use, use.again)


LOG_IN = """
echo $1-pw | docker login --username $1 --password-stdin $R
echo $1-pw | skopeo login --username $1 --password-stdin $R
echo $1-pw | oras login --username $1 --password-stdin $R
regctl registry login $R --user $1 --pass $1-pw
"""
# For docker, podman and crane. skopeo fails if nobody has logged in before.
LOG_OUT = "docker logout $R; skopeo logout $R || true; "


def as_user(bench: Bench, user: str, script: str) -> tuple[int, str]:
    """Runs a script on Debian 13, with all tools logged in as this user or robot, or not at all for
    `anonymous`."""
    begin = LOG_OUT if user == "anonymous" else f"set -- {user}; {LOG_IN}"
    return bench.machines["tools13"].tried(begin + script)


def test_layers_of_repositories_with_other_rights_are_shared_or_uploaded(bench: Bench) -> None:
    """Images are pulled with the rights of one user and pushed with those of another."""
    code, text = as_user(
        bench,
        "admin",
        """
docker buildx build --push --provenance=false --tag $R/base/app:1 .
docker buildx build --push --provenance=false --tag $R/public/app:1 .
docker buildx build --push --provenance=false --tag $R/team/secret:1 .
crane copy $R/base/app:1 $R/shared/app:1
""",
    )
    assert code == 0, text
    build = (
        "printf 'FROM %s\\nCOPY one /mine\\n' $R/base/app:1 > Derived; docker pull $R/base/app:1; "
    )
    build += "docker build --quiet --file Derived --tag $R/team/derived:1 .; "
    code, text = as_user(
        bench,
        "dev",
        build
        + """
docker push $R/team/derived:1
crane copy $R/base/app:1 $R/team/crane:1
regctl image copy $R/base/app:1 $R/team/regctl:1
oras cp $R/base/app:1 $R/team/oras:1
skopeo copy docker://$R/base/app:1 docker://$R/team/skopeo:1
""",
    )
    assert code == 0, text
    # This user may not read the repositories that the layers came from.
    push = (
        "docker tag $R/team/derived:1 $R/ci/app:1; docker push $R/ci/app:1; docker pull $R/ci/app:1"
    )
    code, text = as_user(bench, "builder", push)
    assert code == 0, text
    code, text = as_user(bench, "intern", "docker pull $R/team/derived:1; docker pull $R/ci/app:1")
    assert code == 0, text


# Scripts of users whose rules allow them.
GIVEN = {
    # A member may read what the group may, and in their own place `all` includes delete.
    "member": """
docker pull $R/team/derived:1
docker tag $R/team/derived:1 $R/member/app:1
docker push $R/member/app:1
crane copy $R/base/app:1 $R/member/deep/app:1
skopeo delete docker://$R/member/deep/app:1
""",
    # This user may not read the repository that docker has these layers from.
    "builder": """
docker tag $R/team/derived:1 $R/builder/app:1
docker push $R/builder/app:1
docker pull $R/builder/app:1
crane copy $R/shared/app:1 $R/shared/app/builder:1
""",
    # A robot is in no group, so the `[]` for team/secret applies only to the group.
    "runner": """
docker pull $R/team/secret:1
docker tag $R/team/derived:1 $R/ci/runner:1
docker push $R/ci/runner:1
crane copy $R/base/app:1 $R/ci/runner:2
podman pull $R/ci/runner:1
""",
    "lister": "crane catalog $R > names; grep --line-regexp team/secret names",
    "anonymous": """
docker pull $R/public/app:1
podman pull $R/public/app:1
crane pull $R/public/app:1 public.tar
""",
}


@pytest.mark.parametrize("user", GIVEN)
def test_requests_that_the_rules_allow_succeed(bench: Bench, user: str) -> None:
    code, text = as_user(bench, user, GIVEN[user])
    assert code == 0, text


@pytest.mark.parametrize(
    ("user", "script"),
    [
        ("dev", "crane copy $R/team/derived:1 $R/base/app:2"),
        ("builder", "docker pull $R/base/app:1"),
        ("builder", "docker tag $R/team/derived:1 $R/base/app:2; docker push $R/base/app:2"),
        ("builder", "skopeo copy docker://$R/base/app:1 docker://$R/ci/app:2"),
        ("builder", "skopeo delete docker://$R/ci/app:1"),
        ("intern", "docker pull $R/team/secret:1"),
        ("intern", "crane copy $R/base/app:1 $R/intern/app:1"),
        ("intern", "oras tag $R/base/app:1 extra"),
        ("intern", "regctl image copy $R/base/app:1 $R/team/app:1"),
        # The narrower rule comes first.
        ("member", "docker pull $R/team/secret:1"),
        ("member", "crane copy $R/base/app:1 $R/team/member:1"),
        # Another user's {user}.
        ("member", "docker tag $R/member/app:1 $R/builder/app:2; docker push $R/builder/app:2"),
        ("member", "docker pull $R/shared/app/builder:1"),
        ("member", "crane copy $R/base/app:1 $R/shared/app:2"),
        ("member", "crane catalog $R"),
        ("lister", "docker pull $R/base/app:1"),
        # A robot is not everyone, and `*` is one segment.
        ("runner", "docker pull $R/shared/app:1"),
        ("runner", "crane copy $R/base/app:1 $R/runner/app:1"),
        ("runner", "skopeo copy docker://$R/base/app:1 docker://$R/ci/deep/app:1"),
        ("runner", "docker tag $R/ci/runner:1 $R/base/app:2; docker push $R/base/app:2"),
        # Nor is a client without a login.
        ("anonymous", "docker pull $R/shared/app:1"),
        ("anonymous", "podman push $R/public/app:1 $R/public/app:2"),
        ("anonymous", "docker tag $R/public/app:1 $R/public/app:2; docker push $R/public/app:2"),
        ("anonymous", "crane catalog $R"),
    ],
)
def test_requests_that_the_rules_do_not_allow_are_refused(
    bench: Bench, user: str, script: str
) -> None:
    code, text = as_user(bench, user, f"echo signed in; {script}")
    assert code != 0 and "signed in" in text
    assert re.search(r"(?i)denied|unauthorized|insufficient_scope", text), text


def test_nobody_was_answered_5xx(bench: Bench) -> None:
    lines = (bench.served.folder / "access.log").read_text().splitlines()
    assert len(lines) > 500
    assert [line for line in lines if '"status":"5' in line] == []


def table(bench: Bench) -> list[str]:
    """The table in docs/clients.md of what was tried."""
    rows = []
    for use in USES:
        version = PINNED.get(use.tool)
        if version is None:
            match = re.search(r"\d+\.\d+", bench.machines[use.machine].run(use.version))
            assert match, use.tool
            version = match[0]
        where = {"tools12": "Debian 12", "tools13": "Debian 13"}[use.machine]
        where = f"`go.mod`, on {where}" if use.tool in PINNED else where
        rows.append(f"| {use.tool} {version} | {where} | {use.tried} |")
    return rows


def _pinned() -> dict[str, str]:
    """The versions of the compiled tools, from the Go module."""
    text = (machines.TOOLS / "go.mod").read_text()
    return {
        name: re.search(rf"{module} v(\d+\.\d+)", text)[1]  # type: ignore[index]
        for name, module in (
            ("crane", "google/go-containerregistry"),
            ("regctl", "regclient/regclient"),
            ("helm", "helm.sh/helm/v3"),
        )
    }


PINNED = _pinned()


def test_the_table_says_what_was_tried_with_which_version(bench: Bench, project: Path) -> None:
    page = (project / "docs/clients.md").read_text()
    rows = table(bench)
    assert [row for row in rows if row not in page] == [], "\n".join(rows)
