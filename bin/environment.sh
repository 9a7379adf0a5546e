# shellcheck shell=bash
# The locked Python environment in .venv, for ./deploy, ./test and bin/lock (sourced by them, from
# the project's folder).
#
#   environment NAME    .venv holds the packages of requirements/NAME.txt, uv, and the command `wharf`
#                       if the packages that it needs are among them
#
# Quick when nothing has changed, and safe when interrupted or started twice at once: a stamp in
# .venv says what is installed and is written last; a lock lets one process at a time install.
#
# Variables that the caller's shell has set for other work are unset: see own_surroundings.

say() { printf '==> %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Removes the settings of another project's Python, folders and targets of pip and uv, a locale that is not
# generated here, and a home that does not exist. The package index, proxies and TMPDIR stay the caller's.
own_surroundings() {
  unset CDPATH VIRTUAL_ENV "${!PYTHON@}" PIP_TARGET PIP_PREFIX PIP_ROOT PIP_CONSTRAINT PIP_REQUIREMENT \
    UV_PYTHON UV_TARGET UV_PREFIX UV_SYSTEM_PYTHON UV_CONSTRAINT UV_OVERRIDE UV_EXCLUDE_NEWER UV_WORKING_DIRECTORY
  # A pip.conf may say `user = true`, which no virtual environment allows.
  export PIP_USER=0
  # A company's TLS-inspecting proxy has a CA that only the system knows: uv's own list of CAs lacks it.
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-true}
  # Debian's sshd takes the locale from the operator's desktop; Ansible fails if it is not generated here.
  if [ "$(LC_ALL=C.UTF-8 locale charmap 2>/dev/null)" = UTF-8 ]; then export LC_ALL=C.UTF-8; fi
  if [ ! -d "${TMPDIR:-/tmp}" ] || [ ! -w "${TMPDIR:-/tmp}" ]; then unset TMPDIR; fi
  # `sudo -E` leaves another user's, who could no longer change what root writes there.
  local name
  for name in HOME XDG_CACHE_HOME XDG_CONFIG_HOME XDG_DATA_HOME UV_CACHE_DIR ANSIBLE_HOME ANSIBLE_LOCAL_TEMP; do
    if [ -d "${!name:-}" ] && [ ! -O "${!name}" ]; then unset "$name"; fi
  done
  if [ -z "${HOME:-}" ]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
    export HOME
  fi
  # Ansible and uv keep their files there.
  if [ ! -d "$HOME" ] || [ ! -w "$HOME" ]; then export HOME=$PWD/.venv/home; fi
}
own_surroundings

# Runs a command as root: directly, or by sudo.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    sudo "$@"
  else
    fail "root is needed for '$*': run this as root, or as a user who may use sudo."
  fi
}

# Runs apt-get, and waits up to 300 s while another apt or dpkg is running. apt's own option for that,
# DPkg::Lock::Timeout, does not cover the locks of package lists and archives.
apt_get() {
  local end=$((SECONDS + 300)) said told=
  until said=$(as_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1 >/dev/null); do
    case $said in
      *"Could not get lock"* | *"is another process using it"* | *"lock was locked by another process"*) ;;
      *)
        printf '%s\n' "$said" >&2
        return 1
        ;;
    esac
    [ $SECONDS -lt $end ] || fail "apt was still locked after 300 s: ${said%%$'\n'*}"
    if [ "$said" != "$told" ]; then say "waiting for another apt, up to 300 s: ${said%%$'\n'*}"; fi
    told=$said
    sleep 2
  done
}

# Installs Debian or Ubuntu packages; several starts at once wait for each other.
apt_install() {
  command -v apt-get >/dev/null || fail "install $* with your package manager, then start again."
  say "installing $* (apt)"
  apt_get update
  apt_get install --yes --no-install-recommends "$@"
}

