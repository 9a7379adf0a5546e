"""Gives the programs of .venv a locale that works if their caller's does not.

Every Python of .venv imports it at its start (usable_locale.pth, by bin/environment.sh). Ansible
fails if the locale is not generated on this machine, or is not UTF-8; sshd takes it from the
desktop of the user who logs in. C.UTF-8 always exists.
"""

from __future__ import annotations

import locale
import os
import sys


def _usable() -> bool:
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        encoding = locale.getlocale()[1] or ""
    except (locale.Error, ValueError):
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)
    return encoding.lower() in ("utf-8", "utf8") and sys.getfilesystemencoding() == "utf-8"


if os.environ.get("LC_ALL") != "C.UTF-8" and not _usable():
    # Python starts again, because texts that it has read by now may be decoded wrongly.
    os.environ["LC_ALL"] = "C.UTF-8"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
