"""What registry_settings and registry_environment may hold, and the file that results from them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wharfinger.registry import configuration
from wharfinger.registry.configuration import (
    REFUSED,
    checks_members,
    environment,
    render,
    review,
    sparse,
    warnings,
)

IGNORED = "distribution 3.1.2 does not know this key and would ignore it: "
IGNORED_VARIABLE = "distribution 3.1.2 does not know this variable and would ignore it: "
ELSEWHERE = (
    "this version keeps the registry's data below storage_path only: "
    "remove it, and write storage_path or storage_mount instead"
)


def nested(path: str, value: object) -> dict[str, Any]:
    for step in reversed(path.split(".")):
        value = {step: value}
    assert isinstance(value, dict)
    return value


def settings_problem(path: str, value: object) -> str:
    """The only problem of a setting, without the variable's name in front."""
    (problem,) = review(nested(path, value), {})
    text = str(problem)
    assert text.startswith("registry_settings, ")
    return text.removeprefix("registry_settings, ")


def variable_problem(name: Any, value: object) -> str:
    (problem,) = review({}, {name: value})
    assert str(problem).startswith(f"registry_environment, {name}: ")
    return problem.message


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("log.levl", f"{IGNORED}did you mean log.level?"),
        ("Log", f"{IGNORED}did you mean log?"),
        ("maxentries", f"{IGNORED}did you mean catalog.maxentries?"),
        ("http.foo", f"{IGNORED}the keys here are headers"),
        (
            "storage.maintenance.uploadpurge",
            f"{IGNORED}did you mean storage.maintenance.uploadpurging?",
        ),
        (
            "storage.unheard",
            f"{IGNORED}the keys here are filesystem, maintenance, tag",
        ),
    ],
)
def test_unknown_key_is_an_error_that_shows_the_right_one(path: str, message: str) -> None:
    assert settings_problem(path, "x") == f"{path}: {message}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "auth",
            "who may do what is decided by registry_auth, registry_users and registry_access: "
            "write those instead",
        ),
        ("storage.filesystem.rootdirectory", "write storage_path instead"),
        ("storage.s3", ELSEWHERE),
        ("storage.inmemory", ELSEWHERE),
        (
            "storage.delete",
            "deleting is always possible for those who may: write `may: delete` in "
            "registry_access instead",
        ),
        ("storage.redirect", "nginx needs it to send blobs from disk: remove it"),
        (
            "storage.cache",
            "with a cache, content that is pushed again after garbage collection is lost: "
            "remove it",
        ),
        (
            "storage.maintenance.readonly",
            "the toolkit itself makes the registry read-only while it collects garbage: remove it",
        ),
        (
            "middleware",
            "the toolkit sets all the middleware that there is, such as the one that hands blobs "
            "over to nginx: remove it",
        ),
        ("http.addr", "write registry_port instead, the port that clients use"),
        (
            "http.host",
            "the registry answers to the name it was called by: write registry_hostname and "
            "registry_extra_hostnames instead",
        ),
        ("http.secret", "it is made on the host and stays there: remove it"),
        (
            "http.relativeurls",
            "nginx tells the registry the address that the client used: remove it",
        ),
        ("http.draintimeout", "write registry_drain_timeout instead"),
        (
            "http.tls",
            "nginx speaks TLS, the registry does not: write certificates_tls_source instead",
        ),
        (
            "http.debug",
            "the health check of the container uses it, and nginx for "
            "reverse_proxy_metrics_listen: remove it",
        ),
        ("http.h2c", "only nginx talks to the registry, over plain HTTP/1.1: remove it"),
        (
            "http.prefix",
            "clients expect /v2/ at the root of a name of its own: write registry_hostname",
        ),
        ("redis", "it serves storage.cache only, which this registry cannot have: remove it"),
        (
            "proxy",
            "a pull-through cache takes no pushes, which this registry is for: remove it",
        ),
        ("version", "it is the format of the file, always 0.1: remove it"),
        ("loglevel", "distribution has replaced it: write log.level instead"),
        (
            "health.storagedriver.enabled",
            "the health check of the container rests on it: remove it",
        ),
    ],
)
def test_key_that_the_toolkit_answers_for_is_refused(path: str, message: str) -> None:
    assert settings_problem(path, {"anything": 1}) == f"{path}: {message}"


