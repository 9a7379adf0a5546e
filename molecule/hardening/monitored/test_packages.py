"""An upgrade of nginx's package brings another nginx.conf."""

from __future__ import annotations

from testinfra.host import Host

from support import hosts

# The archive's package with another nginx.conf and a later version. dpkg is told to ignore that
# nginx itself depends on exactly the previous version.
LATER = """
set -e
cd $(mktemp -d)
apt-get download --quiet nginx-common
dpkg-deb --raw-extract nginx-common_*.deb later
sed -i 's/^Version: .*/&+later1/' later/DEBIAN/control
echo '# a later package' >>later/etc/nginx/nginx.conf
rm later/DEBIAN/md5sums
dpkg-deb --build later later.deb
dpkg --install --force-depends later.deb </dev/null
"""


def machine() -> Host:
    return hosts.host("debian13")


def test_an_upgrade_asks_nobody_and_leaves_room_for_connections() -> None:
    before = machine().file("/etc/nginx/nginx.conf").content_string
    package = machine().file("/etc/nginx/nginx.conf.package")
    stock = package.content_string
    assert "worker_connections 8192;" in before
    version = machine().check_output("dpkg-query --show --showformat '${Version}' nginx-common")
    machine().check_output(LATER)
    try:
        assert machine().file("/etc/nginx/nginx.conf").content_string == before
        assert package.content_string == f"{stock}# a later package\n"
        machine().check_output("nginx -t")
    finally:
        machine().check_output(
            f"apt-get --yes --allow-downgrades install nginx-common={version} </dev/null"
        )
    assert machine().file("/etc/nginx/nginx.conf").content_string == before
    assert package.content_string == stock
    assert machine().service("nginx").is_running
