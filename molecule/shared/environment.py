#!/usr/bin/env python3
"""Prints, as JSON, the environment in which a test host reaches the internet as this machine does.

If this machine needs a proxy, a mirror or its own certificate authority, so do the hosts on it;
otherwise the environment is empty. `environment.py FILE`: the file on the host with this machine's
certificate authorities.
"""

from __future__ import annotations

import json
import os
import re
import sys

AUTHORITIES = re.compile(r"(SSL_CERT_FILE|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_CERT)")
OTHERS = re.compile(
    r"(https?_proxy|no_proxy|PIP_(INDEX_URL|EXTRA_INDEX_URL|TRUSTED_HOST|DEFAULT_TIMEOUT)"
    r"|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|HTTP_TIMEOUT)|GO(PROXY|NOSUMDB|SUMDB|PRIVATE|NOPROXY))",
    re.IGNORECASE,
)


def main(authorities: str) -> None:
    """Prints the variables."""
    variables = {name: value for name, value in os.environ.items() if OTHERS.fullmatch(name)}
    variables |= {name: authorities for name in os.environ if AUTHORITIES.fullmatch(name)}
    print(json.dumps(variables))


if __name__ == "__main__":
    main(sys.argv[1])
