"""What cosign signs at the upstream verifies at the mirror. Debian 13's cosign on the client; no
transparency log is used, since none can be reached from here.

It runs after test_mirrors.py, which leaves both upstreams filled.
"""

from __future__ import annotations

import os

import pytest

from load.plays import Operator
from support import hosts

UPSTREAM, MIRROR = "upstream.wharfinger.test", "mirror.wharfinger.test"
MIRROR_PLAY = "playbooks/mirror.yml"
TAG = "12.9"
# `cosign` is the key of who signs, `other` that of somebody else.
PREPARE = """
mkdir -p /root/signing && cd /root/signing
cat > both.crt
for name in cosign other; do
  rm -f $name.key $name.pub
  cosign generate-key-pair --output-key-prefix $name
done
echo '{"built": "here"}' > predicate.json
"""
SIGN = "cosign sign --key cosign.key --tlog-upload=false --yes $D"
SIGN_BY_REFERRER = (
    "COSIGN_EXPERIMENTAL=1 cosign sign --registry-referrers-mode oci-1-1 --key cosign.key "
    "--tlog-upload=false --yes $D"
)
ATTEST = (
    "cosign attest --key cosign.key --tlog-upload=false --yes --type custom "
    "--predicate predicate.json $D"
)
VERIFY = "cosign verify --key cosign.pub --insecure-ignore-tlog $D"
VERIFY_BY_REFERRER = (
    "COSIGN_EXPERIMENTAL=1 cosign verify --experimental-oci11 --key cosign.pub "
    "--insecure-ignore-tlog $D"
)
VERIFY_ATTESTATION = (
    "cosign verify-attestation --key cosign.pub --insecure-ignore-tlog --type custom $D"
)


def ran(script: str, image: str = "", text: str = "") -> tuple[int, str]:
    """Runs a script on the client, with $D as the image; returns exit code and output."""
    head = (
        "set -euo pipefail; export HOME=/root DOCKER_CONFIG=/root/signing/docker"
        f" COSIGN_PASSWORD= SSL_CERT_FILE=/root/signing/both.crt D={image}; "
    )
    enter = "" if script == PREPARE else "cd /root/signing; "
    done = hosts.run_with_input("client", ["bash", "-c", head + enter + script], text)
    return done.returncode, done.stdout + done.stderr


def good(script: str, image: str = "", text: str = "") -> str:
    """The same for a script that must succeed."""
    code, output = ran(script, image, text)
    assert code == 0, f"{script}:\n{output[-3000:]}"
    return output


@pytest.fixture(scope="module")
def operator() -> Operator:
    return Operator(hosts.inventory_file().parent, "mirror")


def test_signatures_and_attestations_verify_at_the_mirror(operator: Operator) -> None:
    admin, reader = hosts.account("admin"), hosts.account("readonly")
    authorities = [hosts.authority(name).read_text() for name in ("upstream", "mirror")]
    good(PREPARE, text="".join(authorities))
    for user, registry in ((admin, UPSTREAM), (reader, MIRROR)):
        login = f"cosign login --username {user.name} --password-stdin {registry}"
        good(login, text=user.password)
    pushed = hosts.registry("upstream").push(admin, "team/debian", TAG, os.urandom(4096))
    assert pushed.status == 201
    digest = pushed.headers["docker-content-digest"]
    origin, copy = f"{UPSTREAM}/team/debian@{digest}", f"{MIRROR}/base/debian@{digest}"
    good(SIGN, origin)
    operator.play(MIRROR_PLAY, update=True)
    assert digest in good(VERIFY, copy)
    # Another key has not signed it.
    assert ran(VERIFY.replace("cosign.pub", "other.pub"), copy)[0] != 0
    assert ran(VERIFY_ATTESTATION, copy)[0] != 0
    # What is attached to a locked image later is copied, too, though the lock stays as it is.
    lock = (hosts.inventory_file().parent / "mirror.lock").read_text()
    good(SIGN_BY_REFERRER, origin)
    good(ATTEST, origin)
    operator.play(MIRROR_PLAY)
    good(VERIFY_BY_REFERRER, copy)
    good(VERIFY_ATTESTATION, copy)
    good(VERIFY, copy)
    assert (hosts.inventory_file().parent / "mirror.lock").read_text() == lock
    assert operator.play(MIRROR_PLAY).changed == 0