# The first Python of 3.11 or newer, the system's own before any other.
environment_python() {
  local candidate
  for candidate in /usr/bin/python3 python3 python3.{14,13,12,11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# What .venv was made from: if the checkout is moved, or Python is another one, the scripts in it no longer work.
environment_stamp() {
  printf '%s %s %s\n' "$PWD" "$(readlink -f .venv/bin/python)" \
    "$(cat requirements/bootstrap.txt "requirements/$1.txt" pyproject.toml bin/usable_locale.py | sha256sum)"
}

environment_is_ready() {
  [ -x .venv/bin/python ] && [ "$(environment_stamp "$1")" = "$(cat ".venv/$1.stamp" 2>/dev/null)" ]
}

environment_install() {
  local python
  if ! python=$(environment_python); then
    apt_install python3
    python=$(environment_python) ||
      fail "Python 3.11 or newer is needed, and this system's is older: install one, then start again."
  fi
  if ! "$python" -c 'import ensurepip' 2>/dev/null; then
    case $python in
      /usr/bin/python3) apt_install python3-venv ;;
      *) apt_install "$(basename "$python")-venv" ;;
    esac
  fi
  say "installing requirements/$1.txt into .venv ($("$python" --version))"
  if [ "$(cat .venv/made 2>/dev/null)" != "$PWD $(readlink -f "$python")" ]; then
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes \
      --requirement requirements/bootstrap.txt
    printf '%s %s\n' "$PWD" "$(readlink -f "$python")" >.venv/made
  fi
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes \
    --requirement requirements/bootstrap.txt --requirement "requirements/$1.txt"
  # This project itself, in place: .venv/bin/wharf. It is built by packages that have just been installed, and
  # downloads nothing.
  if grep -q '^flit-core==' "requirements/$1.txt"; then
    .venv/bin/uv pip install --quiet --offline --python .venv/bin/python --no-deps --no-build-isolation \
      --editable .
  fi
  local packages
  packages=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  cp bin/usable_locale.py "$packages"
  echo 'import usable_locale' >"$packages/usable_locale.pth"
  environment_stamp "$1" >".venv/$1.stamp"
}

environment() {
  if ! environment_is_ready "$1"; then
    (
      flock 9
      # .venv holds no secrets, and other users may run its programs.
      umask 022
      # Another process may have installed it meanwhile.
      if ! environment_is_ready "$1"; then environment_install "$1"; fi
    ) 9<requirements
  fi
  PATH=$PWD/.venv/bin:$PATH
  export PATH
  mkdir -p "$HOME"
}

# Installs what images/build.py needs besides Python.
build_tools() {
  local missing=()
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
  # Without root, mmdebstrap works in a user namespace.
  [ "$(id -u)" = 0 ] || command -v newuidmap >/dev/null || missing+=(uidmap)
  if [ ${#missing[@]} != 0 ]; then apt_install "${missing[@]}"; fi
}

# Uses the project's ansible.cfg, and its plugins before those of the caller's variables.
own_ansible() {
  local part name collections
  if [ -n "${ANSIBLE_CONFIG:-}" ] && [ "$(readlink -f "$ANSIBLE_CONFIG")" != "$PWD/ansible.cfg" ]; then
    say "ANSIBLE_CONFIG is not used: the settings are those of $PWD/ansible.cfg"
  fi
  export ANSIBLE_CONFIG=$PWD/ansible.cfg
  # Another project's tags would skip tasks of this one.
  for name in ANSIBLE_RUN_TAGS ANSIBLE_SKIP_TAGS; do
    if [ -n "${!name:-}" ]; then say "$name is not used: write --tags or --skip-tags"; fi
    unset "$name"
  done
  if [ -n "$(find . -maxdepth 0 -perm -o+w)" ]; then
    say "anyone may write to $PWD, and ansible-playbook ignores ansible.cfg there: chmod o-w '$PWD'"
  fi
  for part in roles_path=roles library=plugins/modules module_utils=plugins/module_utils \
    {action,filter,lookup,inventory,vars,callback}_plugins; do
    name=ANSIBLE_${part%%=*}
    name=${name^^}
    case $part in
      *=*) part=${part#*=} ;;
      *) part=plugins/${part%_plugins} ;;
    esac
    if [ -n "${!name:-}" ]; then export "$name=$PWD/$part:${!name}"; fi
  done
  if [ -n "${ANSIBLE_INVENTORY_ENABLED:-}" ]; then
    export ANSIBLE_INVENTORY_ENABLED=readable_inventory,$ANSIBLE_INVENTORY_ENABLED
  fi
  if [ -n "${ANSIBLE_INVENTORY_IGNORE_REGEX:-}" ]; then
    export ANSIBLE_INVENTORY_IGNORE_REGEX="^credentials\$,$ANSIBLE_INVENTORY_IGNORE_REGEX"
  fi
  # The locked collections before others of the same name.
  collections=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  collections+=:${ANSIBLE_COLLECTIONS_PATH:-$HOME/.ansible/collections:/usr/share/ansible/collections}
  export ANSIBLE_COLLECTIONS_PATH=$collections
}
