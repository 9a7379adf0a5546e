"""What a restore refuses before it changes anything, what it brings back, and single repositories;
by the real restic."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.storage_tree import Tree
from wharfinger.host.backup import blobs, identity, links, repositories
from wharfinger.host.backup import restore as restores
from wharfinger.host.backup.restic import Restic
from wharfinger.host.commands import run
from wharfinger.host.contents.storage import grace
from wharfinger.host.contents.storage.layout import Storage
from wharfinger.host.rollout import proxy
from wharfinger.host.system import restoring
from wharfinger.host.system.context import Host
from wharfinger.host.system.errors import HostError
from wharfinger.host.system.restoring import BRINGING, CLOSED, RESTORED, Restoring
from wharfinger.host.system.state import SERVING, Generation

from .registries_on_disk import Machine, backed_up, damaged, files, filled, tree_of


def nothing_changed(host: Host) -> bool:
    return not tree_of(host).root.exists() and not host.paths.restoring.exists()


def settings(host: Host, **changes: object) -> None:
    path = host.paths.backup_settings
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_snapshot_of_a_newer_version_is_refused_before_anything(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    settings(first, version="0.10.0")
    snapshot = backed_up(first)["snapshot"][:8]
    settings(second, version="0.9.3")
    with pytest.raises(HostError) as refused:
        restores.restore(second, {}, False)
    assert str(refused.value) == (
        f"snapshot {snapshot} was made by a newer version (0.10.0, this checkout is 0.9.3): "
        "restore it with a checkout of that version or a later one"
    )
    assert nothing_changed(second)


def test_an_older_snapshot_comes_with_the_users_as_they_were_recorded_then(
    machine: Machine,
) -> None:
    """The next step of the playbook reads them as it reads those of an older deployment."""
    first, second = machine("first"), machine("second")
    filled(first)
    settings(first, version="0.0.1")
    # As before `random` was recorded.
    users = json.dumps({"ann": {"hash": "$2b$10$x", "generated": "0" * 64}})
    first.paths.users.write_text(users)
    backed_up(first)
    restores.restore(second, {}, False)
    assert second.paths.users.read_text() == users


def authority(path: Path, since: str) -> str:
    """A certificate for an authority that is valid from `since` (YYYYMMDD) on."""
    key = path.with_suffix(".key")
    program = (
        "import sys, datetime as d\n"
        "from cryptography import x509\n"
        "from cryptography.hazmat.primitives import hashes, serialization as s\n"
        "from cryptography.hazmat.primitives.asymmetric import ec\n"
        "key = ec.generate_private_key(ec.SECP256R1())\n"
        "name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'ca')])\n"
        "day = d.datetime.strptime(sys.argv[1], '%Y%m%d')\n"
        "made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key("
        "key.public_key()).serial_number(1).not_valid_before(day).not_valid_after("
        "day + d.timedelta(3650)).sign(key, hashes.SHA256())\n"
        "print(made.public_bytes(s.Encoding.PEM).decode(), end='')\n"
    )
    python = str(Path(".venv/bin/python").resolve())
    done = subprocess.run(
        [python, "-c", program, since], capture_output=True, text=True, check=True
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(done.stdout)
    key.write_text("the key")
    return done.stdout


def test_an_authority_that_is_newer_beside_the_inventory_is_refused(
    machine: Machine, tmp_path: Path
) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    saved = authority(first.paths.certificates / "ca.crt", "20260301")
    newer = authority(tmp_path / "newer.crt", "20260901")
    older = authority(tmp_path / "older.crt", "20250901")
    snapshot = backed_up(first)["snapshot"][:8]

    def refused(certificate: str, offline: bool) -> str:
        request = {"file": "credentials/x-ca.crt", "certificates": [certificate, ""]}
        with pytest.raises(HostError) as problem:
            restores.restore(second, {"authority": request | {"offline": offline}}, False)
        assert nothing_changed(second)
        return str(problem.value)

    assert refused(newer, False) == (
        "restore: the authority beside the inventory (credentials/x-ca.crt, made 2026-09-01) is "
        f"newer than that of snapshot {snapshot} (made 2026-03-01), and clients that trust only "
        "the newer one would refuse the restored registry: restore a snapshot that was made "
        "later, or, if clients still trust the older authority, move credentials/x-ca.crt and the "
        "keys beside it away"
    )
    assert refused(older, True) == (
        "restore: the authority beside the inventory (credentials/x-ca.crt, made 2025-09-01) is "
        f"older than that of snapshot {snapshot} (made 2026-03-01), and certificates_ca_offline "
        "keeps the key on the controller: bring credentials/x-ca.crt and its key from the "
        "controller that has the newer ones"
    )
    # The controller prepared the next authority, the host took it, and the run was cut off.
    request = {"file": "x", "certificates": [older, saved], "offline": True}
    restores.restore(second, {"authority": request}, False)
    assert (second.paths.certificates / "ca.crt").read_text() == saved
    assert (second.paths.certificates / "ca.key").read_text() == "the key"


def test_files_of_another_deployment_are_named_and_not_replaced(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    authority(first.paths.certificates / "ca.crt", "20260301")
    backed_up(first)
    mine = authority(second.paths.certificates / "ca.crt", "20260901")
    with pytest.raises(HostError) as refused:
        restores.restore(second, {}, False)
    folder = second.paths.certificates
    assert str(refused.value) == (
        "restore: this host has files of another deployment already, which a restore does not "
        f"replace: {folder}/ca.crt: remove that deployment first (playbooks/remove.yml)"
    )
    assert nothing_changed(second)
    assert (folder / "ca.crt").read_text() == mine


def test_what_a_bare_host_has_made_just_before_is_replaced(machine: Machine) -> None:
    """`prepare` has made http.secret, and the checks have looked at the clock."""
    first, second = machine("first"), machine("second")
    filled(first)
    first.paths.clock.write_text("a reading")
    backed_up(first)
    second.paths.secrets.mkdir(parents=True)
    second.paths.http_secret.write_text("a new one")
    second.paths.clock.write_text("another reading")
    restores.restore(second, {}, False)
    assert second.paths.http_secret.read_text() == "secret"
    assert second.paths.clock.read_text() == "a reading"


def test_a_host_with_a_registry_is_refused(machine: Machine) -> None:
    first = machine("first")
    filled(first)
    backed_up(first)
    serving(first)
    with pytest.raises(HostError) as refused:
        restores.restore(first, {}, False)
    assert str(refused.value) == (
        "restore: a registry is on this host already, and a restore would mix its content with "
        "the backup's: write -e only=REPOSITORY to bring single repositories back, or restore on "
        "a fresh host, or remove this one first (playbooks/remove.yml)"
    )


def test_a_dry_run_on_a_host_without_settings_says_what_would_be_done(machine: Machine) -> None:
    host = machine("first")
    host.paths.backup_settings.unlink()
    answer = restores.restore(host, {}, True)
    assert answer["actions"] == ["the registry would be restored from backup_repository"]


def test_what_the_documentation_says_is_saved_is_what_is_saved() -> None:
    page = Path("docs/backup.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `etc/")]
    rows += [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `var/")]
    assert rows == [f"`{saved.path}`" for saved in identity.SAVED]
    for saved in identity.SAVED:
        assert saved.holds in page


def test_grace_periods_begin_again(machine: Machine) -> None:
    """Also in a repository whose last tag was deleted yesterday: on the first host its folder of
    tags says when, and a restore that left it out would make everything due at once."""
    first, second = machine("first"), machine("second")
    tree = filled(first)
    untagged = tree.image("team/gone", "untagged", age=400 * 86400)
    tree.root.joinpath("repositories/team/gone/_manifests/tags").mkdir(parents=True)
    backed_up(first)
    began = second.clock.now()
    restores.restore(second, {}, False)
    storage = Storage(second.paths.etc.parent / "data")
    revisions = {link.name: link for link in storage.revisions("team/gone")}
    assert set(revisions) == {untagged}
    assert storage.changed("team/gone")[0] >= began - 1
    notes = grace.updated_notes(storage, {}, began)
    assert notes["team/gone"].seen[untagged][0] == began


@pytest.mark.usefixtures("as_on_a_host")
@pytest.mark.parametrize("part", ["identity", "blobs", "links"])
def test_a_restore_that_is_cut_off_anywhere_goes_on(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    backed_up(first)
    count = 0

    def cut_off(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    place, write_link = blobs.Blobs._place, links.write

    def some_blobs(self: blobs.Blobs, folder: Path, digest: str) -> bool:
        nonlocal count
        count += 1
        if count > 9:
            raise KeyboardInterrupt
        return place(self, folder, digest)

    def some_links(*arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        if count > 20:
            raise KeyboardInterrupt
        write_link(*arguments, **named)

    with monkeypatch.context() as patched:
        if part == "identity":
            patched.setattr(identity, "put", cut_off)
        elif part == "blobs":
            patched.setattr(blobs.Blobs, "_place", some_blobs)
        else:
            patched.setattr(links, "write", some_links)
        with pytest.raises(KeyboardInterrupt):
            restores.restore(second, {}, False)
    record = restoring.load(second.paths.restoring)
    assert record is not None
    assert record.step == BRINGING
    assert record.problem() == (
        f"the restore of snapshot {record.snapshot[:8]} was cut off: run playbooks/restore.yml -e "
        f"snapshot={record.snapshot[:8]}, or give it up with playbooks/remove.yml -e "
        "remove_data=HOSTNAME"
    )
    restores.restore(second, {}, False)
    assert files(tree_of(second)) == files(tree)
    assert second.paths.http_secret.read_text() == "secret"


def test_jobs_wait_until_the_registry_is_verified(machine: Machine) -> None:
    first, second = machine("first"), machine("second")
    filled(first)
    snapshot = backed_up(first)["snapshot"][:8]
    restores.restore(second, {}, False)
    for job in ("retention", "collect", "backup"):
        with pytest.raises(HostError) as refused:
            run(job, {}, host=second)
        assert str(refused.value) == (
            f"{job}: nothing was done: the registry was restored from snapshot {snapshot} and has "
            "not been verified yet: run site.yml"
        )
        with pytest.raises(HostError, match="has not been verified yet"):
            run("contents", {"job": job}, host=second)
    # The playbook that was cut off before the verification is run again.
    assert restores.restore(second, {}, False)["actions"] == []
    with pytest.raises(HostError) as other:
        restores.restore(second, {"snapshot": "0123abcd"}, False)
    assert str(other.value) == (
        f"snapshot=0123abcd: snapshot {snapshot} has been restored on this host already: to "
        "restore another one, remove the registry first (playbooks/remove.yml -e "
        "remove_data=HOSTNAME)"
    )
    run("restored", {}, host=second)
    assert run("backup", {}, host=second)["tags"] == 13


def test_what_is_damaged_is_left_out_where_that_is_wanted(machine: Machine, tmp_path: Path) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    tree.image("team/large", "large", tag="broken", layers=[os.urandom(200_000)])
    backed_up(first)
    damaged(tmp_path / "repository")
    with pytest.raises(HostError) as refused:
        restores.restore(second, {}, False)
    assert "No registry was started." in str(refused.value)
    assert "or with -e leave_out_damaged=true to serve without them" in str(refused.value)
    record = restoring.load(second.paths.restoring)
    assert record is not None
    assert record.step == BRINGING
    answer = restores.restore(second, {"leave_out_damaged": True}, False)
    assert answer["left_out"] == ["team/large:broken"]
    assert answer["actions"][1:] == ["left out, since blobs of them are damaged: team/large:broken"]
    record = restoring.load(second.paths.restoring)
    assert record is not None
    assert record.step == RESTORED


def test_a_full_disk_is_named_and_not_taken_for_damage(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    tree.image("team/large", "large", tag="large", layers=[os.urandom(2_000_000)])
    backed_up(first)
    data = second.paths.etc.parent / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(data)]
    subprocess.run(mount, check=True)
    try:
        for check in (True, False):
            with pytest.raises(HostError) as refused:
                restores.restore(second, {}, check)
            assert re.fullmatch(
                rf"restore: snapshot [0-9a-f]{{8}} needs 2 MiB more, and the disk of {data} has "
                "[01] MiB free: make room there, or mount a larger disk, and run it again",
                str(refused.value),
            )
        assert restoring.load(second.paths.restoring) is None
        with monkeypatch.context() as patched, pytest.raises(HostError) as refused:
            # Others may fill the disk meanwhile.
            patched.setattr(Restic, "size", lambda *_: None)
            restores.restore(second, {}, False)
        assert str(refused.value) == (
            f"restore: no space left on the disk of {data}: free some, and run it again"
        )
        subprocess.run([*mount[:3], "-o", "remount,size=8m", str(data)], check=True)
        restores.restore(second, {}, False)
        assert files(tree_of(second)) == files(tree)
    finally:
        subprocess.run(["umount", str(data)], check=True)


def test_a_connection_that_is_lost_for_a_moment_is_not_taken_for_damage(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = machine("first"), machine("second")
    tree = filled(first)
    backed_up(first)
    restored, count = Restic.restore, 0

    def lost(self: Restic, *arguments: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        # The first two bring the identity and the list.
        if count != 3:
            restored(self, *arguments, **named)

    monkeypatch.setattr(Restic, "restore", lost)
    restores.restore(second, {}, False)
    assert files(tree_of(second)) == files(tree)


# -- single repositories ---------------------------------------------------------------------------


def serving(host: Host) -> None:
    """As after a deployment."""
    state = host.store.load()
    generation = Generation(1, "a", "127.0.0.1", 5000, "", "", SERVING, 0)
    state.kinds["registry"].generations.append(generation)
    host.store.save(state)
    tree_of(host).root.mkdir(parents=True, exist_ok=True)


def named(tree: Tree, repository: str, tag: str) -> str:
    """The digest that a tag names."""
    return (tree.tag_path(repository, tag) / "current/link").read_text()


def only(host: Host, *names: str, **more: object) -> list[str]:
    request = {"only": list(names), **more}
    actions = repositories.restore_repositories(host, request, False)["actions"]
    return [str(action) for action in actions]


def test_a_deleted_repository_and_an_overwritten_tag_come_back(machine: Machine) -> None:
    host = machine("first")
    tree = filled(host)
    before = files(tree)
    backed_up(host)
    serving(host)
    app0 = {path for path in before if path.startswith("repositories/team/app0/")}
    shutil.rmtree(tree.root / "repositories/team/app0")
    for path in app0:
        if "/_layers/" in path or "/revisions/" in path:
            digest = before[path][0].decode()
            tree.blob_path(digest).unlink(missing_ok=True)
    good = named(tree, "team/app1", "v1")
    bad = tree.image("team/app1", "garbage", tag="v1")
    later = tree.image("team/app1", "later", tag="later")
    other = files(tree)
    actions = only(host, "team/app0", "team/app1")
    assert sum(action.startswith("team/app0:") for action in actions) == 4
    assert [action for action in actions if "app1" in action] == [
        f"team/app1:v1: {good} again; it was {bad}, which stays for registry_untagged_keep"
    ]
    after = files(tree)
    # What was pushed since stays; nothing of other repositories changed.
    assert named(tree, "team/app1", "later") == later
    assert tree.revision_path("team/app1", bad).exists()
    assert named(tree, "team/app1", "v1") == good
    assert {path: after[path] for path in app0} == {path: before[path] for path in app0}
    assert {path: content for path, content in after.items() if "team/index" in path} == {
        path: content for path, content in other.items() if "team/index" in path
    }
    assert restoring.load(host.paths.restoring) is None
    assert only(host, "team/**") == []
    # A damaged blob, which a person has removed.
    blob = tree.blob_path(good)
    content = blob.read_bytes()
    blob.unlink()
    assert only(host, "team/app1") == ["blobs that were missing and are back: 1"]
    assert blob.read_bytes() == content


def test_a_dry_run_of_one_repository_shows_what_would_change(machine: Machine) -> None:
    host = machine("first")
    tree = filled(host)
    backed_up(host)
    serving(host)
    digest = named(tree, "team/app0", "v0")
    shutil.rmtree(tree.tag_path("team/app0", "v0"))
    before = files(tree)
    answer = repositories.restore_repositories(host, {"only": ["team/app0"]}, True)
    assert answer["actions"] == [f"team/app0:v0: back, {digest}"]
    assert files(tree) == before
    assert only(host, "team/app0") == answer["actions"]


def test_only_s_mistakes_are_named(machine: Machine) -> None:
    host = machine("first")
    filled(host)
    snapshot = backed_up(host)["snapshot"][:8]

    def refused(*names: str) -> str:
        with pytest.raises(HostError) as problem:
            only(host, *names)
        return str(problem.value)

    assert refused("team/app0") == (
        "only=team/app0: no registry serves on this host, and single repositories are restored "
        "into one that does: leave it out to restore everything"
    )
    serving(host)
    assert refused("../etc") == (
        "only=../etc: this is not the name of a repository: write team/app, team/** for all below "
        "team, or several with commas between them"
    )
    assert refused("team/app0", "team/ap") == (
        f"only=team/ap: snapshot {snapshot} has no such repository; it has: team/app0, team/app1, "
        "team/app2, team/index"
    )
    restoring.save(host.paths.restoring, Restoring("0123abcdef", RESTORED))
    assert refused("team/app0") == (
        "only=team/app0: the registry was restored from snapshot 0123abcd and has not been "
        "verified yet: run site.yml"
    )


def test_a_damaged_blob_leaves_the_repository_as_it_was(machine: Machine, tmp_path: Path) -> None:
    host = machine("first")
    tree = filled(host)
    layer = os.urandom(200_000)
    tree.image("team/large", "large", tag="broken", layers=[layer])
    tree.image("team/large", "small", tag="whole")
    snapshot = backed_up(host)["snapshot"][:8]
    serving(host)
    damaged(tmp_path / "repository")
    shutil.rmtree(tree.root / "repositories/team/large")
    digest = Tree(tmp_path / "x").blob(layer)
    tree.blob_path(digest).unlink()
    before = files(tree)
    with pytest.raises(HostError) as refused:
        only(host, "team/large")
    assert str(refused.value) == (
        f"restore: 1 blobs of snapshot {snapshot} are missing or damaged in the repository: "
        f"{digest}. They are needed by: team/large:broken. Nothing was changed: name an older "
        "snapshot, or write -e leave_out_damaged=true to restore what does not need them"
    )
    assert files(tree) == before
    assert restoring.load(host.paths.restoring) is None
    actions = only(host, "team/large", leave_out_damaged=True)
    assert actions[-1] == "left out, since blobs of them are damaged: team/large:broken"
    assert tree.tag_path("team/large", "whole").exists()
    assert not tree.tag_path("team/large", "broken").exists()


def test_writes_are_refused_only_there_and_accepted_again_after_a_kill(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = machine("first")
    tree = filled(host)
    backed_up(host)
    serving(host)
    host.paths.nginx.mkdir(parents=True)
    shutil.rmtree(tree.tag_path("team/app0", "v0"))

    def killed(*_: object, **__: object) -> None:
        text = host.paths.upstreams.read_text()
        assert '"~^(POST|PUT|PATCH|DELETE) /v2/(team/app0)/(manifests|blobs)/" 503;' in text
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(links, "write", killed)
        with pytest.raises(SystemExit):
            only(host, "team/app0")
    assert "503" not in host.paths.upstreams.read_text()
    # A kill leaves this, and the next run of the timer ends it.
    record = restoring.load(host.paths.restoring)
    assert record is not None
    assert record.step == BRINGING
    assert record.problem() == (
        f"the restore of team/app0 from snapshot {record.snapshot[:8]} was cut off: run "
        f"playbooks/restore.yml -e snapshot={record.snapshot[:8]} -e only=team/app0"
    )
    restoring.save(host.paths.restoring, Restoring(record.snapshot, CLOSED, ("team/app0",)))
    state = host.store.load()
    proxy.apply(host, state, proxy.serving_now(state))
    assert " 503;" in host.paths.upstreams.read_text()
    assert run("reopen", {}, host=host)["actions"] == ["team/app0: writes are accepted again"]
    assert " 503;" not in host.paths.upstreams.read_text()
    assert len(only(host, "team/app0")) == 1
