"""Values in the inventory: each mistake's message, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Judge

Strings = Callable[..., list[str]]

NO_NAME = (
    "is not a host name: write labels of letters, digits and inner hyphens (at most 63 characters "
    "each) with dots between, like registry.example.com"
)


def test_the_good_case_has_neither_errors_nor_warnings(warnings: Strings) -> None:
    assert warnings() == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("registry_example.com", f"'registry_example.com' {NO_NAME}"),
        ("-a.example.com", f"'-a.example.com' {NO_NAME}"),
        ("a..example.com", f"'a..example.com' {NO_NAME}"),
        ("a b.example.com", f"'a b.example.com' {NO_NAME}"),
        ("*.example.com", f"'*.example.com' {NO_NAME}"),
        ("a" * 64 + ".io", f"'{'a' * 63}…' {NO_NAME}"),
        (
            "https://registry.example.com/v2",
            "'https://registry.example.com/v2' is a URL: "
            "write the host's name alone, 'registry.example.com'",
        ),
        (
            "registry.example.com:5000",
            "'registry.example.com:5000' has a port in it: "
            "write 'registry.example.com' here and registry_port: 5000",
        ),
        (
            "Registry.Example.com",
            "'Registry.Example.com' has capital letters: write 'registry.example.com'",
        ),
        (
            "registry.example.com.",
            "'registry.example.com.' ends with a dot: write 'registry.example.com'",
        ),
        (
            "bücher.example.com",
            "'bücher.example.com' is not ASCII: "
            "write its encoded form, 'xn--bcher-kva.example.com'",
        ),
        (
            "ü" * 64 + ".io",
            f"'{'ü' * 63}…' is not a host name: write one like registry.example.com",
        ),
        (
            "registry.1",
            "'registry.1' ends with a number and is not an address: write a name like "
            "registry.example.com",
        ),
        (
            "10.0.0.5",
            "'10.0.0.5' is an address, and clients do not tell the proxy which address they mean: "
            "write a name here and the address into registry_extra_hostnames",
        ),
        (
            "registry",
            "'registry' has no dot, so docker would take it for a repository on Docker Hub: "
            "write a name with a dot, like registry.internal, or a registry_port other than 443",
        ),
        (
            "localhost",
            "'localhost' always means the machine itself, and docker talks plain HTTP to it: "
            "write the name that other machines use, like registry.example.com",
        ),
        (
            "vm.localdomain",
            "'vm.localdomain' always means the machine itself, and docker talks plain HTTP to it: "
            "write the name that other machines use, like registry.example.com",
        ),
    ],
)
def test_a_hostname_that_is_none(errors: Strings, name: str, message: str) -> None:
    assert errors(registry_hostname=name) == [f"registry_hostname: {message}"]


def test_a_hostname_without_dot_is_right_with_another_port(errors: Strings) -> None:
    assert errors(registry_hostname="registry", registry_port=5000) == []


def test_without_a_hostname_the_hosts_full_name_is_judged(errors: Strings) -> None:
    assert errors(without=("registry_hostname",)) == []
    assert errors(registry_hostname="", host={"fqdn": "vm"}) == [
        "registry_hostname: is empty, and so the host's own name: 'vm' has no dot, so docker would "
        "take it for a repository on Docker Hub: write a name with a dot, like vm.internal, "
        "or a registry_port other than 443"
    ]


def test_without_a_hostname_a_hosts_entry_makes_one_with_a_dot(errors: Strings) -> None:
    assert errors(registry_hostname="", registry_hosts_entry=True, host={"fqdn": "vm"}) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["10.0.0.5", "Registry.lan"],
            "entry 2: 'Registry.lan' has capital letters: write 'registry.lan'",
        ),
        (
            ["0.0.0.0"],
            "entry 1: '0.0.0.0' is not the address of a host: write the host's own address",
        ),
        (["a.lan", "fd00::5", "a.lan"], "entry 3: 'a.lan' is there already: remove one of them"),
        (
            ["registry.example.com"],
            "entry 1: 'registry.example.com' is there already: remove one of them",
        ),
        (
            [""],
            "entry 1: is empty: write the name that clients use, like registry.example.com",
        ),
    ],
)
def test_an_extra_hostname_that_is_none(errors: Strings, names: list[str], message: str) -> None:
    assert errors(registry_extra_hostnames=names) == [f"registry_extra_hostnames, {message}"]


def test_extra_hostnames_may_be_addresses_and_names_without_dot(errors: Strings) -> None:
    assert errors(registry_extra_hostnames=["10.0.0.5", "fd00::5", "registry"]) == []


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("registry_port", 80, "80 is taken by the redirect to https: write 443 or another port"),
        ("registry_port", 0, "0 is out of range: write a number from 1 to 65535"),
        ("registry_port", 70000, "70000 is out of range: write a number from 1 to 65535"),
        ("registry_pids", 1, "1 is out of range: write a number from 32 to 1000000"),
        (
            "docker_auth_account_failures",
            0,
            "0 is out of range: write a number from 1 to 999999",
        ),
        (
            "docker_auth_address_failures",
            -1,
            "-1 is out of range: write a number from 1 to 999999",
        ),
        (
            "docker_auth_known_failures",
            100,
            "100 must be smaller than docker_auth_account_failures, 100: write at most 99",
        ),
        ("certificates_tls_days", 826, "826 is out of range: write a number from 1 to 825"),
        ("preflight_clock_tolerance", 0, "0 is out of range: write a number from 1 to 3600"),
        (
            "certificates_tls_days",
            400,
            "400 days outlive the CA's 365: write at most 365, or a larger certificates_ca_days",
        ),
        (
            "registry_drain_timeout",
            "10 minutes",
            "'10 minutes' is not a duration: write seconds, or 90s, 10m, 1h",
        ),
        (
            "registry_drain_timeout",
            "9s",
            "9 s is too short: at each change, requests that take longer are cut off, like a layer "
            "being pushed: write at least 10s; 10m lets large layers through",
        ),
        (
            "registry_drain_timeout",
            "2h",
            "7200 s is out of range: write a duration from 10s to 3600s",
        ),
        (
            "docker_auth_token_lifetime",
            "2h",
            "7200 s is out of range: write a duration from 60s to 3600s",
        ),
        ("registry_memory", "lots", "'lots' is not a size: write bytes, or 512m, 2g, 2GiB"),
        ("docker_auth_memory", "16m", "16 MiB is too little: write at least 64 MiB"),
        (
            "storage_free_minimum",
            "2 gigs",
            "'2 gigs' is not a size: write bytes, or 512m, 2g, 2GiB",
        ),
    ],
)
def test_a_number_that_cannot_be(errors: Strings, name: str, value: Any, message: str) -> None:
    changes: dict[str, Any] = {name: value}
    if value == 400:
        changes["certificates_ca_days"] = 365
    assert errors(**changes) == [f"{name}: {message}"]


LIMITS = (
    "docker_auth_account_failures",
    "docker_auth_known_failures",
    "docker_auth_address_failures",
)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        (
            "docker_auth_server",
            "cesanta",
            "docker_auth does not count wrong passwords: "
            "write docker_auth_server: embedded, or remove it",
        ),
        (
            "registry_auth",
            "htpasswd",
            "with registry_auth htpasswd nothing counts wrong passwords: "
            "write registry_auth: token, or remove it",
        ),
    ],
)
def test_a_limit_that_nothing_would_enforce(
    errors: Strings, name: str, setting: str, value: str, message: str
) -> None:
    access = [{"who": "everyone", "may": "all", "on": "all"}]
    given = {setting: value, "registry_access": access}
    assert errors(**given) == []
    assert errors(**given, **{name: 50}) == [f"{name}: {message}"]


def test_a_limit_of_one_leaves_no_smaller_one(errors: Strings) -> None:
    assert errors(docker_auth_account_failures=1, docker_auth_known_failures=1) == [
        "docker_auth_known_failures: 1 must be smaller than docker_auth_account_failures, "
        "1: write at least 2 there"
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("registry", "'registry' is not an absolute path: write one like /srv/registry"),
        ("", "'' is not an absolute path: write one like /srv/registry"),
        (
            "/",
            "'/' is a directory of the system: write one of its own, like /srv/registry",
        ),
        (
            "/var",
            "'/var' is a directory of the system: write one of its own, like /var/registry",
        ),
        (
            "/etc",
            "'/etc' is a directory of the system: write one of its own, like /srv/registry",
        ),
        (
            "/var/lib/wharfinger/",
            "'/var/lib/wharfinger/' is a directory of the system: "
            "write one of its own, like /var/lib/wharfinger/registry",
        ),
        (
            "/tmp/registry",
            "'/tmp/registry' lies in /tmp, which is not for data: write /srv/registry",
        ),
        (
            "/var/lib/docker/registry",
            "'/var/lib/docker/registry' lies in /var/lib/docker, which is not for data: "
            "write /srv/registry",
        ),
        ("/srv/../etc", "'/srv/../etc' has a .. in it: write the path that is meant"),
        (
            "/srv/registry/",
            "'/srv/registry/' has too many slashes or dots: write '/srv/registry'",
        ),
        (
            "//srv/./registry",
            "'//srv/./registry' has too many slashes or dots: write '/srv/registry'",
        ),
        (
            "/srv/my registry",
            "'/srv/my registry' has characters that nginx or docker would misread: "
            "write a path of letters, digits and . _ @ + - /",
        ),
        (
            "/srv/registry,ro",
            "'/srv/registry,ro' has characters that nginx or docker would misread: "
            "write a path of letters, digits and . _ @ + - /",
        ),
    ],
)
def test_a_storage_path_that_cannot_be(errors: Strings, path: str, message: str) -> None:
    assert errors(storage_path=path) == [f"storage_path: {message}"]


EXAMPLE = "like {src: /dev/sdb1, fstype: ext4, opts: noatime}"


@pytest.mark.parametrize(
    ("mount", "messages"),
    [
        (
            {"src": "/dev/sdb1"},
            [f"storage_mount, fstype: is missing: write what /etc/fstab has, {EXAMPLE}"],
        ),
        (
            {"source": "/dev/sdb1", "fstype": "ext4"},
            [
                "storage_mount, source: is not a key of storage_mount: its keys are src, fstype, "
                "opts",
                f"storage_mount, src: is missing: write what /etc/fstab has, {EXAMPLE}",
            ],
        ),
        (
            {"src": "/dev/sdb1", "fs_type": "ext4"},
            [
                "storage_mount, fs_type: is not a key of storage_mount: write fstype",
                f"storage_mount, fstype: is missing: write what /etc/fstab has, {EXAMPLE}",
            ],
        ),
        (
            {"src": "/dev/sdb1", "fstype": "ext4", "dump": 0},
            [
                "storage_mount, dump: is not a key of storage_mount: its keys are src, fstype, "
                "opts",
            ],
        ),
        (
            {"src": "/dev/sdb1", "fstype": "ext4", "opts": ["noatime"]},
            [f"storage_mount, opts: is a list: write what /etc/fstab has, {EXAMPLE}"],
        ),
        (
            {"src": "//nas/data", "fstype": "cifs", "opts": "username=me,password=planted"},
            [
                "storage_mount, opts: holds a password, which /etc/fstab shows to everyone on the "
                "host: write credentials=FILE, a file there that only root reads",
            ],
        ),
        (
            {"src": "/dev/sdb1", "fstype": "ext4", "opts": "noatime, nodev"},
            [f"storage_mount, opts: has a blank in it: write one word, {EXAMPLE}"],
        ),
    ],
)
def test_a_storage_mount_that_cannot_be(
    errors: Strings, mount: dict[str, Any], messages: list[str]
) -> None:
    assert errors(storage_mount=mount) == messages


@pytest.mark.parametrize(
    ("subnet", "message"),
    [
        ("wharfinger", "'wharfinger' is not an IPv4 subnet: write one like 172.31.255.240/28"),
        ("fd00::/64", "'fd00::/64' is not an IPv4 subnet: write one like 172.31.255.240/28"),
        (
            "10.1.2.3/28",
            "'10.1.2.3/28' is an address within a subnet: write '10.1.2.0/28'",
        ),
        (
            "198.51.100.0/28",
            "'198.51.100.0/28' is not private: write a subnet of 10.0.0.0/8, 172.16.0.0/12 "
            "or 192.168.0.0/16, like 172.31.255.240/28",
        ),
        (
            "192.168.7.0/29",
            "'192.168.7.0/29' has too few addresses: write a /28 or larger, like 172.31.255.240/28",
        ),
    ],
)
def test_a_subnet_that_cannot_be(errors: Strings, subnet: str, message: str) -> None:
    assert errors(container_engine_network=subnet) == [f"container_engine_network: {message}"]


@pytest.mark.parametrize(
    ("source", "name", "value", "wanted"),
    [
        ("own_ca", "certificates_tls_key", "tls.key", "provided"),
        ("own_ca", "certificates_tls_ca", "ca.crt", "provided"),
        ("own_ca", "certificates_acme_directory", "https://ca.lan/directory", "acme"),
        ("own_ca", "certificates_acme_ca", "ca.crt", "acme"),
        ("own_ca", "certificates_acme_email", "me", "acme"),
        ("own_ca", "certificates_acme_eab_kid", "1", "acme"),
        ("own_ca", "certificates_acme_eab_hmac_key", "?", "acme"),
        ("acme", "certificates_tls_certificate", "tls.crt", "provided"),
        ("acme", "certificates_tls_key", "tls.key", "provided"),
    ],
)
def test_a_certificates_setting_that_is_not_used_is_a_warning(
    warnings: Strings, source: str, name: str, value: str, wanted: str
) -> None:
    assert warnings(**{"certificates_tls_source": source, name: value}) == [
        f"{name}: is not used, since certificates_tls_source is {source}: "
        f"write certificates_tls_source: {wanted}, or remove it"
    ]


def test_an_offline_key_of_no_authority_is_a_warning(judge: Judge) -> None:
    report = judge(certificates_tls_source="provided", certificates_ca_offline=True)
    assert report.warnings == [
        "certificates_ca_offline: is not used, since certificates_tls_source is provided: "
        "write certificates_tls_source: own_ca, or remove it"
    ]


def test_a_default_that_is_not_used_gives_no_warning(warnings: Strings) -> None:
    # Ansible passes the roles' defaults on as if the inventory contained them.
    directory = "https://acme-v02.api.letsencrypt.org/directory"
    assert warnings(certificates_acme_directory=directory, certificates_acme_email="") == []


@pytest.mark.parametrize("command", ["logger\nrm -r /", "logger \0", "a\r"])
def test_an_alert_command_is_one_line_and_is_not_shown(errors: Strings, command: str) -> None:
    assert errors(certificates_alert_command=command) == [
        "certificates_alert_command: has a line break or a NUL in it: write one line of shell, "
        "like mail -s registry root, or the path of a script on the host"
    ]


def test_any_line_of_shell_may_alert(errors: Strings) -> None:
    assert errors(certificates_alert_command="curl -d @- 'https://x/?a=1' || logger -t ca") == []


def test_a_host_whose_alerts_nobody_would_get_is_a_warning(warnings: Strings) -> None:
    assert warnings(certificates_alert_command="") == []
    assert warnings(reverse_proxy_metrics_listen="", certificates_alert_command="logger") == []
    assert warnings(reverse_proxy_metrics_listen="", certificates_alert_command="") == [
        "certificates_alert_command: is empty, and so is reverse_proxy_metrics_listen: nobody "
        "learns that the host cannot renew a certificate or that its disk is full: write a "
        'command for it, such as mail -s "$WHARFINGER_HOSTNAME" admin@example.com'
    ]


def test_a_pin_is_a_digest(errors: Strings) -> None:
    name = "docker.io/library/registry:3.1.2"
    assert errors(images_pinned={name: "sha256:" + "0" * 64}) == []
    assert errors(images_pinned={name: ""}) == []
    assert errors(images_pinned={name: "3.1.2"}) == [
        f"images_pinned: {name}: the value is not a digest: write sha256: and 64 hexadecimal "
        'digits in lower case, or "" where the image is not pinned'
    ]
    assert errors(images_pinned={3.12: ""}) == [
        "images_pinned: a key is a number: write an image's reference, in quotes, such as "
        '"docker.io/library/registry:3.1.2"'
    ]


def test_a_pin_of_an_image_that_is_not_pulled_is_a_warning(warnings: Strings) -> None:
    name = "docker.io/library/registry:3.1.2"
    assert warnings(images_registry=name, images_pinned={name: ""}) == []
    assert warnings(images_registry=name, images_pinned={"registry:3.1.2": ""}) == [
        "images_pinned: 'registry:3.1.2' pins nothing: write the reference exactly as in "
        "images_registry, images_token_server or images_docker_auth"
    ]


def test_an_archive_is_needed_for_archive(errors: Strings) -> None:
    assert errors(images_source="archive") == [
        "images_archive: is empty, but images_source is archive: "
        "write the bundle's path on the controller"
    ]


def test_an_archive_that_is_not_there(errors: Strings, tmp_path: Path) -> None:
    # The builder's own message about it, if any, would only repeat this.
    said = {"archive_error": "images_archive: no such file"}
    assert errors(
        images_source="archive", images_archive="no.tar", controller={**said, "base": "/files"}
    ) == [
        "images_archive: '/files/no.tar' is not a file on the controller: write the bundle's path"
    ]


def test_errors_of_opening_the_archive_arrive(errors: Strings, tmp_path: Path) -> None:
    (tmp_path / "bundle.tar").write_bytes(b"")
    said = (
        "images_archive: bundle.tar: registry.tar: its SHA-256 is 00, but bundle.json says 11: "
        "copy the bundle again"
    )
    changes: dict[str, Any] = {"images_source": "archive", "images_archive": "bundle.tar"}
    assert errors(**changes) == []
    assert errors(**changes, controller={"archive_error": said}) == [said]


def test_an_archive_that_is_not_used_is_a_warning(warnings: Strings) -> None:
    assert warnings(images_archive="bundle.tar") == [
        "images_archive: is not used, since images_source is pull: "
        "write images_source: archive, or remove it"
    ]


def test_credentials_in_a_pasted_url_are_not_shown(errors: Strings) -> None:
    (message,) = errors(registry_hostname="https://me:hunter2@registry.example.com")
    assert "hunter2" not in message
    assert "registry.example.com" in message


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        *(
            (
                listen,
                f"'{listen}' is not an address with a port: write 127.0.0.1:9180, another address "
                'of the host (IPv6 as [fd00::1]:9180), or "" for no metrics',
            )
            for listen in (
                *("9180", "localhost:9180", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:70000"),
                *("::1:9180", "[::1]", "[127.0.0.1]:9180", "1.2.3.4.5:80", "unix:/run/m"),
            )
        ),
        (
            "0.0.0.0:9180",
            "'0.0.0.0:9180' is every address of the host, and anyone who reaches one of them "
            "could read the metrics: write the one to listen on, such as 127.0.0.1:9180",
        ),
        (
            "[::]:9181",
            "'[::]:9181' is every address of the host, and anyone who reaches one of them could "
            "read the metrics: write the one to listen on, such as 127.0.0.1:9181",
        ),
        (
            "127.0.0.1:443",
            "'127.0.0.1:443' has a port on which the registry itself is served: write another, "
            "such as 127.0.0.1:9180",
        ),
        (
            "[::1]:80",
            "'[::1]:80' has a port on which the registry itself is served: write another, "
            "such as [::1]:9180",
        ),
    ],
)
def test_an_address_for_metrics_that_cannot_be(errors: Strings, listen: str, message: str) -> None:
    assert errors(reverse_proxy_metrics_listen=listen) == [
        f"reverse_proxy_metrics_listen: {message}"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "::ffff:10.0.0.0/104",
            '"::ffff:10.0.0.0/104" is an IPv4 network written as IPv6: write 10.0.0.0/8',
        ),
        (
            "10.0.0.7/8",
            '"10.0.0.7/8" has bits set after its prefix: write 10.0.0.0/8 for the network, '
            "or 10.0.0.7 for one address",
        ),
        (
            "balancer",
            '"balancer" is neither an address nor a network: '
            "write one like 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32",
        ),
        (
            "0.0.0.0/0",
            "0.0.0.0/0 is everybody, and any client could say that it has another address: "
            "write the addresses of your load balancers, like 10.0.0.7 or 10.0.0.0/24",
        ),
    ],
)
def test_trusted_networks_are_networks(errors: Strings, text: str, message: str) -> None:
    assert errors(reverse_proxy_trusted_networks=["10.0.0.0/8", "2001:db8::7"]) == []
    assert errors(reverse_proxy_trusted_networks=["10.0.0.0/8", text]) == [
        f"reverse_proxy_trusted_networks, entry 2: {message}"
    ]
