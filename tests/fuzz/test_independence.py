"""The three readings that are compared share no code, so that they cannot share a fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.imports import imported

PROJECT = Path(__file__).resolve().parents[2]
# Folders whose modules are imported by their own names.
LIBRARY = {path.name for path in (PROJECT / "tests/library").iterdir()}
READING = PROJECT / "tests/library/golden/docker_auth.py"
ACCESS = sorted((PROJECT / "wharfinger/access").glob("**/*.py"))
# How YAML reads a word. Only messages use it; no decision depends on it.
VALUES = PROJECT / "wharfinger/values.py"
# The account that the deployment reserves for itself, and the definition of a mistake.
DEPLOYMENT = [PROJECT / f"wharfinger/deployment/{name}.py" for name in ("fixed", "problems")]
# How a hash is written, and what a misspelt word may have meant. Only messages use them.
WORDS = [PROJECT / "wharfinger/bcrypt_hash.py", PROJECT / "wharfinger/suggestions.py"]
SHARED_WORDS = {f"wharfinger.{path.stem}" for path in WORDS}
# The model and the compiler make the decisions.
DECIDES = {"policy.py", "compiler.py"}
# How the specification spells a repository's name. The token server does not use this.
SPELLING = PROJECT / "wharfinger/oci/names.py"
TOKENS = sorted((PROJECT / "wharfinger/token_server").glob("**/*.py"))


def ours(path: Path) -> set[str]:
    """What a file imports from this project, such as `wharfinger.access` or `support.registry`."""
    return {
        ".".join(name.split(".")[:2])
        for name in imported(path)
        if name.split(".")[0] in ("wharfinger", "tests", "plugins", "images", *LIBRARY)
    } - {"wharfinger"}


@pytest.mark.parametrize("path", ACCESS, ids=lambda path: path.name)
def test_model_and_compiler_import_nothing_else_of_this_project(path: Path) -> None:
    decides = path.parent.name == "access" and path.name in DECIDES
    words = {"wharfinger.deployment"}
    if not decides:
        words |= {"wharfinger.values", "wharfinger.wording", "wharfinger.oci", *SHARED_WORDS}
    assert ours(path) <= {"wharfinger.access"} | words
    # From the specification only the names, from the deployment its account and the definition of
    # a mistake.
    parts = ["fixed"] if decides else ["fixed", "problems"]
    allowed = ("wharfinger.oci.names", *(f"wharfinger.deployment.{part}" for part in parts))
    packages = ("wharfinger.oci", "wharfinger.deployment")
    assert all(name.startswith(allowed) for name in imported(path) if name.startswith(packages))


@pytest.mark.parametrize(
    "path", [VALUES, SPELLING, *DEPLOYMENT, *WORDS], ids=lambda path: path.name
)
def test_the_words_for_values_and_names_import_nothing_of_this_project(path: Path) -> None:
    assert ours(path) == set()


def test_the_wording_of_messages_imports_values_and_suggestions_alone() -> None:
    wanted = {"wharfinger.suggestions", "wharfinger.values"}
    assert ours(PROJECT / "wharfinger/wording.py") == wanted


@pytest.mark.parametrize("path", TOKENS, ids=lambda path: path.name)
def test_the_token_server_imports_nothing_else_of_this_project(path: Path) -> None:
    words = SHARED_WORDS if path.parent.name == "config" else set()
    assert ours(path) <= {"wharfinger.token_server"} | words


def test_the_independent_reading_imports_nothing_of_this_project() -> None:
    assert ours(READING) == set()


def test_model_and_compiler_do_not_use_each_others_matching() -> None:
    model, compiler = (
        PROJECT / "wharfinger/access" / name for name in ("policy.py", "compiler.py")
    )
    assert not any("compiler" in name for name in imported(model))
    assert "wharfinger.access.policy.matches" not in set(imported(compiler))
    # The model does not use regular expressions at all.
    assert not {"re", "re2"} & set(imported(model))


def test_imports_are_seen_however_they_are_written() -> None:
    assert "wharfinger.token_server" in ours(PROJECT / "wharfinger/token_server/issue.py")
    assert {"wharfinger.access", "wharfinger.token_server"} <= ours(
        PROJECT / "tests/fuzz/agreement.py"
    )