@pytest.mark.parametrize("path", sorted(REFUSED))
def test_refused_key_is_refused_as_a_variable_too(path: str) -> None:
    name = "REGISTRY_" + path.replace(".", "_").upper()
    assert variable_problem(name, "x") == REFUSED[path]
    if path not in ("version", "loglevel", "storage.filesystem.rootdirectory"):
        assert variable_problem(f"{name}_MORE", "x").startswith((REFUSED[path], IGNORED_VARIABLE))


def test_everything_that_is_rendered_and_not_open_to_the_operator_is_refused() -> None:
    """Except the settings that an operator may tune."""
    rendered = render(
        **{"auth": "token", "service": "s", "issuer": "i", "realm": "r", "settings": {}},
        drain_timeout=1,
        index_members=True,
    )
    tunable = {
        *("log.level", "log.formatter", "log.accesslog.disabled", "catalog.maxentries"),
        *("http.headers", "health.storagedriver.interval", "health.storagedriver.threshold"),
        *(f"storage.maintenance.uploadpurging.{key}" for key in ("enabled", "age", "interval")),
        "storage.maintenance.uploadpurging.dryrun",
    }

    def leaves(value: object, path: str = "") -> set[str]:
        if isinstance(value, dict) and path not in tunable:
            return {
                leaf for key in value for leaf in leaves(value[key], f"{path}.{key}".strip("."))
            }
        return {path}

    for path in leaves(rendered) - tunable:
        steps = path.split(".")
        above = {".".join(steps[:length]) for length in range(1, len(steps) + 1)}
        assert above & set(REFUSED), path


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("catalog.maxentries", "100", "must be a whole number, without quotes"),
        ("catalog.maxentries", True, "must be a whole number, without quotes"),
        ("tags.maxtags", -1, "must be 0 or more"),
        ("validation.disabled", "yes", "must be true or false, without quotes"),
        ("log.level", "loud", "must be one of error, warn, info, debug"),
        ("log.formatter", "xml", "must be one of text, json, logstash"),
        ("log.level", None, "is nothing (null) to YAML and must be text: write it in quotes"),
        ("log", "debug", "must be a section with keys of its own"),
        ("log.hooks", {"type": "mail"}, "must be a list"),
        (
            "storage.maintenance.uploadpurging.age",
            3600,
            "must be a time with its unit, such as 30s, 10m or 168h",
        ),
        (
            "health.storagedriver.interval",
            "10 s",
            "must be a time with its unit, such as 30s, 10m or 168h",
        ),
        (
            "http.headers.X_Team",
            ["a"],
            "is not the name of an HTTP header: use letters, digits and hyphens",
        ),
        ("http.headers.X-Team", "a", "must be a list"),
    ],
)
def test_value_of_another_kind_is_an_error(path: str, value: object, message: str) -> None:
    assert settings_problem(path, value) == f"{path}: {message}"


def test_mistake_in_a_list_names_its_place() -> None:
    endpoints = [{"name": "a"}, {"nam": "b"}]
    assert settings_problem("notifications.endpoints", endpoints) == (
        f"notifications.endpoints[1].nam: {IGNORED}did you mean notifications.endpoints[1].name?"
    )
    assert settings_problem("notifications.endpoints", [{"timeout": 5}]) == (
        "notifications.endpoints[0].timeout: must be a time with its unit, such as 30s, 10m or 168h"
    )


