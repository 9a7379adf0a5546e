"""The states of a host's container engine, in one table.

`observe` finds the state, roles act on it, preflight reports what prevents a deployment, and
docs/platforms.md shows the table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EngineState:
    """One row. `deployment`: what a deployment does with an engine in this state. It "installs"
    one, "starts" it, "uses" it as it is, or "stops" before anything is changed, with `message`:
    what is wrong and what to do. `{detail}` in it stands for what was seen on the host."""

    name: str
    deployment: str
    message: str = ""


ABSENT = EngineState("absent", "installs")
# Only a client, or a dockerd that no service starts: neither can run a container.
CLIENT_ONLY = EngineState("client only", "installs")
STOPPED = EngineState("stopped", "starts")
RUNNING = EngineState("running", "uses")
MASKED = EngineState(
    "masked",
    "stops",
    "Docker cannot start, because it is masked in systemd: run `systemctl unmask {detail}`",
)
MISCONFIGURED = EngineState("misconfigured", "stops", "Docker would not start: {detail}")
ELSEWHERE = EngineState("elsewhere", "stops", "{detail}")
SILENT = EngineState(
    "silent",
    "stops",
    "Docker runs ({detail}), but it does not answer at /var/run/docker.sock: look for the reason "
    "in its log, and restart it",
)
PARTS = EngineState(
    "parts",
    "stops",
    "there is no engine, and the distribution's docker.io would replace {detail}: "
    "install the engine that belongs to it (docker-ce, from Docker's own repository), "
    "or remove {detail}; Wharfinger then installs the distribution's",
)
ROOTLESS = EngineState(
    "rootless",
    "stops",
    "Docker runs rootless, and nginx cannot reach its containers' addresses: "
    "use an engine that runs as root (remove the rootless one, or use another host)",
)
USERNS = EngineState(
    "userns-remap",
    "stops",
    "Docker maps user ids (userns-remap), so the registry could not own its data: "
    "remove userns-remap from /etc/docker/daemon.json, or use another host",
)
SNAP = EngineState(
    "snap",
    "stops",
    "Docker comes from a snap, which cannot read /etc and /var/lib: "
    "remove it (snap remove docker); Wharfinger then installs the distribution's",
)
PODMAN = EngineState(
    "podman",
    "stops",
    "{detail}; Wharfinger then installs the distribution's Docker",
)

STATES = {
    state.name: state
    for state in (
        *(ABSENT, CLIENT_ONLY, STOPPED, RUNNING),
        *(MASKED, MISCONFIGURED, ELSEWHERE, SILENT, PARTS),
        *(ROOTLESS, USERNS, SNAP, PODMAN),
    )
}
