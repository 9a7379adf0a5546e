"""`site`: the toolkit's nginx file, which nginx then serves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..keys.publication import served
from ..rollout.proxy import apply, serving_now
from ..system import logs
from ..system.context import Host
from ..system.errors import HostError
from ..system.files import read_text
from .main_settings import make_room


def site(host: Host, request: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """`site`: writes our site file, and makes nginx serve it with the present certificate.

    Request: {"content", "remove_default_site": false}. The latter removes Debian's welcome page,
    and restores it if nginx then refuses the configuration.
    """
    state = host.store.load()
    before = read_text(host.paths.site) or ""
    actions = logs.folder(host, check) + make_room(host, state, check)
    default = host.paths.nginx / "sites-enabled" / "default"
    link: Path | None = None
    if request.get("remove_default_site") and default.is_symlink():
        actions.append(f"{default}: removed")
        link = default.readlink()
        if not check:
            default.unlink()
            # Forces a reload even if the site itself is unchanged.
            state.proxy_loaded = None
    try:
        actions += apply(
            host,
            state,
            serving_now(state),
            site=str(request["content"]),
            tls=served(host),
            check=check,
        )
    except HostError:
        if link is not None and not check:
            default.symlink_to(link)
        raise
    actions += logs.adopt(host, check)
    answer: dict[str, Any] = {"actions": actions}
    if before != request["content"]:
        header = str(host.paths.site)
        answer["diff"] = {
            "before": before,
            "after": request["content"],
            "before_header": header,
            "after_header": header,
        }
    return answer
