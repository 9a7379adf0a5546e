"""Numbers and names that are the same on every host: user ids, ports, an account, timers' jobs.

The images' recipes import them too. Files of Go and YAML repeat a few, which tests compare.
"""

from __future__ import annotations

# Users and groups of the two containers.
REGISTRY_ID = 64500
TOKEN_SERVER_ID = 64501
# Of the process that copies mirrors.
MIRROR_ID = 64502

# Where base images are made, root of the user namespace is this account on the host, and so on for
# 65536 ids. No account has them: systemd leaves the ids from 1879048192 on free.
BASE_IMAGE_IDS = 1_900_000_000

# Inside the containers' own network.
REGISTRY_PORT = 5000
# The registry's health and metrics.
REGISTRY_DEBUG_PORT = 5001
TOKEN_SERVER_PORT = 5002

# Logs in, pushes and pulls at the end of every deployment, in repositories whose first segment is
# this name. An inventory cannot use the name.
VERIFICATION_ACCOUNT = "wharfinger-verification"
# Pushes what registry_mirrors name, and may do nothing else. An inventory cannot use it either.
MIRROR_ACCOUNT = "wharfinger-mirror"
# Name → what it is reserved for, in words.
RESERVED_ACCOUNTS = {
    VERIFICATION_ACCOUNT: "the deployment's own verification",
    MIRROR_ACCOUNT: "the copying of mirrors",
}

# The timers' jobs on the registry's contents. Each is a command of the host program; with systemd
# it runs as the unit of this name, with the job after the @.
BACKUP = "backup"
DRILL = "drill"
MIRROR = "mirror"
BASE_IMAGES = "base_images"
JOBS = ("retention", "collect", "check_contents", BACKUP, DRILL, MIRROR, BASE_IMAGES)
JOB_UNIT = "wharfinger-contents@"
# What people call the jobs, where it is another word (docs/glossary.md).
JOB_WORDS = {"collect": "collection", "check_contents": "scrub", BASE_IMAGES: "base images"}
# The renewals' command, and all of those whose successes are noted.
RENEW = "renew"
WATCHED = (RENEW, *JOBS)

# In the registry's configuration. The host replaces it by its own secret when it writes the file.
HTTP_SECRET_PLACEHOLDER = "@@http_secret@@"
