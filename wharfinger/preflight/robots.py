"""Robots' secrets: those beside the inventory, and those that the host knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from wharfinger.deployment.facts import HostFacts
from wharfinger.deployment.problems import Report

from .controller import on_controller

#: 256 random bits, as `secrets.token_urlsafe(32)` writes them.
SECRET = re.compile(rb"[A-Za-z0-9_-]{43}\n?")


def rotating(host: HostFacts, now: float) -> dict[str, str]:
    """Robots with two secrets on this host → the instant until which the former one is valid."""
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        name: robot.until
        for name, robot in host.robots.items()
        if robot.until and robot.until > moment
    }


def check_two_secrets(
    good: Mapping[str, Any], host: HostFacts, controller: Mapping[str, Any], report: Report
) -> None:
    """Reports robots with two valid secrets if the token server supports only one."""
    if good.get("docker_auth_server") != "cesanta":
        return
    for name, until in rotating(host, controller["clock"][1]).items():
        if name in good.get("registry_robots", {}):
            report.error(
                "docker_auth_server",
                "is cesanta, which supports only one secret per robot, and the former one of "
                f"{name} is valid until {until}: write embedded until then, or end it before with "
                f"playbooks/rotate_robots.yml -e robot={name} -e overlap_ends=now",
            )


def check_secrets(
    good: Mapping[str, Any], host: HostFacts, controller: Mapping[str, Any], report: Report
) -> None:
    """Reports files that would become a robot's secret and were not generated.

    The fast hash of a robot's secret does not protect a weaker one.
    """
    robots = good.get("registry_robots", {})
    if not isinstance(robots, Mapping):
        return
    for name in robots:
        if not isinstance(name, str) or name in host.robots or "/" in name:
            continue
        try:
            secret = on_controller(f"credentials/{name}", controller).read_bytes()
        except OSError:
            continue
        if not SECRET.fullmatch(secret):
            report.error(
                "registry_robots",
                f"credentials/{name} beside the inventory is not the secret of a robot (of "
                "a user of that name, perhaps): move it away, and one is generated",
                name,
            )