def test_all_mistakes_are_reported_at_once() -> None:
    problems = review({"log": {"levl": 1, "level": "x"}, "proxy": {}}, {"FOO": "1", "BAR": "2"})
    assert [problem.place for problem in problems] == [
        "log.levl",
        "log.level",
        "proxy",
        "FOO",
        "BAR",
    ]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (
            "REGISTRY_LOG_LEVL",
            "debug",
            f"{IGNORED_VARIABLE}did you mean REGISTRY_LOG_LEVEL?",
        ),
        (
            "REGISTRY_HEALTH_FILE_0_FILE",
            "x",
            f"{IGNORED_VARIABLE}did you mean REGISTRY_HEALTH_FILECHECKERS_0_FILE?",
        ),
        ("REGISTRY_UTTERLY_ELSE", "x", f"{IGNORED_VARIABLE}remove it"),
        ("REGISTRY_STORAGE_S3_BUCKET", "x", ELSEWHERE),
        ("AWS_ACCESS_KEY_ID", "x", ELSEWHERE),
        (
            "REGISTRY_HTTP",
            "{}",
            "it would replace everything that is set below http: name a single key, or write it "
            "in registry_settings",
        ),
        (
            "REGISTRY_HTTP_HEADERS",
            "{X-A: [b]}",
            "nginx must send them with the blobs too: write it in registry_settings, "
            "http.headers, instead",
        ),
        (
            "REGISTRY_STORAGE_MAINTENANCE_UPLOADPURGING_AGE",
            "1h",
            "distribution ignores it in the environment: write it in registry_settings, "
            "storage.maintenance.uploadpurging.age, instead",
        ),
        (
            "REGISTRY_CONFIGURATION_PATH",
            "/x",
            "the toolkit writes the configuration file and says where it is: remove it",
        ),
        ("REGISTRY_CATALOG_MAXENTRIES", "many", "must be a whole number, without quotes"),
        ("REGISTRY_LOG_LEVEL", "loud", "must be one of error, warn, info, debug"),
        (
            "REGISTRY_LOG_LEVEL",
            None,
            "is nothing (null) to YAML and must be text: write the value in quotes",
        ),
        (
            "REGISTRY_LOG_ACCESSLOG_DISABLED",
            True,
            "is true or false to YAML and must be text: write the value in quotes",
        ),
        (
            "REGISTRY_LOG_FORMATTER",
            "@json",
            "the registry reads it as YAML, which it is not: put the value in quotes within it",
        ),
        (
            "REGISTRY_LOG_FORMATTER",
            "a: b",
            "the registry would read it as YAML: put the value in quotes within it",
        ),
        (
            "REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW",
            "x",
            "must be a list, such as '[a, b]'",
        ),
        (
            "PATH",
            "/bin",
            "the registry does not read this variable: write REGISTRY_…, OTEL_… or one of "
            "GODEBUG, GOGC, GOMAXPROCS, GOMEMLIMIT, GOTRACEBACK, HTTPS_PROXY, HTTP_PROXY, "
            "NO_PROXY, SSL_CERT_DIR, SSL_CERT_FILE, TZ",
        ),
        (5, "x", "is a number to YAML and must be the name of a variable, in text"),
    ],
)
def test_variable_that_cannot_work_is_an_error(name: Any, value: object, message: str) -> None:
    assert variable_problem(name, value) == message


def test_variables_that_the_registry_reads_are_accepted() -> None:
    variables = {
        "REGISTRY_LOG_LEVEL": "debug",
        "REGISTRY_LOG_FIELDS_SITE": "berlin",
        "REGISTRY_CATALOG_MAXENTRIES": 10,
        "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_HEADERS_AUTHORIZATION_0": "x",
        "REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW": "[a, b]",
        "REGISTRY_VALIDATION_MANIFESTS_URLS_DENY_0": "a",
        "OTEL_TRACES_EXPORTER": "otlp",
        "GOMEMLIMIT": "400MiB",
    }
    assert review({}, variables) == []


@pytest.mark.parametrize("wrong", [None, "x", ["x"], 5])
def test_other_than_a_mapping_is_an_error(wrong: object) -> None:
    assert [str(problem) for problem in review(wrong, wrong)] == [
        "registry_settings, value: must be keys of the registry's configuration: write {}",
        "registry_environment, value: must be names and values of variables: write {}",
    ]


