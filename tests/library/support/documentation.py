"""Every YAML block of README and docs, and the inventories that they make up, word for word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from support.inventory_files import dump, private

PROJECT = Path(__file__).resolve().parents[3]

#: A block's page and its first line.
Key = tuple[str, str]

CONFIGURATION, CERTIFICATES = "docs/configuration.md", "docs/certificates.md"
ACCESS, ROBOTS = "docs/access.md", "docs/robots.md"
WISHES = (ACCESS, "# Everyone has a place of their own and reads everything else.")

#: Blocks of the token server's own file, which are not part of any inventory.
AUTH_CONFIG: tuple[Key, ...] = (
    (
        "docs/token-server.md",
        "limits:                    # of docker_auth_…_failures in the inventory; all of it may be "
        "left away",
    ),
    ("docs/token-server.md", "users:"),
)


@dataclass(frozen=True)
class Inventory:
    """blocks: each becomes a file, in this order; context: the variables that they also need."""

    blocks: tuple[Key, ...]
    context: Mapping[str, Any] = field(default_factory=dict)


INVENTORIES: Mapping[str, Inventory] = {
    "start": Inventory(
        (
            ("README.md", "# inventory/NAME/group_vars/registry/users.yml"),
            (
                "README.md",
                "# inventory/NAME/group_vars/registry/access.yml: the first rule that matches "
                "decides",
            ),
            (CONFIGURATION, "registry_settings:"),
            (CONFIGURATION, "registry_retention:"),
            (
                CERTIFICATES,
                'certificates_alert_command: mail -s "$WHARFINGER_HOSTNAME" admin@example.com',
            ),
            ("docs/images.md", "images_source: archive"),
            ("docs/backup.md", "# group_vars/registry/backup.yml"),
            ("docs/base-images.md", "# group_vars/registry/base_images.yml"),
            ("docs/mirrors.md", "# group_vars/registry/mirrors.yml"),
        )
    ),
    "access": Inventory(
        (
            (ACCESS, "# group_vars/registry/users.yml"),
            (ACCESS, "# group_vars/registry/access.yml"),
            (
                CERTIFICATES,
                'certificates_alert_command: "curl -fsS -m 30 --data-binary @- '
                'https://alerts.example.com/hook"',
            ),
            ("docs/storage.md", "storage_path: /srv/registry"),
            ("docs/images.md", "images_registry: registry.example.com/mirror/registry:3.1.2"),
            (
                "docs/backup.md",
                "# sftp: the key has no passphrase; ssh-keyscan HOST shows the host keys. Compare "
                "them with the server's own",
            ),
            (
                "docs/mirrors.md",
                "# A login is sent to the upstream itself, and to token_host alone.",
            ),
        ),
        {
            "vault_partner_password": "an upstream's password of the vault",
            "vault_admin_password": "a password of the vault",
            "vault_backup_ssh_key": "-----BEGIN OPENSSH PRIVATE KEY-----",
        },
    ),
    "robots": Inventory(
        (
            (ROBOTS, "# group_vars/registry/users.yml"),
            (ROBOTS, "# group_vars/registry/access.yml"),
            (CERTIFICATES, "certificates_tls_source: acme"),
            (
                CERTIFICATES,
                "certificates_acme_directory: https://acme.example.com/acme/acme/directory",
            ),
            (
                "docs/backup.md",
                "# S3: the keys may read, write and delete in this bucket, and nothing else",
            ),
        ),
        {
            "vault_acme_eab_hmac_key": "c2VjcmV0",
            "vault_backup_key_id": "an id of the vault",
            "vault_backup_secret_key": "a secret of the vault",
        },
    ),
    # Only rules: the page names their variable above each of them.
    "wishes": Inventory(
        (WISHES, ("README.md", "# inventory/NAME/group_vars/registry/backup.yml")),
        {
            "vault_backup_ssh_key": "-----BEGIN OPENSSH PRIVATE KEY-----",
            "registry_users": {"admin": {}, "bob": {}, "someuser": {}},
            "registry_groups": {"interns": ["someuser"]},
            "registry_robots": {"ci": {}},
        },
    ),
}


@dataclass(frozen=True)
class Block:
    """One ```yaml block, and where it begins."""

    page: str
    line: int
    text: str

    @property
    def key(self) -> Key:
        return self.page, self.text.partition("\n")[0]

    @property
    def file(self) -> str | None:
        """The inventory's file that its first comment names."""
        named = re.match(r"# (?:inventory/NAME/)?(group_vars/\S+\.yml)", self.text)
        return named[1] if named else None


@cache
def blocks() -> dict[Key, Block]:
    """The blocks of all pages except the generated ones."""
    pages = [PROJECT / "README.md", *sorted(PROJECT.glob("docs/**/*.md"))]
    blocks_by_key = {}
    for page in pages:
        name = str(page.relative_to(PROJECT))
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            block = Block(name, text.count("\n", 0, match.start()) + 2, match[1])
            if not name.startswith("docs/evidence/"):
                assert block.key not in blocks_by_key, (
                    f"{name}, line {block.line}: begins as another block"
                )
                blocks_by_key[block.key] = block
    return blocks_by_key


def write(folder: Path, name: str, settings: Mapping[str, Any], host: Mapping[str, Any]) -> None:
    """Writes the inventory `name` into a folder: its blocks unchanged, `settings` and its context.

    host: the variables by which Ansible reaches the one host.
    """
    made = INVENTORIES[name]
    write_blocks(folder, made.blocks, {**settings, **made.context}, host)


def write_blocks(
    folder: Path, keys: Sequence[Key], context: Mapping[str, Any], host: Mapping[str, Any]
) -> None:
    """As `write`, but with these blocks and only `context` besides them."""
    variables = folder / "group_vars" / "registry"
    variables.mkdir(parents=True)
    private(folder / "hosts.yml", dump({"registry": {"hosts": {"instance": dict(host)}}}))
    # Ansible reads this file first, so all others override it.
    private(variables / "00_context.yml", dump(context))
    for number, key in enumerate(keys):
        block = blocks()[key]
        text = block.text
        if key == WISHES:
            # Of two wishes for everyone, the narrower one comes first, as the page says.
            first, *others = text.split("\n\n")
            text = "registry_access:\n" + "\n".join([*others, first]) + "\n"
        private(folder / (block.file or f"group_vars/registry/block_{number}.yml"), text)
