"""What a host reports becomes typed facts; what it does not report has a default."""

from __future__ import annotations

import dataclasses
import json

import pytest

from wharfinger.deployment.certificate import Certificate
from wharfinger.deployment.facts import (
    Certificates,
    Container,
    Generations,
    HostFacts,
    Listener,
    Memory,
    Site,
    StackNetwork,
)
from wharfinger.deployment.reported import plain


def test_each_part_has_its_type() -> None:
    facts = HostFacts.of(
        {
            "listeners": [{"address": "::", "port": 80, "program": "nginx", "pid": 7}],
            "nginx": {"present": True, "servers": [{"file": "f", "listen": ["80"], "ours": True}]},
            "network": {"subnet": "10.0.0.0/28", "ours": None},
            "state": {"generations": {"registry": {"serving": {"number": 2}}}},
            "packages": {"nginx": None},
            "certificates": {"tls": {"not_after": 5, "names": ["r.example"]}, "ca": None},
            "containers": [{"name": "wharfinger-registry-2", "generation": 2, "running": True}],
        }
    )
    assert facts.listeners == (Listener("::", 80, "nginx", 7),)
    assert facts.nginx.servers == (Site("f", ("80",), ours=True),)
    assert facts.network == StackNetwork(subnet="10.0.0.0/28")
    assert facts.state.generations == {"registry": Generations({"number": 2})}
    assert facts.packages == {"nginx": None}
    tls = Certificate(not_after=5, names=("r.example",))
    assert facts.certificates == Certificates(tls=tls)
    assert facts.containers == (Container("wharfinger-registry-2", generation=2, running=True),)
    assert facts.serves


def test_a_host_of_which_little_could_be_seen_has_defaults() -> None:
    reported = {"python": "3.9", "storage": None, "state": {"error": "damaged", "network": None}}
    facts = HostFacts.of(reported)
    assert facts.storage is None
    assert facts.nginx.present is False
    assert facts.state.error == "damaged"
    assert not facts.serves
    assert HostFacts.of({}) == HostFacts()


def test_facts_are_not_changed_by_whoever_reads_them() -> None:
    facts = HostFacts()
    for field in dataclasses.fields(facts):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(facts, field.name, 1)


def test_they_travel_as_mappings_and_lists() -> None:
    facts = HostFacts(listeners=(Listener("::", 80),), state=Memory(error="damaged"))
    travelled = plain(facts)
    assert travelled["listeners"] == [{"address": "::", "port": 80, "program": None, "pid": None}]
    assert HostFacts.of(json.loads(json.dumps(travelled))) == facts
