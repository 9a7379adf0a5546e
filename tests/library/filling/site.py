"""The host of a scenario whose registry is full (contents), and what tests do to it."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testinfra.host import Host

from load.plays import Operator
from load.session import Account, Session, Target
from support import hosts
from support.amount import PACE
from support.containers import serving
from support.waiting import enough

from .clients import Beside, beside
from .compare import STORED, differences, missing
from .content import Content
from .fill import batched
from .pushing import Pushing

NAME = "debian13"
HOSTNAME = f"{NAME}.wharfinger.test"
STORAGE = Path("/var/lib/wharfinger/registry")
REPOSITORIES = STORAGE / "docker/registry/v2/repositories"
BLOBS = STORAGE / "docker/registry/v2/blobs/sha256"
SETTINGS = "/etc/wharfinger/contents.json"
DAY = 86400


def blob_path(digest: str) -> Path:
    """The path of a blob's content."""
    hexadecimal = digest.removeprefix("sha256:")
    return BLOBS / hexadecimal[:2] / hexadecimal / "data"


def tag_path(repository: str, tag: str) -> Path:
    """The link of a tag; its time is that of the push."""
    return REPOSITORIES / repository / "_manifests/tags" / tag / "current/link"


def revision_path(repository: str, digest: str) -> Path:
    """The link of a manifest."""
    name = digest.removeprefix("sha256:")
    return REPOSITORIES / repository / "_manifests/revisions/sha256" / name / "link"


def layer_path(repository: str, digest: str) -> Path:
    """The link of a layer; its time is that of the upload."""
    name = digest.removeprefix("sha256:")
    return REPOSITORIES / repository / "_layers/sha256" / name / "link"


@dataclass(frozen=True)
class Ran:
    """How a command on the host ended."""

    code: int
    output: str
    error: str

    @property
    def answer(self) -> dict[str, Any]:
        """What it printed."""
        assert self.output, self.error
        answer: dict[str, Any] = json.loads(self.output)
        return answer

    @property
    def succeeded(self) -> dict[str, Any]:
        """What it printed; it must have succeeded."""
        assert self.code == 0, (self.error, self.output)
        return self.answer


