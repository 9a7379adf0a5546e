"""Finds the files that Ansible would read for an inventory, and checks each by `reading`.

Files that Ansible ignores are ignored here, too, and so are inventories that are not YAML: INI,
JSON, scripts. The answers are sentences for the operator.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from .reading import Mistake, mistakes

#: The message about a file or value whose vault password is missing.
CLOSED = (
    "is encrypted by ansible-vault and cannot be decrypted: give the vault's password "
    "(--ask-vault-pass, or --vault-password-file FILE)"
)
_LOOKS_LIKE_YAML = re.compile(r"""(---|["']?[\w.-]+["']?:)(\s|$)""")


def given_mistakes(options: Mapping[str, Any], project: Path) -> list[str]:
    """What is wrong in the files that an Ansible command got with `-i` and `-e`.

    options: Ansible's CLIARGS. project: the checkout; its inventories are named if one does not
    exist.
    """
    sentences = inventory_mistakes(map(str, options.get("inventory") or ()), project)
    for given in map(str, options.get("extra_vars") or ()):
        if given.startswith("@"):
            path = Path(given[1:]).expanduser()
            if path.is_file():
                sentences += _judged(path, "variables")
            elif not path.exists():
                sentences.append(f"-e @{_shown(path)}: there is no such file: correct its name")
        elif given.startswith(("{", "[")):
            wrong = mistakes(given.encode(errors="surrogateescape"), "variables")
            sentences += [mistake.within("-e") for mistake in wrong]
    return sentences


def inventory_mistakes(sources: Iterable[str], project: Path) -> list[str]:
    """What is wrong in the groups and hosts of inventories.

    sources: as `-i` names them: files, directories, or lists of hosts.
    """
    sentences: list[str] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            files = list(_inventory_files(path))
            if not files:
                shown = _shown(path)
                sentences.append(f"{shown}: holds no inventory: write {shown}/hosts.yml")
            for file in files:
                wrong = _inventory_file(file)
                # If there are other files, Ansible only warns about one that it cannot decrypt.
                sentences += [
                    sentence
                    for sentence in wrong
                    if len(files) == 1 or not sentence.endswith(CLOSED)
                ]
        elif path.exists():
            sentences += _inventory_file(path)
        elif "," not in source:
            sentences.append(
                f"{_shown(path)}: there is no such inventory: write -i with one of "
                f"{', '.join(_inventories(project))}, or copy inventory/example there"
            )
    return sentences


def variable_mistakes(
    loader: Any, folders: Iterable[Path], groups: Iterable[str], hosts: Iterable[str]
) -> list[str]:
    """What is wrong in group_vars and host_vars of the folders, for these groups and hosts.

    loader: Ansible's DataLoader, which finds the files.
    """
    entities = [("group_vars", name) for name in groups] + [("host_vars", name) for name in hosts]
    files = dict.fromkeys(
        str(file)
        for folder in folders
        for kind, name in entities
        for file in loader.find_vars_files(os.path.realpath(folder / kind), name)
    )
    return [sentence for file in files for sentence in _judged(Path(file), "variables")]


def _inventory_files(folder: Path) -> Iterator[Path]:
    """The files that Ansible would read in a directory."""
    from ansible.inventory.manager import IGNORED

    for path in sorted(folder.iterdir()):
        if IGNORED.search(os.fsencode(path.name)):
            continue
        if path.is_dir():
            yield from _inventory_files(path)
        else:
            yield path


def _inventory_file(path: Path) -> list[str]:
    if path.suffix in (".yml", ".yaml"):
        return _judged(path, "inventory")
    if path.suffix == "" and not os.access(path, os.X_OK):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            return [_unreadable(path, error)]
        content = (line for line in lines if line.strip() and not line.startswith("#"))
        # Any other file is read as INI.
        if _LOOKS_LIKE_YAML.match(next(content, "")):
            return _judged(path, "inventory")
    return []


def _judged(path: Path, kind: Literal["variables", "inventory"]) -> list[str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        return [_unreadable(path, error)]
    if content.startswith(b"$ANSIBLE_VAULT"):
        try:
            opened = _decrypted(content)
        except ImportError:
            # ansible-core before 2.19 does not say which passwords it has.
            return []
        if opened is None:
            return [f"{_shown(path)}: {CLOSED}"]
        content = opened
    wrong = mistakes(content, kind)
    if path.suffix == ".json" and wrong:
        try:
            json.loads(content)
        except json.JSONDecodeError as error:
            wrong = [
                Mistake(error.lineno, "the JSON cannot be read: look for a comma, quote or bracket")
            ]
        except UnicodeDecodeError:
            pass
    return [mistake.within(_shown(path)) for mistake in wrong]


def _unreadable(path: Path, error: OSError) -> str:
    return f"{_shown(path)}: cannot be read ({error.strerror}): let your user read it"


def _decrypted(content: bytes) -> bytes | None:
    """The content, decrypted by the passwords that Ansible has; None if none of them fits."""
    from ansible.errors import AnsibleError
    from ansible.parsing.vault import VaultLib, VaultSecretsContext

    given = VaultSecretsContext.current(optional=True)
    if given is None or not given.secrets:
        return None
    try:
        return bytes(VaultLib(given.secrets).decrypt(content))
    except AnsibleError:
        return None


def decrypted(loader: Any, path: Path) -> bytes:
    """A file's content, decrypted if ansible-vault has encrypted it and its password is known.

    loader: Ansible's DataLoader. Raises OSError.
    """
    from ansible.errors import AnsibleError

    content = path.read_bytes()
    if not content.startswith(b"$ANSIBLE_VAULT"):
        return content
    try:
        return str(loader.get_text_file_contents(str(path))).encode()
    except AnsibleError:
        return content


def _inventories(project: Path) -> list[str]:
    return [_shown(path) for path in sorted((project / "inventory").iterdir()) if path.is_dir()]


def _shown(path: Path) -> str:
    """The path as the operator would write it: relative if it is below the current directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def report(sentences: list[str]) -> str:
    """One message with all the sentences."""
    count = len(sentences)
    head = f"{count} mistake{'s' if count > 1 else ''} in the inventory; nothing was changed."
    return "\n".join([head, *(f"  - {sentence}" for sentence in sentences)])
