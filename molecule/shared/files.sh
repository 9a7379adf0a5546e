#!/usr/bin/env bash
# Prints a tar of the project's files, as `git add --all` would take them, committed or not.
set -euo pipefail
cd "$(dirname "$0")/../.."
git ls-files -z --cached --others --exclude-standard |
  while IFS= read -r -d '' file; do
    # A file that was deleted is still in git's list.
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
  done | tar --create --null --files-from=- --owner=root --group=root