PLANTED = "planted-secret-6f1c"
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(PLANTED),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("log", "level", "hooks", "http", "headers", "storage", "filesystem", "s3"),
                    *("notifications", "endpoints", "health", "auth", "X-A", "fields"),
                ]
            )
            | st.integers()
            | st.none()
            | st.text(max_size=5),
            below,
            max_size=4,
        )
    ),
    max_leaves=12,
)
variable_names = st.sampled_from(
    [
        *("REGISTRY_LOG_LEVEL", "REGISTRY_", "REGISTRY", "REGISTRY_LOG_FIELDS_A_B"),
        *("REGISTRY_NOTIFICATIONS_ENDPOINTS_0_URL", "REGISTRY_HTTP_HEADERS", "FOO", "REGISTRY__"),
    ]
)


@given(settings=anything, variables=anything | st.dictionaries(variable_names, anything))
def test_no_message_contains_a_value(settings: object, variables: object) -> None:
    problems = [*review(settings, variables), *warnings(settings, variables)]
    assert not any(PLANTED in problem.message for problem in problems)


def test_secret_in_the_environment_is_warned_of() -> None:
    name = "REGISTRY_NOTIFICATIONS_ENDPOINTS_0_HEADERS_AUTHORIZATION_0"
    assert [str(problem) for problem in warnings({}, {name: PLANTED})] == [
        f"registry_environment, {name}: everyone who may run `docker inspect` on the host can "
        "read it: write it in registry_settings, "
        "notifications.endpoints[0].headers.authorization[0], instead",
        "registry_environment, notifications.endpoints: the registry's network has no way out, so "
        "only an address of this host's own side of it (container_engine_network) can be notified",
    ]
    assert [str(problem) for problem in warnings({}, {"OTEL_EXPORTER_OTLP_HEADERS": PLANTED})] == [
        "registry_environment, OTEL_EXPORTER_OTLP_HEADERS: everyone who may run `docker inspect` "
        "on the host can read it: leave it out if you can"
    ]


def test_notifications_are_warned_of_because_the_network_is_closed() -> None:
    settings = {"notifications": {"endpoints": [{"name": "a"}]}}
    (problem,) = warnings(settings, {})
    assert str(problem).startswith("registry_settings, notifications.endpoints: the registry's")
    assert warnings({"log": {"level": "debug"}}, {"REGISTRY_LOG_LEVEL": "debug"}) == []


def rendered(**more: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        **{"auth": "token", "service": "r.example.com", "issuer": "r.example.com"},
        **{"realm": "https://r.example.com/auth", "settings": {}, "drain_timeout": 600},
    }
    return render(**(defaults | more))


def test_facts_that_cost_time_to_find_out_are_in_the_file() -> None:
    file = rendered()
    assert file["storage"]["delete"] == {"enabled": True}
    assert "cache" not in file["storage"]
    purging = file["storage"]["maintenance"]["uploadpurging"]
    assert set(purging) == {"enabled", "age", "interval", "dryrun"}
    assert file["http"]["secret"] == "@@http_secret@@"
    assert file["http"]["draintimeout"] == "600s"
    assert file["http"]["debug"] == {"addr": "127.0.0.1:5001"}
    assert "host" not in file["http"]
    (middleware,) = file["middleware"]["storage"]
    assert middleware["options"] == {"baseurl": f"http://{configuration.BLOB_REDIRECT_HOST}"}
    assert environment({})["OTEL_TRACES_EXPORTER"] == "none"


def test_with_metrics_nginx_reaches_the_debug_listener() -> None:
    assert rendered(metrics=True)["http"]["debug"] == {
        "addr": ":5001",
        "prometheus": {"enabled": True, "path": "/metrics"},
    }


def test_token_authentication_trusts_rs256_and_es256_only() -> None:
    assert rendered()["auth"] == {
        "token": {
            "realm": "https://r.example.com/auth",
            "autoredirect": True,
            "autoredirectpath": "/auth",
            "service": "r.example.com",
            "issuer": "r.example.com",
            "rootcertbundle": "/etc/wharfinger/registry/token_signing.pem",
            "signingalgorithms": ["RS256", "ES256"],
        }
    }


def test_htpasswd_reads_the_live_file() -> None:
    assert rendered(auth="htpasswd")["auth"] == {
        "htpasswd": {"realm": "r.example.com", "path": "/etc/wharfinger/registry/htpasswd"}
    }


