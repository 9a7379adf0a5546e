"""What restic 0.14 and OpenSSH 9.2 say of each mistake, recorded, and the message it becomes."""

from __future__ import annotations

import pytest

from wharfinger.host.backup.failures import Locked, NoRepository, failure
from wharfinger.host.backup.place import Place

DIRECTORY = "/mnt/backup/registry"
SFTP = "sftp://keeper@store.example.com:2222//srv/registry"
S3 = "s3:https://s3.example.com/backups/registry"
REST = "rest:https://host1:hunter2@store.example.com:8000/"
QUESTION = "Is there a repository at the following location?"
EOF = f"Fatal: unable to open repository at {SFTP}: unable to start the sftp session, error: EOF"


def opening(words: str, place: str) -> str:
    return f"Fatal: unable to open config file: {words}\n{QUESTION}\n{place}"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (DIRECTORY, opening(f"stat {DIRECTORY}/config: no such file or directory", DIRECTORY)),
        (SFTP, opening("Lstat: file does not exist", SFTP)),
        (S3, opening("Stat: The specified key does not exist.", S3)),
        (REST, opening("<config/> does not exist", REST)),
        # restic 0.18
        (
            DIRECTORY,
            "Fatal: repository does not exist: unable to open config file: stat "
            f"{DIRECTORY}/config: no such file or directory\n{QUESTION}\n{DIRECTORY}",
        ),
    ],
)
def test_a_place_without_a_repository(place: str, words: str) -> None:
    problem = failure("cat", words, Place(place))
    assert isinstance(problem, NoRepository)
    assert str(problem) == (
        f"backup_repository: there is no repository at {place.replace('hunter2', '***')} yet: run "
        "site.yml, which makes it"
    )


