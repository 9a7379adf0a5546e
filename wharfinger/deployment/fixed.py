"""Numbers and names that are the same on every host: user ids, ports, an account, timers' jobs.

The images' recipes repeat the ids and ports: with an import in its place, an image would be built
again whenever this file changes. A test compares them.
"""

from __future__ import annotations

# Users and groups of the two containers.
REGISTRY_ID = 64500
TOKEN_SERVER_ID = 64501

# Inside the containers' own network.
REGISTRY_PORT = 5000
# The registry's health and metrics.
REGISTRY_DEBUG_PORT = 5001
TOKEN_SERVER_PORT = 5002

# Logs in, pushes and pulls at the end of every deployment, below a first segment of this name; no
# inventory can name it.
VERIFICATION_ACCOUNT = "wharfinger-verification"

# What timers do to the registry's contents, each a command of the host program; with systemd it is
# run as the unit of this name with the job behind it.
JOBS = ("retention", "collect", "check_contents")
JOB_UNIT = "wharfinger-contents@"
# The renewals' command, and all of those whose successes are noted.
RENEW = "renew"
WATCHED = (RENEW, *JOBS)

# In the registry's configuration: replaced by the host's own secret when the file is written there.
HTTP_SECRET_PLACEHOLDER = "@@http_secret@@"