def test_settings_are_merged_over_what_is_rendered() -> None:
    settings = {
        "storage": {"maintenance": {"uploadpurging": {"age": "24h"}}},
        "catalog": {"maxentries": 5},
        "tags": {"maxtags": 7},
    }
    file = rendered(settings=settings)
    purging = {"enabled": True, "age": "24h", "interval": "24h", "dryrun": False}
    assert file["storage"]["maintenance"]["uploadpurging"] == purging
    assert (file["catalog"], file["tags"]) == ({"maxentries": 5}, {"maxtags": 7})
    assert file["storage"]["delete"] == {"enabled": True}
    assert rendered()["catalog"] == {"maxentries": 1000}


def test_environment_of_the_operator_comes_over_the_toolkits() -> None:
    assert environment({"OTEL_TRACES_EXPORTER": "otlp", "REGISTRY_CATALOG_MAXENTRIES": 5}) == {
        "OTEL_TRACES_EXPORTER": "otlp",
        "REGISTRY_CATALOG_MAXENTRIES": "5",
    }


@pytest.mark.parametrize("limit", [1, 9, 10, 50, 99, 100, 999, 1000, 1090, 25_000])
def test_every_larger_number_is_over_the_catalogs_limit_and_no_other(limit: int) -> None:
    limits = configuration.catalog({"catalog": {"maxentries": limit}}, {})
    assert limits["limit"] == limit
    pattern = re.compile(limits["over"])
    for number in {*range(2_000), *range(max(limit - 50, 0), limit + 50), limit * 10, 10**20}:
        assert bool(pattern.fullmatch(str(number))) is (number > limit)


def test_the_catalogs_limit_is_what_distribution_takes() -> None:
    def limit(settings: dict[str, Any], environment: dict[str, Any]) -> int:
        return int(configuration.catalog(settings, environment)["limit"])

    assert limit({}, {}) == rendered()["catalog"]["maxentries"] == 1000
    assert limit({"catalog": {"maxentries": 5}}, {}) == 5
    for value in (7, "7", "0x7"):
        assert limit({"catalog": {"maxentries": 5}}, {"REGISTRY_CATALOG_MAXENTRIES": value}) == 7
    # 0 means distribution's own limit, not a page without entries.
    assert limit({"catalog": {"maxentries": 0}}, {}) == 1000
    for value in (0, "0"):
        assert limit({"catalog": {"maxentries": 5}}, {"REGISTRY_CATALOG_MAXENTRIES": value}) == 1000


def test_the_middleware_that_checks_indexes_is_asked_for_where_the_image_has_it() -> None:
    ours = {"index_members": True}
    assert checks_members(ours, {}, {}) is True
    # The official image, or one from an older checkout, would answer every request with 500.
    assert checks_members({}, {}, {}) is checks_members({"index_members": False}, {}, {}) is False
    assert "repository" not in rendered()["middleware"]
    assert rendered(index_members=True)["middleware"]["repository"] == [{"name": "index-members"}]


@pytest.mark.parametrize(
    ("settings", "variables", "checked"),
    [
        ({"validation": {"manifests": {"indexes": {"platforms": "none"}}}}, {}, False),
        ({"validation": {"disabled": True}}, {}, False),
        ({}, {"REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS": "none"}, False),
        ({}, {"REGISTRY_VALIDATION_DISABLED": "true"}, False),
        ({"validation": {"manifests": {"urls": {"allow": ["^https://"]}}}}, {}, True),
        ({"log": {"level": "debug"}}, {"REGISTRY_LOG_LEVEL": "debug", "TZ": "UTC"}, True),
    ],
)
def test_the_inventorys_settings_for_indexes_take_precedence(
    settings: dict[str, Any], variables: dict[str, Any], checked: bool
) -> None:
    assert checks_members({"index_members": True}, settings, variables) is checked


MIRRORS = [
    {"from": "docker.io/library/debian", "to": "base/debian", "platforms": ["linux/amd64"]},
    {"from": "quay.io/other", "to": "base/other"},
]