MEANINGS = [
    (
        DIRECTORY,
        "Fatal: wrong password or no key found",
        f"the repository at {DIRECTORY} was made with another password than this host has. Bring "
        "credentials/HOSTNAME-backup_password from the controller that made it, or write its "
        "password as backup_password, and run site.yml",
    ),
    (
        S3,
        opening(
            'Stat: Get "https://s3.example.com/backups/?location=": dial tcp: lookup '
            "s3.example.com on 10.0.0.1:53: no such host",
            S3,
        ),
        "this host finds no address for s3.example.com: correct the name, or this host's DNS or "
        "/etc/hosts",
    ),
    (
        SFTP,
        "subprocess ssh: ssh: Could not resolve hostname store.example.com: Name or service not "
        f"known\n{EOF}",
        "this host finds no address for store.example.com:2222: correct the name, or this host's "
        "DNS or /etc/hosts",
    ),
    (
        SFTP,
        "subprocess ssh: @    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n"
        f"subprocess ssh: Host key verification failed.\n{EOF}",
        "store.example.com:2222 shows a host key that backup_ssh_host_keys does not have. If the "
        "server was set up again: run ssh-keyscan -p 2222 store.example.com, compare the key with "
        "/etc/ssh/*.pub on the server, and write its lines as backup_ssh_host_keys",
    ),
    (
        SFTP,
        'subprocess ssh: Load key "/etc/wharfinger/backup/ssh_key": error in libcrypto\n'
        "subprocess ssh: keeper@store.example.com: Permission denied (publickey,keyboard-"
        f"interactive).\n{EOF}",
        "backup_ssh_key is not a private key that ssh can read: write the whole file, from BEGIN "
        "to END, of a key without a passphrase",
    ),
    (
        SFTP,
        f"subprocess ssh: keeper@store.example.com: Permission denied (publickey).\n{EOF}",
        "store.example.com:2222 refuses backup_ssh_key for keeper: add its public key to the "
        "authorized_keys of keeper there, or write the right key (one without a passphrase)",
    ),
    (
        SFTP,
        f"subprocess ssh: subsystem request failed on channel 0\n{EOF}",
        "store.example.com:2222 takes the key and offers no sftp: switch its sftp subsystem on",
    ),
    (
        SFTP,
        "subprocess ssh: ssh: connect to host store.example.com port 2222: Connection refused\n"
        + EOF,
        "store.example.com:2222 does not answer this host: see that it is up, and that firewalls "
        "let this host reach it",
    ),
    (
        S3,
        opening(
            'Stat: Head "https://s3.example.com/backups/registry/config": http: server gave HTTP '
            "response to HTTPS client",
            S3,
        ),
        "s3.example.com speaks http without TLS: write http:// in place of https://",
    ),
    (
        REST,
        opening(
            'client.Head: Head "https://host1:***@store.example.com:8000/config": x509: '
            "certificate signed by unknown authority",
            REST,
        ),
        "this host does not trust the TLS certificate of store.example.com:8000: put the "
        "certificate of its authority into /usr/local/share/ca-certificates on this host "
        "(NAME.crt) and run update-ca-certificates",
    ),
    (
        S3,
        opening("Stat: The specified bucket does not exist.", S3),
        "there is no bucket backups on s3.example.com: make it, or correct the name",
    ),
    (
        S3,
        opening("Stat: Access Denied.", S3),
        "s3.example.com refuses the keys in backup_environment for the bucket backups: correct "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let them read, write and delete there",
    ),
    (
        REST,
        "unable to remove <snapshot/122f80038c> from the repository\n"
        "blob not removed, server response: 403 Forbidden (403)",
        "store.example.com:8000 lets nothing be removed (append-only): write backup_keep: {}, and "
        "remove old backups from another host (docs/backup.md)",
    ),
    (
        REST,
        opening("unexpected HTTP response (401): 401 Unauthorized", REST),
        "store.example.com:8000 refuses the user or the password of the URL: write "
        "rest:https://USER:PASSWORD@HOST/ with the right ones",
    ),
    (
        DIRECTORY,
        f"Fatal: unable to save snapshot: write {DIRECTORY}/data/90/903d-tmp-1: no space left on "
        "device",
        f"the disk of {DIRECTORY} is full: free space there, or let fewer backups stay "
        "(backup_keep)",
    ),
    (
        SFTP,
        "Fatal: unable to save snapshot: write /tmp/restic-temp-pack-1: no space left on device",
        "this host's own disk is full; restic keeps files in /tmp and /var/lib/wharfinger/backup: "
        "free space there",
    ),
    (
        SFTP,
        'Fatal: unable to save snapshot: Write: sftp: "Failure" (SSH_FX_FAILURE)',
        f"store.example.com:2222 cannot write below {SFTP}: its disk is full or mounted read-only",
    ),
    (
        DIRECTORY,
        f"Fatal: create repository at {DIRECTORY} failed: mkdir {DIRECTORY}: read-only file system",
        f"{DIRECTORY} is mounted read-only: mount it for writing",
    ),
    (
        DIRECTORY,
        f"Fatal: create repository at {DIRECTORY} failed: mkdir {DIRECTORY}: permission denied",
        f"{DIRECTORY} may not be written: give it to the user that writes there (on NFS: "
        "no_root_squash)",
    ),
    (
        DIRECTORY,
        f"Fatal: unable to open repository at {DIRECTORY}: ReadDir: open {DIRECTORY}/keys: not a "
        "directory",
        f"{DIRECTORY} is not a directory: write the path of one",
    ),
    # restic 0.18 goes on trying, and is ended.
    (
        DIRECTORY,
        f"Stat(<config/>) returned error, retrying after 6.4s: stat {DIRECTORY}/config: not a "
        "directory\n\nrestic did not answer within 120 s",
        f"{DIRECTORY} is not a directory: write the path of one",
    ),
    (
        S3,
        "restic did not answer within 120 s",
        "s3.example.com does not answer this host: see that it is up, and that firewalls let this "
        "host reach it",
    ),
    (
        DIRECTORY,
        "restic is not installed",
        "restic is not installed on this host: run site.yml, which installs it",
    ),
]


@pytest.mark.parametrize(("place", "words", "meaning"), MEANINGS)
def test_the_message_of_each_mistake(place: str, words: str, meaning: str) -> None:
    problem = failure("cat", words, Place(place))
    assert not isinstance(problem, (NoRepository, Locked))
    assert str(problem) == f"backup_repository: {meaning}"


def test_who_holds_a_lock() -> None:
    words = (
        "Fatal: unable to create lock in backend: repository is already locked by PID 17 on vm2 by "
        "root (UID 0, GID 0)\nlock was created at 2026-11-30 10:00:00 (2m30.1s ago)\nstorage ID "
        "f0e1\nthe `unlock` command can be used to remove stale locks"
    )
    problem = failure("forget", words, Place(DIRECTORY))
    assert isinstance(problem, Locked)
    assert str(problem) == (
        "backup_repository: process 17 on vm2 has locked the repository for 2m30.1s: try again "
        "when it has ended. If it has died there, its lock goes at the first try after 30 minutes"
    )


def test_an_unknown_message_is_shown_without_secrets() -> None:
    words = "Fatal: odd: rest:https://host1:hunter2@x/ with the key s3cr3t"
    assert str(failure("init", words, Place(REST), ["s3cr3t"])) == (
        "restic init: Fatal: odd: rest:https://host1:***@x/ with the key ***"
    )
    assert str(failure("init", "", Place(REST))) == "restic init: it failed without a message"
