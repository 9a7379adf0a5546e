"""restic's words, as the mistakes that they mean: what is wrong, where, and what to write instead.

The words are those of restic 0.14 (Debian 12) and 0.18 (Debian 13); 0.14 has no exit codes that
tell mistakes apart. After any failure to open the repository both ask `Is there a repository at the
following location?`, so that question alone does not mean that there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..system.errors import HostError
from .place import Place, without_password


class NoRepository(HostError):
    """Nothing is at the repository's place yet."""


class Locked(HostError):
    """Another process works on the repository, or died while doing so."""


class Damaged(HostError):
    """The repository is not what restic has written."""


# How a directory, an sftp server, an S3 server and a rest-server say that a file is not there.
_ABSENT = re.compile(
    r"unable to open config file: (?:\w+: )?"
    r"(stat \S+: no such file or directory|(sftp: \")?file does not exist|"
    r"The specified key does not exist|<config/?\S*> does not exist)"
    r"|repository does not exist"
)
_WRONG_PASSWORD = "wrong password or no key found"
_LOCKED = "already locked"
_DAMAGED = "repository contains errors"
_HOLDER = re.compile(r"by PID (?P<pid>\d+) on (?P<host>\S+)")
_AGE = re.compile(r"lock was created at .*?\((?P<age>[^)]+) ago\)")

_NO_ANSWER = (
    "{server} does not answer this host: see that it is up, and that firewalls let this host reach "
    "it"
)
# In this order: (what restic or ssh says, what it means). {server}, {user}, {bucket}, {place} and
# DIRECTORY are those of backup_repository.
_MEANINGS = (
    (
        r"no such host|Could not resolve hostname|name resolution|server misbehaving",
        "this host finds no address for {server}: correct the name, or this host's DNS or "
        "/etc/hosts",
    ),
    (
        r"Host key verification failed",
        "{server} shows a host key that backup_ssh_host_keys does not have. If the server was "
        "set up again: run {keyscan}, compare the key with /etc/ssh/*.pub on the "
        "server, and write its lines as backup_ssh_host_keys",
    ),
    (
        r"Load key .*(libcrypto|invalid format)",
        "backup_ssh_key is not a private key that ssh can read: write the whole file, from BEGIN "
        "to END, of a key without a passphrase",
    ),
    (
        r"Permission denied \((publickey|password|keyboard)",
        "{server} refuses backup_ssh_key for {user}: add its public key to the "
        "authorized_keys of {user} there, or write the right key (one without a passphrase)",
    ),
    (
        r"subsystem request failed",
        "{server} takes the key and offers no sftp: switch its sftp subsystem on",
    ),
    (
        r"[Cc]onnection refused|[Nn]o route to host|i/o timeout|[Cc]onnection timed out|"
        r"[Nn]etwork is unreachable|[Cc]onnection reset|Connection closed by|"
        r"context deadline exceeded",
        _NO_ANSWER,
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "{server} speaks http without TLS: write http:// in place of https://",
    ),
    (
        r"x509: |certificate (signed by|is not|has expired|is valid|relies)",
        "this host does not trust the TLS certificate of {server}: put the certificate of its "
        "authority into /usr/local/share/ca-certificates on this host (NAME.crt) and run "
        "update-ca-certificates",
    ),
    (
        r"bucket does not exist|NoSuchBucket",
        "there is no bucket {bucket} on {server}: make it, or correct the name",
    ),
    (
        r"Access Denied|InvalidAccessKey|Access Key Id you provided|SignatureDoesNotMatch|"
        r"request signature we calculated",
        "{server} refuses the keys in backup_environment for the bucket {bucket}: correct "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let them read, write and delete there",
    ),
    (
        r"blob not removed, server response: 403|not removed.*403",
        "{server} lets nothing be removed (append-only): write backup_keep: {{}}, and remove old "
        "backups from another host (docs/backup.md)",
    ),
    (
        r"\(40[13]\)|40[13] (Unauthorized|Forbidden)",
        "{server} refuses the user or the password of the URL: write "
        "rest:https://USER:PASSWORD@HOST/ with the right ones",
    ),
    (
        r"DIRECTORY\S*: no space left on device|[Dd]isk quota exceeded|507 Insufficient",
        "the disk of {place} is full: free space there, or let fewer backups stay (backup_keep)",
    ),
    (
        r"no space left on device",
        "this host's own disk is full; restic keeps files in /tmp and /var/lib/wharfinger/backup: "
        "free space there",
    ),
    (
        r"SSH_FX_FAILURE",
        "{server} cannot write below {place}: its disk is full or mounted read-only",
    ),
    (
        r"[Rr]ead-only file system",
        "{place} is mounted read-only: mount it for writing",
    ),
    (
        r"[Pp]ermission denied",
        "{place} may not be written: give it to the user that writes there (on NFS: "
        "no_root_squash)",
    ),
    (
        r"not a directory",
        "{place} is not a directory: write the path of one",
    ),
    (
        r"restic is not installed",
        "restic is not installed on this host: run site.yml, which installs it",
    ),
    (r"did not answer within", _NO_ANSWER),
)


def failure(command: str, words: str, place: Place, secrets: Iterable[str] = ()) -> HostError:
    """What restic said, as the error that it means. `secrets`: values that no message may hold."""
    name = "backup_repository"
    if _WRONG_PASSWORD in words:
        return HostError(
            f"{name}: the repository at {place} was made with another password than this host has. "
            "Bring credentials/HOSTNAME-backup_password from the controller that made it, or write "
            "its password as backup_password, and run site.yml"
        )
    if is_absent(words):
        return no_repository(place)
    if _LOCKED in words:
        return Locked(f"{name}: {_holder(words)}")
    if _DAMAGED in words:
        return Damaged(words)
    directory = re.escape(str(place.directory)) if place.directory else "(?!)"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern.replace("DIRECTORY", directory), words):
            values = {"place": place, "server": place.server, "bucket": place.bucket}
            values |= {"user": place.user, "keyscan": place.keyscan}
            return HostError(f"{name}: {meaning.format(**values)}")
    for secret in secrets:
        words = words.replace(secret, "***")
    return HostError(
        f"restic {command}: {without_password(words) or 'it failed without a message'}"
    )


def no_repository(place: Place) -> NoRepository:
    """Nothing is at the place yet."""
    return NoRepository(
        f"backup_repository: there is no repository at {place} yet: run site.yml, which makes it"
    )


def is_absent(words: str) -> bool:
    """Whether restic found nothing where the repository should be. A server that does not answer
    is not that."""
    return bool(_ABSENT.search(words))


def is_other_password(words: str) -> bool:
    """Whether there is a repository that the password does not open."""
    return _WRONG_PASSWORD in words


def _holder(words: str) -> str:
    holder, age = _HOLDER.search(words), _AGE.search(words)
    which = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    since = f" for {age['age']}" if age else ""
    return (
        f"{which} has locked the repository{since}: try again when it has ended. If it has died "
        "there, its lock goes at the first try after 30 minutes"
    )
