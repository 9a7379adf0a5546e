"""distribution's configuration file: what the inventory may set in it, and the file itself.

Pure: it takes settings, and returns problems or a dictionary. The file is
templates/registry/config.yml.j2 with registry_settings merged over it. The keys that distribution
3.1.2 knows are data (`distribution-3.1.2.keys`, derived from its source). They are checked because
distribution silently ignores an unknown key: a misspelt option would have no effect.

Follows https://distribution.github.io/distribution/about/configuration/, and for what that page
does not say, configuration/parser.go of the same version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from wharfinger import templates
from wharfinger.deployment import host_files
from wharfinger.deployment.fixed import (
    HTTP_SECRET_PLACEHOLDER,
    REGISTRY_DEBUG_PORT,
    REGISTRY_PORT,
)
from wharfinger.deployment.problems import Problem
from wharfinger.host.system.signing_keys import TRUSTS
from wharfinger.suggestions import nearest
from wharfinger.values import kind, spelt

VERSION = "3.1.2"

# Below templates/.
TEMPLATE = "registry/config.yml.j2"

# The registry redirects a reader of a blob to this name; nginx catches the answer and sends the
# file instead. `.invalid` never resolves (RFC 6761), so an answer that escaped would lead nowhere.
BLOB_REDIRECT_HOST = "wharfinger-blobs.invalid"

# Replaced by the host's own secret when the file is written there.
SECRET_PLACEHOLDER = HTTP_SECRET_PLACEHOLDER

LIVE_DIRECTORY = host_files.REGISTRY

# The most repositories on one page of the catalog, unless the inventory sets another number.
CATALOG_ENTRIES = 1000

# The middleware of images/registry/members.go, which only the toolkit's own image has.
INDEX_MEMBERS = "index-members"
_PLATFORMS = "validation.manifests.indexes.platforms"
# distribution's own keys that say which indexes it accepts.
_INDEX_CHECKS = ("validation.enabled", "validation.disabled", "validation.manifests.indexes")

_SETTINGS = "registry_settings"
_ENVIRONMENT = "registry_environment"

_STORAGE_ELSEWHERE = (
    "this version keeps the registry's data below storage_path only: "
    "remove it, and write storage_path or storage_mount instead"
)
_NO_MIDDLEWARE = (
    "the toolkit sets all the middleware that there is, such as the one that hands blobs over to "
    "nginx: remove it"
)
_NO_TLS = "nginx speaks TLS, the registry does not: write certificates_tls_source instead"
_NO_PROXY = "a pull-through cache takes no pushes, which this registry is for: remove it"
_PLAIN_HTTP = "only nginx talks to the registry, over plain HTTP/1.1: remove it"

# What the toolkit sets itself: path → why, and what to write instead. A path includes all below it.
REFUSED: Mapping[str, str] = {
    "version": "it is the format of the file, always 0.1: remove it",
    "loglevel": "distribution has replaced it: write log.level instead",
    "auth": (
        "who may do what is decided by registry_auth, registry_users and registry_access: "
        "write those instead"
    ),
    "storage.filesystem.rootdirectory": "write storage_path instead",
    **{
        f"storage.{driver}": _STORAGE_ELSEWHERE
        for driver in ("azure", "gcs", "inmemory", "oss", "s3", "s3aws", "swift")
    },
    "storage.delete": (
        "deleting is always possible for those who may: write `may: delete` in registry_access "
        "instead"
    ),
    "storage.redirect": "nginx needs it to send blobs from disk: remove it",
    "storage.cache": (
        "with a cache, content that is pushed again after garbage collection is lost: remove it"
    ),
    "storage.maintenance.readonly": (
        "the toolkit itself makes the registry read-only while it collects garbage: remove it"
    ),
    "middleware": _NO_MIDDLEWARE,
    "http.addr": "write registry_port instead, the port that clients use",
    "http.net": _PLAIN_HTTP,
    "http.host": (
        "the registry answers to the name it was called by: write registry_hostname and "
        "registry_extra_hostnames instead"
    ),
    "http.prefix": "clients expect /v2/ at the root of a name of its own: write registry_hostname",
    "http.secret": "it is made on the host and stays there: remove it",
    "http.relativeurls": "nginx tells the registry the address that the client used: remove it",
    "http.draintimeout": "write registry_drain_timeout instead",
    "http.tls": _NO_TLS,
    "http.debug": (
        "the health check of the container uses it, and nginx for reverse_proxy_metrics_listen: "
        "remove it"
    ),
    "http.http2": _PLAIN_HTTP,
    "http.h2c": _PLAIN_HTTP,
    "health.storagedriver.enabled": "the health check of the container rests on it: remove it",
    "redis": "it serves storage.cache only, which this registry cannot have: remove it",
    "proxy": _NO_PROXY,
}

# These do not work, or not fully, as environment variables.
_SETTINGS_ONLY: Mapping[str, str] = {
    "http.headers": "nginx must send them with the blobs too",
    "storage.maintenance": "distribution ignores it in the environment",
}

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "log.level": ("error", "warn", "info", "debug"),
    "log.formatter": ("text", "json", "logstash"),
    "validation.manifests.indexes.platforms": ("all", "none", "list"),
}

_OTHER_VARIABLES = (
    *("GODEBUG", "GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTRACEBACK"),
    *("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
    *("SSL_CERT_DIR", "SSL_CERT_FILE", "TZ"),
)

_SECRET_KEYS = frozenset({"password", "headers", "secret"})

# Go's time.ParseDuration without a sign: no option takes a negative duration.
_DURATION = re.compile(r"0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))+")

# RFC 9110 tokens without `_`: in the names of nginx's header variables, `_` stands for `-`.
_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")


@dataclass
class _Key:
    """A node of the configuration: a section of named keys, a map of free keys, a list or a value.

    `type` is section, map, list, or one of distribution's own types (string, bool, int, duration,
    any); `children` are a section's keys, or `*` for a map's and `[]` for a list's values.
    `token` is the part of the environment variable's name that leads here.
    """

    type: str = "section"
    token: str = ""
    children: dict[str, _Key] = field(default_factory=dict)


@cache
def _keys() -> _Key:
    root = _Key()
    folder = Path(__file__).parent
    for name in (f"distribution-{VERSION}.keys", f"storage-{VERSION}.keys"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            if not line.startswith("#") and not line.startswith("storage.*"):
                _add_key(root, *line.split("\t"))
    return root


def _add_key(root: _Key, path: str, type_: str, variable: str) -> None:
    steps = path.replace("[]", ".[]").split(".")
    key = root
    for step, token in zip(steps, variable.split("_")[1:], strict=True):
        key.type = {"*": "map", "[]": "list"}.get(step, "section")
        key = key.children.setdefault(step, _Key(token=token))
    key.type = type_


def _known_values(key: _Key, path: str = "") -> Iterator[str]:
    """The paths of all values that may be set, with lists and free keys as in the data files."""
    for step, child in key.children.items():
        below = path + step if step == "[]" else f"{path}.{step}".lstrip(".")
        if child.children:
            yield from _known_values(child, below)
        elif not _refusal(below):
            yield below


def review(settings: object, environment: object) -> list[Problem]:
    """All mistakes in `registry_settings` and `registry_environment`, for the operator.

    Never raises, whatever the YAML holds, and never repeats a value: it may be a secret.
    """
    problems: list[Problem] = []
    if isinstance(settings, Mapping):
        problems += (
            Problem(_SETTINGS, *mistake) for mistake in _review_value(_keys(), settings, "")
        )
    else:
        problems.append(
            Problem(_SETTINGS, "value", "must be keys of the registry's configuration: write {}")
        )
    if isinstance(environment, Mapping):
        for name, value in environment.items():
            mistake = _review_variable(name, value)
            if mistake:
                problems.append(Problem(_ENVIRONMENT, spelt(name), mistake))
    else:
        problems.append(
            Problem(_ENVIRONMENT, "value", "must be names and values of variables: write {}")
        )
    return problems


def warnings(settings: object, environment: object, mirrors: object = ()) -> list[Problem]:
    """What is allowed but probably not intended. Expects reviewed input; `mirrors`:
    registry_mirrors."""
    problems: list[Problem] = []
    variables: Mapping[Any, Any] = environment if isinstance(environment, Mapping) else {}
    paths = {name: _variable_path(str(name))[1] for name in variables}
    for name, path in paths.items():
        better = f"write it in {_SETTINGS}, {path}, instead" if path else "leave it out if you can"
        words = {word.lower() for word in str(name).split("_")}
        if words & _SECRET_KEYS:
            problems.append(
                Problem(
                    _ENVIRONMENT,
                    str(name),
                    f"everyone who may run `docker inspect` on the host can read it: {better}",
                )
            )
    by_variable = any(path.startswith("notifications.endpoints") for path in paths.values())
    by_settings = isinstance(settings, Mapping) and _get(settings, "notifications", "endpoints")
    if by_variable or by_settings:
        problems.append(
            Problem(
                _ENVIRONMENT if by_variable else _SETTINGS,
                "notifications.endpoints",
                "the registry's network has no way out, so only an address of this host's own "
                "side of it (container_engine_network) can be notified",
            )
        )
    return problems + _index_warnings(settings, variables, sparse(mirrors))


def _index_warnings(
    settings: object, variables: Mapping[Any, Any], repositories: list[str]
) -> list[Problem]:
    """Which indexes the registry accepts is set to what distribution breaks off at, or to what
    refuses the indexes of mirrors with `platforms`."""
    where, chosen = _SETTINGS, _get(settings, *_PLATFORMS.split("."))
    for name, value in variables.items():
        if _variable_path(str(name))[1] == _PLATFORMS:
            where, chosen = _ENVIRONMENT, value
    chosen = str(chosen).lower() if chosen is not None else ""
    if chosen == "list":
        return [
            Problem(
                where,
                _PLATFORMS,
                f"distribution {VERSION} breaks off the connection at an index with a member "
                "without a platform, such as a list of signatures or a build cache: remove it, and "
                "name `platforms` in registry_mirrors; or write none, which checks no index",
            )
        ]
    if chosen == "all" and repositories:
        return [
            Problem(
                where,
                _PLATFORMS,
                f"all refuses the indexes of {', '.join(repositories)}, where registry_mirrors "
                "names `platforms`: remove it",
            )
        ]
    return []


def _get(value: object, *steps: str) -> object:
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _refusal(path: str, refused: Mapping[str, str] = REFUSED) -> str | None:
    steps = path.split(".")
    for length in range(1, len(steps) + 1):
        message = refused.get(".".join(steps[:length]))
        if message:
            return message
    return None


def _review_value(
    key: _Key, value: object, path: str, refused: Mapping[str, str] = REFUSED
) -> Iterator[tuple[str, str]]:
    """Each mistake as path and message."""
    refusal = _refusal(path, refused)
    if refusal:
        yield path, refusal
    elif key.type in ("section", "map"):
        if isinstance(value, Mapping):
            for name, below in value.items():
                step = f"{path}.{spelt(name)}".lstrip(".")
                yield from _review_key(key, name, below, step, refused)
        else:
            yield path, "must be a section with keys of its own"
    elif key.type == "list":
        if isinstance(value, list | tuple):
            for index, item in enumerate(value):
                yield from _review_value(key.children["[]"], item, f"{path}[{index}]", refused)
        else:
            yield path, "must be a list"
    else:
        message = _review_scalar(key.type, value, path)
        if message:
            yield path, message


def _review_key(
    key: _Key, name: object, value: object, path: str, refused: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    if not isinstance(name, str):
        yield path, f"is {kind(name)} to YAML and must be text: write this key in quotes"
    elif key.type == "map":
        if re.fullmatch(r".*\bheaders\.[^.]*", path) and not _HEADER_NAME.fullmatch(name):
            yield path, "is not the name of an HTTP header: use letters, digits and hyphens"
        else:
            yield from _review_value(key.children["*"], value, path, refused)
    elif _refusal(path, refused) or name in key.children:
        yield from _review_value(key.children.get(name, _Key()), value, path, refused)
    else:
        yield path, _unknown(key, name, path)


def _unknown(key: _Key, name: str, path: str) -> str:
    above = path.rpartition(".")[0]
    siblings = {step: f"{above}.{step}".lstrip(".") for step in key.children}
    allowed = {step: known for step, known in siblings.items() if not _refusal(known)}
    near = nearest(name.lower(), allowed)
    # It may be the right word in the wrong section.
    elsewhere = (
        known for known in _known_values(_keys()) if known.rpartition(".")[2] == name.lower()
    )
    hint = allowed[near] if near else next(elsewhere, None)
    keys = ", ".join(sorted(allowed))
    write = f"did you mean {hint}?" if hint else f"the keys here are {keys}"
    return f"distribution {VERSION} does not know this key and would ignore it: {write}"


def _review_scalar(type_: str, value: object, path: str) -> str | None:
    if type_ == "bool" and not isinstance(value, bool):
        return "must be true or false, without quotes"
    if type_ == "int" and (isinstance(value, bool) or not isinstance(value, int)):
        return "must be a whole number, without quotes"
    if type_ == "int" and isinstance(value, int) and value < 0:
        return "must be 0 or more"
    if type_ == "duration" and not (isinstance(value, str) and _DURATION.fullmatch(value)):
        return "must be a time with its unit, such as 30s, 10m or 168h"
    if type_ == "string" and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        return f"is {kind(value)} to YAML and must be text: write it in quotes"
    # A list's values have their index in the path, but no choice is below a list.
    choices = _CHOICES.get(path)
    if choices and str(value).lower() not in choices:
        return f"must be one of {', '.join(choices)}"
    return None


def _variable_path(name: str) -> tuple[_Key | None, str]:
    """The key that a REGISTRY_… variable sets, and its path.

    For an unknown key: None, and the path as far as it is known.
    """
    key, path = _keys(), ""
    words = name.split("_")
    if words[0] != "REGISTRY" or len(words) == 1:
        return None, ""
    for word in words[1:]:
        step = next(
            (
                step
                for step, child in key.children.items()
                if child.token in (word, "*")
                or (child.token == "#" and re.fullmatch("[0-9]+", word))
            ),
            None,
        )
        if step is None:
            return (key, path) if key.type == "any" else (None, path)
        shown = {"*": f".{word.lower()}", "[]": f"[{word}]"}.get(step, f".{step}")
        key, path = key.children[step], (path + shown).lstrip(".")
    return key, path


def _review_variable(name: object, value: object) -> str | None:
    if not isinstance(name, str) or not name:
        return f"is {kind(name)} to YAML and must be the name of a variable, in text"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return f"is {kind(value)} to YAML and must be text: write the value in quotes"
    if name == "REGISTRY_CONFIGURATION_PATH":
        return "the toolkit writes the configuration file and says where it is: remove it"
    if name.startswith("AWS_"):
        return _STORAGE_ELSEWHERE
    if not name.startswith("REGISTRY_"):
        if name in _OTHER_VARIABLES or re.fullmatch(r"OTEL_[A-Z0-9_]+", name):
            return None
        return (
            "the registry does not read this variable: write REGISTRY_…, OTEL_… or one of "
            f"{', '.join(_OTHER_VARIABLES)}"
        )
    key, path = _variable_path(name)
    refusal = _refusal_by_variable(name, path)
    if refusal:
        return refusal
    if key is None:
        known = [_variable_of(value) for value in _known_values(_keys())]
        near = nearest(name, known, cutoff=0.8)
        hint = f"did you mean {near}?" if near else "remove it"
        return f"distribution {VERSION} does not know this variable and would ignore it: {hint}"
    return _review_variable_value(key, str(value), path)


def _refusal_by_variable(name: str, path: str) -> str | None:
    refusal = _refusal(path)
    if not refusal and name.startswith("REGISTRY_STORAGE_"):
        # Refused drivers are not among the keys, so the path ends before them.
        refusal = _refusal("storage." + name.split("_")[2].lower())
    if refusal:
        return refusal
    for settings_only, why in _SETTINGS_ONLY.items():
        if path == settings_only or path.startswith(settings_only + "."):
            return f"{why}: write it in {_SETTINGS}, {path}, instead"
    return None


def _variable_of(path: str) -> str:
    key, name = _keys(), "REGISTRY"
    for step in path.replace("[]", ".[]").split("."):
        key = key.children[step]
        name += "_" + {"#": "0", "*": "NAME"}.get(key.token, key.token)
    return name


def _review_variable_value(key: _Key, text: str, path: str) -> str | None:
    if key.type in ("section", "map") or (
        key.type == "list" and key.children["[]"].type in ("section", "map")
    ):
        return (
            "it would replace everything that is set below "
            f"{path}: name a single key, or write it in {_SETTINGS}"
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return "the registry reads it as YAML, which it is not: put the value in quotes within it"
    if key.type == "list":
        if not isinstance(value, list):
            return "must be a list, such as '[a, b]'"
        messages = (
            _review_scalar(key.children["[]"].type, item, f"{path}[{index}]")
            for index, item in enumerate(value)
        )
        return next((message for message in messages if message), None)
    if key.type == "string":
        if isinstance(value, dict | list):
            return "the registry would read it as YAML: put the value in quotes within it"
        value = text
    return _review_scalar(key.type, value, path)


def environment(variables: Mapping[str, object]) -> dict[str, str]:
    """The container's environment: `registry_environment` over what the registry needs.

    Unless an exporter is named, distribution complains about a missing collector at every start.
    """
    return {"OTEL_TRACES_EXPORTER": "none"} | {
        name: str(value) for name, value in variables.items()
    }


def checks_members(image: Mapping[str, Any], settings: object, variables: object) -> bool:
    """Whether the registry's index-members middleware checks indexes.

    It does if the image (the host's record) has it, and neither `registry_settings` nor
    `registry_environment` says which indexes to accept.
    """
    if not image.get("index_members"):
        return False
    names = variables if isinstance(variables, Mapping) else {}
    chosen = [_variable_path(str(name))[1] for name in names]
    return not any(
        _get(settings, *check.split(".")) is not None
        or any(f"{path}.".startswith(f"{check}.") for path in chosen)
        for check in _INDEX_CHECKS
    )


def sparse(mirrors: object) -> list[str]:
    """The repositories whose indexes may lack platforms: where an entry of `registry_mirrors` names
    `platforms`. Anything else in it is left out, since preflight has refused it."""
    entries = mirrors if isinstance(mirrors, list | tuple) else ()
    return sorted(
        {
            str(entry["to"])
            for entry in entries
            if isinstance(entry, Mapping) and entry.get("platforms") and entry.get("to")
        }
    )


def render(
    *,
    auth: str,
    service: str,
    settings: Mapping[str, Any],
    drain_timeout: int,
    issuer: str = "",
    realm: str = "",
    metrics: bool = False,
    index_members: bool = False,
    sparse: Iterable[str] = (),
) -> dict[str, Any]:
    """The registry's config.yml, `settings` (reviewed) merged over what the toolkit sets.

    `auth` is token or htpasswd. `realm` is the address of the token server for clients, `issuer`
    the name that it signs with. `drain_timeout` is in seconds. `metrics`: whether nginx may read
    them. `index_members`: the answer of `checks_members`. `sparse`: repositories whose indexes may
    lack platforms, since a mirror keeps only some. Paths are those inside the container. Raises
    ValueError if distribution would not know a key of the result, or not accept its value.
    """
    template = templates.read(
        TEMPLATE,
        auth=auth,
        realm=realm,
        service=service,
        issuer=issuer,
        drain_timeout=drain_timeout,
        metrics=metrics,
        index_members=INDEX_MEMBERS if index_members else None,
        sparse=sorted(sparse),
        blob_redirect_host=BLOB_REDIRECT_HOST,
        secret_placeholder=SECRET_PLACEHOLDER,
        catalog_entries=CATALOG_ENTRIES,
        live_directory=LIVE_DIRECTORY,
        port=REGISTRY_PORT,
        debug_port=REGISTRY_DEBUG_PORT,
        signing_algorithms=TRUSTS,
    )
    configuration = _merge(template, settings)
    # No path is refused here: the toolkit sets these itself.
    mistakes = list(_review_value(_keys(), configuration, "", refused={}))
    if mistakes:
        raise ValueError("; ".join(f"{path}: {message}" for path, message in mistakes))
    return configuration


def catalog(settings: Mapping[str, Any], environment: Mapping[str, Any]) -> dict[str, Any]:
    """`limit`: the most repositories that the registry lists at once. `over`: a regular expression
    for a larger number without leading zeros.

    Expects reviewed settings. An environment variable takes precedence, as in distribution.
    """
    configured = _get(settings, "catalog", "maxentries")
    if "REGISTRY_CATALOG_MAXENTRIES" in environment:
        # The registry reads it as YAML, where 0x20 is a number.
        configured = yaml.safe_load(str(environment["REGISTRY_CATALOG_MAXENTRIES"]))
    # 0 means distribution's own limit.
    limit = str(configured or CATALOG_ENTRIES)
    larger = [f"[1-9][0-9]{{{len(limit)},}}"]
    for place, digit in enumerate(limit):
        if digit != "9":
            rest = len(limit) - place - 1
            larger.append(f"{limit[:place]}[{int(digit) + 1}-9][0-9]{{{rest}}}")
    return {"limit": int(limit), "over": f"(?:{'|'.join(larger)})"}


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge(below, value)
        else:
            merged[name] = value
    return merged
