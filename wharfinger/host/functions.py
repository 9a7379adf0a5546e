"""What each command runs: each function here imports one, and returns it.

Neither the zipapp nor Ansible's module keeps bytecode, so every imported module is compiled at each
start. So only the modules of the command that runs are imported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .system.context import Host

Request = Mapping[str, Any]
Answer = dict[str, Any]
# Parameters: host, request, dry run. The answer is that of `commands.run`.
Function = Callable[[Host, Request, bool], Answer]


def backup() -> Function:
    from .backup.backup import backup

    return backup


def backup_repository() -> Function:
    from .backup.backup import repository

    return repository


def backups() -> Function:
    from .backup.catalog import backups

    return backups


def base_images() -> Function:
    from .base_images.job import base_images

    return base_images


def certificates() -> Function:
    from .keys.renewal import certificates

    return certificates


def check_contents() -> Function:
    from .contents.scrub import scrub

    return scrub


def collect() -> Function:
    from .contents.collection import collect

    return collect


def contents() -> Function:
    from .contents.runner import contents

    return contents


def drill() -> Function:
    from .backup.drill import drill

    return drill


def ensure() -> Function:
    from .contents.maintenance import ensure

    return ensure


def failed() -> Function:
    from .observation.watching import failed

    return failed


def follow() -> Function:
    from .rollout.generations import refresh

    return refresh


def images() -> Function:
    from .rollout.images import images

    return images


def look_upstream() -> Function:
    from .mirrors.mirror import look_upstream

    return look_upstream


def mirror() -> Function:
    from .mirrors.mirror import mirror

    return mirror


def mirrors() -> Function:
    from .mirrors.catalog import mirrors

    return mirrors


def network() -> Function:
    from .setup.network import network

    return network


def observe() -> Function:
    from ..deployment.reported import plain
    from .observation.observe import observe

    return lambda host, request, check: dict(plain(observe(host, request)))


def packages() -> Function:
    from .setup.apt import packages

    return packages


def prepare() -> Function:
    from .setup.prepare import prepare

    return prepare


def proxy() -> Function:
    from .rollout.proxy import proxy

    return proxy


def reachable() -> Function:
    from .observation.reach import reachable

    return reachable


def reload_proxy() -> Function:
    from .rollout.proxy import reload_proxy

    return reload_proxy


def remove() -> Function:
    from .setup.remove import remove

    return remove


def reopen() -> Function:
    from .contents.maintenance import reopen

    return reopen


def renew() -> Function:
    from .timer import renew

    return renew


def restore() -> Function:
    from .backup.restore import restore

    return restore


def restored() -> Function:
    from .backup.restore import restored

    return restored


def restore_repositories() -> Function:
    from .backup.repositories import restore_repositories

    return restore_repositories


def retention() -> Function:
    from .contents.retention import retention

    return retention


def rollback() -> Function:
    from .rollout.rollback import rollback

    return rollback


def rotate() -> Function:
    from .keys.renewal import rotate

    return rotate


def service() -> Function:
    from .setup.service import service

    return service


def site() -> Function:
    from .setup.site import site

    return site


def status() -> Function:
    from .observation.status import status

    return status


def verify() -> Function:
    from .observation.verify import verify

    return verify


def withdraw() -> Function:
    from .rollout.generations import withdraw

    return withdraw