class Site:
    """The host under test."""

    def __init__(self) -> None:
        self.machine: Host = hosts.host(NAME)
        self.operator = Operator(hosts.inventory_file().parent, NAME)
        self.content = Content()
        self._pool = ThreadPoolExecutor(4)
        admin = hosts.account("admin")
        self.session = Session(
            Target(HOSTNAME, hosts.variables(NAME)["ansible_host"]),
            Account(admin.name, admin.password),
            str(hosts.authority(NAME)),
            timeout=300,
        )

    def pushing(self, *repositories: str) -> Pushing:
        """A client that may do everything in these repositories."""
        return Pushing(self.session, self.content, repositories)

    # -- the host's commands -----------------------------------------------------------------------

    def run(self, command: str, *options: str) -> Ran:
        """Runs `wharfinger-host COMMAND`."""
        done = self.machine.run(shlex.join(["wharfinger-host", command, "--json", *options]))
        return Ran(done.rc, done.stdout, done.stderr)

    def done(self, command: str, *options: str) -> dict[str, Any]:
        """Runs a command that must succeed; returns its answer."""
        return self.run(command, *options).succeeded

    def begin(self, command: str, *options: str) -> Callable[[], dict[str, Any]]:
        """Starts a command; the returned function waits for its success and returns its answer."""
        future = self._pool.submit(self.run, command, *options)
        return lambda: future.result(600).succeeded

    def closed(self) -> None:
        """Waits until writes are refused."""
        deadline = time.monotonic() + 180
        while self.writes():
            assert time.monotonic() < deadline, "writes are not refused"
            time.sleep(0.05)

    def report(self, job: str) -> dict[str, Any]:
        """What the last run of a job left."""
        text = self.machine.check_output("cat %s", f"/var/lib/wharfinger/contents/{job}.json")
        report: dict[str, Any] = json.loads(text)
        return report

    def script(self, text: str, *arguments: str) -> str:
        """Runs a Python program on the host as root; returns its output."""
        return hosts.script(NAME, text, *arguments)

    @contextmanager
    def settings(self, **changed: Any) -> Iterator[None]:
        """Changes the settings on the host for a while, as a run with another inventory would leave
        them."""
        before = self.machine.check_output("cat %s", SETTINGS)
        self._write(json.loads(before) | changed)
        try:
            yield
        finally:
            self._write(json.loads(before))

    def _write(self, settings: dict[str, Any]) -> None:
        text = f"from pathlib import Path\nPath({SETTINGS!r}).write_text({json.dumps(settings)!r})"
        self.script(text)

    # -- what is in the storage --------------------------------------------------------------------

    def stored(self) -> dict[str, Any]:
        """What the storage holds (stored.py)."""
        stored: dict[str, Any] = json.loads(self.script(STORED.read_text(), str(STORAGE)))
        return stored

    def whole(self) -> dict[str, Any]:
        """Checks that the storage has every tag and all it leads to; returns what is there."""
        stored = self.stored()
        assert differences(stored, self.content) == []
        return stored

    def served(self) -> None:
        """Checks that the registry serves every tag and blob as it was pushed."""
        assert missing(self.session, self.content) == []

    def pulls(self, *repositories: str) -> None:
        """Pulls every image of these repositories and checks each digest."""
        for together in batched(list(repositories)):
            pushing = self.pushing(*together)
            for name in together:
                for reference in self.content[name].tags.values():
                    pushing.pull(name, reference)

    def aged(self, days: float, *paths: Path) -> None:
        """Makes whatever these links pushed this many days old."""
        moment = f"@{time.time() - days * DAY:.0f}"
        quoted = shlex.join(map(str, paths))
        self.machine.check_output(f"touch --no-create --date={moment} {quoted}")

    def settled(self, days: float = 30) -> None:
        """Makes every change that the storage records (removed tags, deletions, uploads without a
        manifest) this many days old. The times of pushes stay."""
        moment = f"@{time.time() - days * DAY:.0f}"
        self.machine.check_output(
            f"find {REPOSITORIES} \\( -path '*/_manifests/tags' -o -path '*/revisions/sha256/*' "
            "-type d -o -path '*/index/sha256/*' -name link -o -path '*/_layers/*' -name link "
            f"\\) -exec touch --no-create --date={moment} {{}} +"
        )

    def untagged(self, repository: str, days: float) -> Sequence[str]:
        """Makes everything untagged in a repository this many days old; returns the digests."""
        digests = sorted(self.content[repository].untagged)
        self.aged(days, *(revision_path(repository, digest) for digest in digests))
        return digests

    # -- what goes on ------------------------------------------------------------------------------

    @contextmanager
    def read(self, *, writing: bool = False) -> Iterator[Beside]:
        """Clients read during the body, and for a moment after a short one; no read may fail."""
        with beside(self.session, self.content, writing=writing, pace=PACE) as clients:
            yield clients
            enough(lambda: len(clients.reads))
        assert clients.failed == []

    def state(self) -> dict[str, Any]:
        """state.json."""
        return hosts.state(NAME)

    def generation(self) -> int:
        """The number of the registry's generation that serves."""
        kinds = self.state()["kinds"]["registry"]["generations"]
        return next(
            int(generation["number"]) for generation in kinds if generation["phase"] == "serving"
        )

    def writes(self) -> bool:
        """Whether a push succeeds now."""
        headers = {"Content-Length": "0"}
        return (
            self.pushing("load/stable")
            .request("POST", "/v2/load/stable/blobs/uploads/", b"", **headers)
            .status_code
            == 202
        )

    def open_again(self, seconds: float) -> None:
        """Checks that within that time writes work and nothing of a window is left."""
        deadline = time.monotonic() + seconds
        while not (self.writes() and self.state()["window"] is None):
            assert time.monotonic() < deadline, self.state()
            time.sleep(0.5)
        state = self.state()
        registry = state["kinds"]["registry"]["generations"]
        assert [
            generation["readonly"] for generation in registry if generation["phase"] == "serving"
        ] == [False]
        containers = self.machine.check_output("docker ps --all --format '{{.Names}}'").split()
        assert sorted(containers) == sorted(serving(state).values())
