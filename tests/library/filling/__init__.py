"""Fills a registry as clients do, by its API alone, and checks whether it still holds everything.

    content = fill(session)         # or python -m filling --help
    assert missing(session, content) == []

Something of every kind: indexes, images that share layers, a large layer, artifacts with subjects
and the tag that stands in for the referrers API, signatures as cosign tags them, both families of
manifests, a build cache, nested names, revisions that no tag names any more, and very many small
tags.
"""

from __future__ import annotations

from .compare import missing
from .content import Content
from .fill import Amount, fill
from .pushing import Pushing

__all__ = ["Amount", "Content", "Pushing", "fill", "missing"]