def test_only_mirrors_with_platforms_may_lack_some() -> None:
    names = sparse(MIRRORS)
    assert names == ["base/debian"]
    ours = rendered(index_members=True, sparse=names)
    assert ours["middleware"]["repository"] == [
        {"name": "index-members", "options": {"sparse": ["base/debian"]}}
    ]
    assert "validation" not in ours
    official = rendered(sparse=names)
    assert official["validation"] == {"manifests": {"indexes": {"platforms": "none"}}}
    assert "validation" not in rendered(sparse=sparse(MIRRORS[1:]))
    # registry_settings has the last word.
    chosen = {"validation": {"manifests": {"indexes": {"platforms": "all"}}}}
    assert rendered(sparse=names, settings=chosen)["validation"] == chosen["validation"]
    assert sparse(None) == sparse([None, {"platforms": ["linux/amd64"]}]) == []


@pytest.mark.parametrize("by_variable", [False, True])
def test_indexes_that_are_checked_otherwise_are_warned_of(by_variable: bool) -> None:
    def said(value: str, mirrors: object) -> list[str]:
        settings = {"validation": {"manifests": {"indexes": {"platforms": value}}}}
        variables = {"REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS": value}
        if by_variable:
            return [str(problem) for problem in warnings({}, variables, mirrors)]
        return [str(problem) for problem in warnings(settings, {}, mirrors)]

    where = "registry_environment" if by_variable else "registry_settings"
    path = "validation.manifests.indexes.platforms"
    assert said("List", []) == [
        f"{where}, {path}: distribution 3.1.2 breaks off the connection at an index with a member "
        "without a platform, such as a list of signatures or a build cache: remove it, and name "
        "`platforms` in registry_mirrors; or write none, which checks no index"
    ]
    assert said("all", MIRRORS) == [
        f"{where}, {path}: all refuses the indexes of base/debian, where registry_mirrors names "
        "`platforms`: remove it"
    ]
    assert said("all", MIRRORS[1:]) == said("none", MIRRORS) == []


def test_the_middleware_has_the_name_that_the_binary_gives_it(project: Path) -> None:
    source = (project / "images/registry/members.go").read_text()
    assert f'const membersName = "{configuration.INDEX_MEMBERS}"' in source


ODD = [
    *(
        "it's",
        'a "b"',
        "{{ 1 + 1 }}",
        "{% raw %}",
        "two\nlines",
        "on",
        "null",
        "1e3",
        "a: b # c",
        "",
    ),
    *("- x", "@x", "%x", "é", "\U0001f600", "\x7f\x85\u2028\ufeff", "\\ud83d", " x "),
]


@pytest.mark.parametrize("value", ODD)
def test_any_text_reaches_the_file_as_it_is(value: str) -> None:
    token = rendered(service=value, issuer=value, realm=value)["auth"]["token"]
    assert (token["service"], token["issuer"], token["realm"]) == (value, value, value)
    settings = {"log": {"fields": {"a": value}}, "http": {"headers": {"X-A": [value]}}}
    file = rendered(settings=settings)
    assert file["log"]["fields"] == {"a": value}
    assert file["http"]["headers"] == {"X-Content-Type-Options": ["nosniff"], "X-A": [value]}


def test_a_list_of_the_settings_takes_the_place_of_the_files_own() -> None:
    settings = {"http": {"headers": {"X-Content-Type-Options": ["a", "b"]}}}
    assert rendered(settings=settings)["http"]["headers"] == settings["http"]["headers"]


@pytest.mark.parametrize("auth", ["token", "htpasswd"])
@pytest.mark.parametrize("on", [True, False])
def test_distribution_knows_every_key_of_every_variant(auth: str, on: bool) -> None:
    # Otherwise render would raise.
    assert rendered(auth=auth, metrics=on, index_members=on)["version"] == 0.1


def test_a_key_that_distribution_does_not_know_is_an_error_wherever_it_comes_from() -> None:
    with pytest.raises(ValueError, match=r"log\.levl: distribution 3\.1\.2 does not know this key"):
        rendered(settings={"log": {"levl": "info"}})
