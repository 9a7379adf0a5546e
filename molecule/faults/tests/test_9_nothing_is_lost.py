"""After all faults: every push that was ever acknowledged is there, and the host is well."""

from __future__ import annotations

import json

from faults import Bench


def test_every_acknowledged_push_is_pulled_with_equal_digests(bench: Bench) -> None:
    bench.load.stop()
    references = bench.acknowledged()
    assert len(references) > 50
    assert bench.lost(references) == []


def test_every_blob_is_whole(bench: Bench) -> None:
    report = json.loads(bench.run("wharfinger-host check_contents --json"))
    assert report["ok"] and report["blobs"] > 50


def test_the_host_is_well(bench: Bench) -> None:
    bench.run("wharfinger-host status")
    bench.run("systemctl start wharfinger-renew.service")
