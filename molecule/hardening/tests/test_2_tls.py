"""sslyze's findings about the served TLS, compared with Mozilla's intermediate profile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import evidence, hosts

PROJECT = Path(__file__).resolve().parents[3]
# sslyze needs an older cryptography than the project, so it has its own environment.
SSLYZE = [
    *(str(PROJECT / ".venv/bin/uv"), "run", "--quiet", "--no-project", "--isolated"),
    *("--python", sys.executable),
    *("--with-requirements", str(PROJECT / "requirements/tls.txt"), "python", "-m", "sslyze"),
]
OLD = ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1")


@pytest.fixture(scope="module")
def report(name: str, address: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """sslyze's findings by scan, and its readable report under `text`."""
    path = tmp_path_factory.mktemp("sslyze") / "report.json"
    authority = hosts.inventory_file().parent / f"credentials/{name}.wharfinger.test-ca.crt"
    assert authority.exists()
    command = [*SSLYZE, "--mozilla_config=intermediate", f"--certinfo_ca_file={authority}"]
    command += [f"--json_out={path}", f"{name}.wharfinger.test:443{{{address}}}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert path.exists(), done.stdout + done.stderr
    (scanned,) = json.loads(path.read_text())["server_scan_results"]
    assert scanned["scan_status"] == "COMPLETED", done.stdout
    words = done.stdout.partition("SCAN RESULTS")[2]
    return dict(scanned["scan_result"]) | {"text": words, "code": done.returncode}


def test_nothing_is_found_against_the_profile(name: str, report: dict[str, Any]) -> None:
    assert f"{name}.wharfinger.test:443: OK - Compliant." in report["text"], report["text"]
    assert report["code"] == 0


def test_old_protocols_and_ciphers_are_refused(report: dict[str, Any]) -> None:
    for protocol in OLD:
        suites = report[f"{protocol}_cipher_suites"]["result"]
        assert suites["accepted_cipher_suites"] == [], protocol
        assert suites["rejected_cipher_suites"], protocol
    for protocol in ("tls_1_2", "tls_1_3"):
        accepted = report[f"{protocol}_cipher_suites"]["result"]["accepted_cipher_suites"]
        assert accepted
        assert all(suite["ephemeral_key"] for suite in accepted), protocol
    assert report["heartbleed"]["result"]["is_vulnerable_to_heartbleed"] is False
    assert report["tls_compression"]["result"]["supports_compression"] is False
    renegotiation = report["session_renegotiation"]["result"]
    assert renegotiation["is_vulnerable_to_client_renegotiation_dos"] is False


def test_the_clients_authority_and_no_other_vouches(name: str, report: dict[str, Any]) -> None:
    for deployment in report["certificate_info"]["result"]["certificate_deployments"]:
        trusted = {
            validation["trust_store"]["name"]: validation["was_validation_successful"]
            for validation in deployment["path_validation_results"]
        }
        assert trusted.pop("Supplied CA file") is True
        assert set(trusted.values()) == {False}
    # Written last, after all checks have passed.
    evidence.write(
        f"tls-{name}.md",
        f"TLS as sslyze sees it, on {name}",
        "molecule verify --scenario-name hardening",
        "An authority of the registry's own is trusted by no system as it comes: that is what the"
        " lines of other stores say.\n\n```text\n" + report["text"].strip() + "\n```",
    )
