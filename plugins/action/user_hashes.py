"""Finds, makes or keeps each user's bcrypt hash. The host is the memory; passwords stay here."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import bcrypt
from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from wharfinger import generated
from wharfinger.access.problems import listed
from wharfinger.host.files import sync_directory

COST = 10
# A robot's secret is 256 random bits: a slow hash would protect nothing, and cost every login.
ROBOT_COST = 4
# bcrypt takes no more bytes.
LONGEST = 72
# So many removed accounts, the newest, does a host remember.
REMOVED = 10_000
# So many secrets before the present one does the controller know of a robot.
FORMER = 50
# Beside the secrets: robot → the digests of its present secret and of those before it. No account
# has a name that begins with a dot.
ROTATIONS = ".rotations.json"


class ActionModule(ActionBase):
    """hashes (name → bcrypt hash), digests (name → SHA-256 of a generated secret), previous (robot
    → the secret before it, while that counts), record (users.json's text), and what is worth
    telling.

    Arguments: `users` and `robots` (registry_users, registry_robots), `credentials` (the directory
    for generated passwords), `regenerate` (a user's name, or empty), `rotation` (what `rotated`
    answered, or empty), `state`: with `renewed` it only makes the new password of `regenerate`
    (once for all hosts), which a later call without it then takes over; with `rotated`, likewise,
    the new secrets of the robots `names`, see there. Run it with no_log.

    `removed_accounts` is the text of the host's file of that name: the accounts that were removed.
    """

    _VALID_ARGS = frozenset(
        {"users", "robots", "credentials", "regenerate", "rotation", "state"}
        | {"names", "hosts", "overlap", "overlap_ends"}
    )

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Never changes the host by itself, apart from its own account's secret being prepared."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        credentials = Credentials(Path(self._task.args["credentials"]), self._task.check_mode)
        now = datetime.now(UTC)
        if self._task.args.get("state") == "rotated":
            result.update(self._rotated(credentials, now, left_out(task_vars or {})))
            return result
        users = self._task.args["users"]
        robots = list(map(str, self._task.args["robots"]))
        regenerate = self._task.args["regenerate"]
        if regenerate and (regenerate not in users or users[regenerate]):
            raise AnsibleActionFail(
                f"regenerate={regenerate}: only a generated password can be made anew, and "
                f"registry_users has no user {regenerate} without password and password_hash. "
                f"Write -e regenerate=NAME with one of: {self._generated(users)}."
            )
        if self._task.args.get("state") == "renewed":
            credentials.generate(regenerate, replace=True)
            result["changed"] = True
            return result
        prepared = self._execute_module(
            module_name="wharfinger_host", module_args={"command": "prepare"}, task_vars=task_vars
        )
        if prepared.get("failed"):
            return prepared
        # As host_vars of the task, a lazy container: plain Python from here on.
        plain = {str(name): dict(user or {}) for name, user in users.items()}
        known = prepared.get("users", {})
        with ThreadPoolExecutor() as pool:  # bcrypt lets go of the interpreter's lock
            entries = dict(
                zip(
                    plain,
                    pool.map(
                        lambda name: entry(
                            name, plain[name], known.get(name), credentials, name == regenerate
                        ),
                        plain,
                    ),
                    strict=True,
                )
            )
        rotation = Rotation.of(self._task.args.get("rotation") or {}, now)
        for name in robots:
            entries[name] = robot_entry(name, known.get(name), credentials, rotation)
        hashes = {name: found["hash"] for name, found in entries.items()}
        digests = {
            name: found["generated"]
            for name, found in entries.items()
            # A robot's record of an earlier version does not say whether its secret is random.
            if found.get("random", found.get("robot"))
        }
        if prepared.get("verification_hash"):
            hashes["wharfinger-verification"] = prepared["verification_hash"]
        if prepared.get("verification_digest"):
            digests["wharfinger-verification"] = prepared["verification_digest"]
        result.update(
            changed=credentials.changed or prepared.get("changed", False),
            hashes=hashes,
            digests=digests,
            previous={
                # Of a chosen secret there is no digest that the token server could compare.
                name: {
                    key: value
                    for key, value in found["previous"].items()
                    if key != "digest" or not value.startswith("$")
                }
                for name, found in entries.items()
                if "previous" in found
            },
            chosen=sorted(name for name in robots if entries[name].get("random") is False),
            record=json.dumps(entries, indent=1, sort_keys=True) + "\n",
            removed_accounts=json.dumps(
                remembered(prepared.get("removed", {}), known, entries, instant(now)), indent=1
            )
            + "\n",
            readmitted=sorted(
                name
                for name in {*prepared.get("removed", {})} & {*entries} - {*known}
                if not plain.get(name) and name != regenerate and name not in credentials.written
            ),
            generated=sorted(credentials.written),
            kept=sorted(credentials.kept),
            stale=sorted(credentials.stale),
            removed=removed(known, {*entries, *elsewhere(task_vars or {})}, credentials),
        )
        return result

    def _rotated(
        self,
        credentials: Credentials,
        now: datetime,
        others: Mapping[str, Collection[str]] | None = None,
    ) -> dict[str, Any]:
        """New secrets for the robots `names`, unless a run that was interrupted has made them.

        `hosts` are the records of all hosts (preflight's `robots`), `overlap` is in seconds. With
        `overlap_ends` no secret is made. others: the hosts that the run leaves out → their robots.
        Answers for the calls on each host: `names` (none where nothing is left to begin, so that a
        dry run tells of no new secrets), `until` ("" for no overlap), `ended`; and `lasting`, the
        robots for which nothing is, with `why`.
        """
        arguments = self._task.args
        names = [str(name) for name in arguments["names"]]
        hosts = list(arguments["hosts"])
        missed = {
            name: sorted(host for host, robots in (others or {}).items() if name in robots)
            for name in names
        }
        missed = {name: without for name, without in missed.items() if without}
        answer = {"changed": False, "names": [], "ended": [], "until": "", "lasting": {}, "why": ""}
        if arguments.get("overlap_ends"):
            return answer | {"ended": names, "names": ending(names, hosts, credentials, missed)}
        overlap = int(arguments["overlap"])
        until = instant(now + timedelta(seconds=overlap)) if overlap else ""
        begun, lasting = plan(names, hosts, credentials, overlap, instant(now), missed)
        if lasting and len(lasting) < len(names):
            raise AnsibleActionFail(f"robot: {already(lasting)}. Nothing was changed.")
        for name in begun:
            credentials.rotate(name, [host[name]["generated"] for host in hosts if name in host])
        for name, without in missed.items() if not lasting else ():
            self._display.warning(not_yet(name, without, until))
        why = f"robot: {already(lasting)}." if lasting else ""
        found = {"names": [] if lasting else names, "until": until, "lasting": lasting, "why": why}
        return answer | {"changed": bool(begun)} | found

    @staticmethod
    def _generated(users: dict[str, Any]) -> str:
        return ", ".join(sorted(name for name, user in users.items() if not user)) or "none"


class Credentials:
    """The directory beside the inventory with one generated password a file, 0700 and 0600."""

    def __init__(self, directory: Path, check_mode: bool) -> None:
        self.directory = directory
        self.check_mode = check_mode
        self.written: list[str] = []
        self.kept: list[str] = []
        self.stale: list[str] = []

    @property
    def changed(self) -> bool:
        """Whether a password was, or in check mode would be, generated."""
        return bool(self.written)

    def read(self, name: str) -> str | None:
        """The user's generated password, or None where this controller has none."""
        try:
            return (self.directory / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None

    def generate(self, name: str, replace: bool, size: int = generated.USER_BYTES) -> str:
        """Makes a password of `size` bytes, or takes the one that a run beside this has made."""
        password = generated.make(size)
        self.written.append(name)
        if self.check_mode or self._write(name, password, replace):
            return password
        return self.read(name) or password

    def _write(self, name: str, text: str, replace: bool) -> bool:
        """Whether the file was written: without `replace` one that is there stays."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self.directory / f".{name}.{secrets.token_hex(4)}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text + "\n")
            stream.flush()
            # The host keeps only its hash.
            os.fsync(stream.fileno())
        target = self.directory / name
        try:
            if replace:
                temporary.replace(target)
            else:
                os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self.directory)
        return True

    def rotate(self, name: str, on_hosts: Collection[str]) -> None:
        """A new secret for a robot; the digests of those before it are remembered.

        on_hosts: the digests of the secrets that the hosts have.
        """
        present = self.read(name)
        before = [*([identity(name, present)] if present else []), *on_hosts, *self.former(name)]
        digest = generated.digest(self.generate(name, replace=True, size=generated.ROBOT_BYTES))
        if self.check_mode:
            return
        # After the secret: a run that is killed in between has given it to no host.
        rotations = self._rotations() | {
            name: {"secret": digest, "former": list(dict.fromkeys(before))[:FORMER]}
        }
        self._write(ROTATIONS, json.dumps(rotations, indent=1, sort_keys=True), replace=True)

    def former(self, name: str) -> list[str]:
        """The digests of the secrets that the robot's present one, as it lies here, has replaced.

        A host that has one of these has missed a rotation. [] where the present one was not made
        by a rotation here: then nothing tells which secret is the newer one.
        """
        present, known = self.read(name), self._rotations().get(name)
        if present is None or known is None or known["secret"] != generated.digest(present):
            return []
        return list(known["former"])

    def _rotations(self) -> dict[str, dict[str, Any]]:
        try:
            text = (self.directory / ROTATIONS).read_text(encoding="utf-8")
            found: dict[str, dict[str, Any]] = json.loads(text)
            return found
        except FileNotFoundError:
            return {}
        except ValueError:
            raise AnsibleActionFail(
                f"{self.directory / ROTATIONS} is damaged. It says which secrets of robots are "
                "older than those in credentials/: bring it back from a backup; or remove it, and "
                "run playbooks/rotate_robots.yml without --limit the next time."
            ) from None


def entry(
    name: str,
    user: dict[str, str],
    known: dict[str, Any] | None,
    credentials: Credentials,
    regenerate: bool,
) -> dict[str, Any]:
    """One user's line of the record: `hash`, and for a generated secret `generated`, its SHA-256,
    and `random`: true.

    `generated` tells a stale file in credentials/ apart without a bcrypt round. With `random`, it
    is also what the token server compares. A record from before `random` existed, which has
    `generated` for whatever lay in credentials/, learns which it is from the first run that has
    the file. Of a chosen password no fast digest is kept.
    """
    if "password_hash" in user:
        return {"hash": user["password_hash"]}
    if "password" in user:
        password = user["password"].encode()
        if known and bcrypt.checkpw(password, known["hash"].encode()):
            return {"hash": known["hash"]}
        return {"hash": bcrypt.hashpw(password, bcrypt.gensalt(COST)).decode()}
    present = credentials.read(name)
    if known and not regenerate:
        if present is None:
            credentials.kept.append(name)
        elif not is_of(known, present):
            credentials.stale.append(name)
        else:
            return {"hash": known["hash"], **_digest_of(present)}
        # What was a robot has left the rest behind.
        keys = ("hash",) if known.get("random") is False else ("hash", "generated", "random")
        return {key: known[key] for key in keys if key in known}
    if present is None:
        present = credentials.generate(name, replace=False)
    if not 0 < len(present.encode()) <= LONGEST:
        raise AnsibleActionFail(
            f"credentials/{name} beside the inventory is {'too long' if present else 'empty'}, and "
            f"what it holds would be the password of {name}: remove the file, and a password is "
            f"generated, or write a password of 1 to {LONGEST} bytes into it."
        )
    made = bcrypt.hashpw(present.encode(), bcrypt.gensalt(COST)).decode()
    return {"hash": made, **_digest_of(present)}


def _digest_of(secret: str) -> dict[str, Any]:
    """What is recorded of a secret in credentials/ beside its hash: of a chosen word nothing."""
    if not generated.has_form(secret):
        return {}
    return {"generated": generated.digest(secret), "random": True}


def is_of(known: dict[str, Any], secret: str) -> bool:
    """Whether the secret in credentials/ is the one that the host knows."""
    if "generated" in known and known.get("random") is not False:
        return bool(known["generated"] == generated.digest(secret))
    plain = secret.encode()
    return len(plain) <= LONGEST and bcrypt.checkpw(plain, known["hash"].encode())


class Rotation(NamedTuple):
    """What this run does with robots' secrets; instants as `YYYY-MM-DDTHH:MM:SSZ`."""

    now: str
    names: frozenset[str] = frozenset()
    until: str = ""
    ended: frozenset[str] = frozenset()

    @classmethod
    def of(cls, answer: dict[str, Any], now: datetime) -> Rotation:
        """From the answer of `rotated`; empty: nothing is rotated."""
        return cls(
            instant(now),
            frozenset(map(str, answer.get("names", ()))),
            str(answer.get("until", "")),
            frozenset(map(str, answer.get("ended", ()))),
        )


def robot_entry(
    name: str, known: dict[str, Any] | None, credentials: Credentials, rotation: Rotation
) -> dict[str, Any]:
    """One robot's line of the record: `hash`, `generated` (`identity`), `random` (whether it is a
    generated secret), `robot`, and `previous` (`hash`, `digest` and `until`) as long as the secret
    before this one counts.

    A record of an earlier version learns `random` from the first run that has the file.

    What the host knows of a user of this name is nothing: it may be a password that somebody has
    chosen.
    """
    if known and not known.get("robot"):
        known = None
    present = credentials.read(name)
    if name in rotation.names and credentials.check_mode:
        present = credentials.generate(name, replace=True, size=generated.ROBOT_BYTES)
    taken_over = (
        known and present is not None and known.get("generated") in identities(name, present)
    )
    if known and (name not in rotation.names or taken_over):
        if present is None:
            credentials.kept.append(name)
        elif not taken_over:
            credentials.stale.append(name)
        ended = name in rotation.ended or known.get("previous", {}).get("until", "") <= rotation.now
        kept = {key: value for key, value in known.items() if key != "previous" or not ended}
        if taken_over and present is not None and "random" not in known:
            learned = secret_record(name, present)
            kept |= {"random": True} if learned["random"] else learned
        return kept
    if present is None:
        present = credentials.generate(name, replace=False, size=generated.ROBOT_BYTES)
    made: dict[str, Any] = {**secret_record(name, present), "robot": True}
    if known and rotation.until:
        made["previous"] = {
            "hash": known["hash"],
            "digest": known["generated"],
            "until": rotation.until,
        }
    return made


def secret_record(name: str, secret: str) -> dict[str, Any]:
    """What is recorded of a robot's secret; of one that somebody has chosen no fast digest."""
    found = identity(name, secret)
    if not generated.has_form(secret):
        return {"hash": found, "generated": found, "random": False}
    hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(ROBOT_COST)).decode()
    return {"hash": hashed, "generated": found, "random": True}


def identity(name: str, secret: str) -> str:
    """What tells a robot's secret from its others, and is the same on every host: the SHA-256 of a
    generated one, for a chosen one a bcrypt hash whose salt is made from the robot's name."""
    if generated.has_form(secret):
        return generated.digest(secret)
    if not 0 < len(secret.encode()) <= LONGEST:
        return ""
    salt = f"$2b${COST:02}${hashlib.sha256(name.encode()).hexdigest()[:21]}e"
    return bcrypt.hashpw(secret.encode(), salt.encode()).decode()


def identities(name: str, secret: str) -> set[str]:
    """`identity`, and what an earlier version recorded of any secret."""
    return {identity(name, secret), generated.digest(secret)}


def plan(
    names: list[str],
    hosts: list[dict[str, dict[str, Any]]],
    credentials: Credentials,
    overlap: int,
    now: str,
    missed: Collection[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """The robots that need a new secret, and those whose overlap lasts on every host → its end.

    A robot of neither kind is one whose new secret lies here and which hosts of this run lack: the
    run that made it was interrupted or limited, and this one goes on with it. Fails where the
    overlap that lasts is another controller's. missed: the robots that are on hosts which the run
    leaves out. Without an overlap each gets a new secret, whatever lasts; only not where the hosts
    left out have the present one, and those of this run do not: with one secret more, a robot
    would have no secret that works everywhere.
    """
    begun: list[str] = []
    lasting: dict[str, str] = {}
    for name in names:
        had = {host[name]["generated"] for host in hosts if name in host}
        if name in missed and had and had <= {*credentials.former(name)}:
            continue
        ends = [(host.get(name) or {}).get("until") or "" for host in hosts]
        last = [until for until in ends if until > now]
        if not overlap or not last:
            begun.append(name)
            continue
        present = credentials.read(name)
        here = present is not None and all(
            host[name]["generated"] in identities(name, present)
            for host, until in zip(hosts, ends, strict=True)
            if until > now
        )
        if not here:
            raise another_copy(name, max(last))
        # A host that has not met the robot yet gets its present secret.
        if len(last) == sum(name in host for host in hosts):
            lasting[name] = max(last)
    return begun, lasting


def ending(
    names: list[str],
    hosts: list[dict[str, dict[str, Any]]],
    credentials: Credentials,
    missed: Mapping[str, list[str]],
) -> list[str]:
    """The robots whose present secret some of the hosts still lack, where overlaps are to end.

    These get it, or no secret would work everywhere, and the former one would go on working there.
    """
    found = []
    for name in names:
        if name in missed:
            raise AnsibleActionFail(
                f"overlap_ends: {name} is also on {listed(missed[name])}, which this run leaves "
                "out: while one host takes the former secret alone and another the present one "
                "alone, no secret works on both. Run it without --limit; or, where the former "
                "secret has leaked and not every host can be reached, write -e overlap=0 instead. "
                "Nothing was changed."
            )
        records = [host[name] for host in hosts if name in host]
        lagging = {record["generated"] for record in records} & (
            {record.get("former") for record in records} | {*credentials.former(name)}
        )
        if not lagging:
            continue
        present = credentials.read(name)
        newest = {record["generated"] for record in records} - lagging
        if present is None or not newest or not newest <= identities(name, present):
            raise another_copy(name, max(record["until"] or "" for record in records))
        found.append(name)
    return found


def another_copy(name: str, until: str) -> AnsibleActionFail:
    """What is said of a robot whose present secret lies on another controller."""
    return AnsibleActionFail(
        f"robot: {name} has been given a new secret from another copy of this inventory, "
        f"whose credentials/{name} this one lacks; the former secret is valid until "
        f"{until}. Take the file from there, or write -e overlap=0, which refuses "
        "both at once. Nothing was changed."
    )


def not_yet(name: str, hosts: list[str], until: str) -> str:
    """What is said of a robot's hosts to which a rotation was not brought."""
    when = f" before {until}, when the former one is refused here" if until else ""
    return (
        f"robot: {name} is also on {listed(hosts)}, which this run leaves out and where the new "
        f"secret does not work yet: run playbooks/rotate_robots.yml -e robot={name} "
        f"--limit {','.join(hosts)} from here{when}"
    )


def already(lasting: dict[str, str]) -> str:
    """What is said of robots whose overlap lasts, and what to do."""
    names = ", ".join(f"{name} (until {until})" for name, until in sorted(lasting.items()))
    return (
        f"the secret before the present one is still valid for {names}, and a robot has no more "
        "than two: wait until then, or write -e overlap_ends=now to refuse the former one at once, "
        "or -e overlap=0 for a new secret that refuses both"
    )


def instant(moment: datetime) -> str:
    """As the token server reads it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def elsewhere(task_vars: dict[str, Any]) -> set[str]:
    """The names of users and robots that other registries of the inventory have."""
    others = {*task_vars["groups"].get("registry", [])} - {task_vars["inventory_hostname"]}
    return {
        name
        for host in others
        for variable in ("registry_users", "registry_robots")
        for name in accounts(task_vars, host, variable)
    }


def left_out(task_vars: dict[str, Any]) -> dict[str, set[str]]:
    """The registries of the same folder that the run is limited not to reach → their robots."""
    every, own = task_vars["hostvars"], task_vars.get("inventory_dir")
    others = {*task_vars["groups"].get("registry", [])} - {*task_vars["ansible_play_hosts"]}
    return {
        host: accounts(task_vars, host, "registry_robots")
        for host in others
        if every[host].get("inventory_dir") == own
    }


def accounts(task_vars: dict[str, Any], host: str, variable: str) -> set[str]:
    """The names in registry_users or registry_robots of any host; none where they are unknown."""
    found = task_vars["hostvars"].raw_get(host).get(variable)
    if isinstance(found, str):
        # An expression. Where names stand there themselves, no password is decrypted for them.
        try:
            found = task_vars["hostvars"][host][variable]
        except AnsibleError:
            return set()
    return {*map(str, found)} if isinstance(found, Mapping) else set()


def remembered(
    before: Mapping[str, str], known: Collection[str], entries: Collection[str], now: str
) -> dict[str, str]:
    """Removed account → when it was removed: those of before and, of what the host knows, all that
    the inventory lacks. Who is in the inventory again has been readmitted, and is forgotten."""
    found = {name: before.get(name, now) for name in {*before, *known} - {*entries}}
    newest = sorted(found, key=lambda name: (found[name], name))[-REMOVED:]
    return {name: found[name] for name in newest}


def removed(
    known: dict[str, dict[str, Any]], users: set[str], credentials: Credentials
) -> list[str]:
    """Users and robots that the host knew and the inventory does not, whose password is still here.

    It is not deleted: added again, the user would get it back.
    """
    return sorted(
        name
        for name, entry in known.items()
        if name not in users
        and (present := credentials.read(name)) is not None
        and is_of(entry, present)
    )
