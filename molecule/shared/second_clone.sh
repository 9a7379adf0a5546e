#!/usr/bin/env bash
# Deploys from a clone of the project, and a copy of the inventory without its credentials/, as a
# colleague would have them: second_clone.sh DIRECTORY (the scenario's ephemeral one).
# The output stays in DIRECTORY/second_clone.log for the tests.
set -euo pipefail
directory=$1
clone=$directory/second_clone
rm -rf "$clone"
mkdir -p "$clone"
"$(dirname "$0")/files.sh" | tar --extract --directory "$clone"
cp -rL "$directory/inventory" "$clone/inventory/test"
rm -rf "$clone/inventory/test/credentials"
cd "$clone"
ANSIBLE_CONFIG=$clone/ansible.cfg ansible-playbook -i inventory/test --diff site.yml |
  tee "$directory/second_clone.log"
