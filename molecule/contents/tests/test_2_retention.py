"""Retention removes tags by the rules, and their signatures with them, but nothing that is needed.

The tests run in the order in which they are written.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import Any

import pytest

from filling.fill import one_image, sign
from filling.manifests import belonging
from filling.site import SETTINGS, Site, revision_path, tag_path
from support.waiting import enough

DAY = 86400
RULES: list[dict[str, Any]] = [
    {
        "number": 1,
        "on": ["^small/000/app$"],
        "newest": 2,
        "newer_than": 35 * DAY,
        "matching": ["v1"],
    },
    {"number": 2, "on": ["^signed/[^/]+$"], "newest": 3},
    {"number": 3, "on": ["^team(/[^/]+)+$"], "matching": ["1.1", "latest", "1"]},
]


@pytest.fixture(scope="module")
def before(site: Site) -> dict[str, dict[str, str]]:
    """The tags before these tests, with the ages that the rules need."""
    for number in range(1, 11):
        site.aged((11 - number) * 10, tag_path("small/000/app", f"v{number}"))
    signed = site.content["signed/app"]
    for number in range(12):
        site.aged(30 - number, tag_path("signed/app", f"v{number}"))
    # The signatures are the newest, and do not count.
    site.aged(30, *(revision_path("signed/app", manifest) for manifest in signed.manifests))
    return {name: dict(repository.tags) for name, repository in site.content.repositories.items()}


def rows(answer: dict[str, Any], repository: str) -> dict[str, tuple[bool, int | None, str]]:
    """The table's rows for a repository's tags."""
    return {
        row["tag"]: (row["keep"], row["rule"], row["reason"])
        for row in answer["rows"]
        if row["repository"] == repository
    }


def tags(site: Site, repository: str) -> set[str]:
    """The tags as the registry lists them."""
    answer = site.pushing(repository).request("GET", f"/v2/{repository}/tags/list?n=1000")
    assert answer.status_code == 200
    return set(answer.json()["tags"] or ())


def test_the_table_says_what_would_go_and_why(
    site: Site, before: dict[str, dict[str, str]]
) -> None:
    with site.settings(retention=RULES):
        answer = site.done("retention", "--check")
    assert rows(answer, "small/000/app") == {
        "v10": (True, 1, "among the newest 2"),
        "v9": (True, 1, "among the newest 2"),
        "v8": (True, 1, "pushed 30 days ago"),
        **{f"v{number}": (False, 1, "older, and not among the newest 2") for number in range(2, 8)},
        "v1": (True, 1, "matches v1"),
    }
    assert rows(answer, "team/app") == {
        "1.0": (False, 3, "matches none of 1.1, latest, 1"),
        "1.0-amd64": (False, 3, "matches none of 1.1, latest, 1"),
        "1.1": (True, 3, "matches 1.1"),
        "latest": (True, 3, "matches latest"),
    }
    signed = rows(answer, "signed/app")
    for number in range(12):
        name = before["signed/app"][f"v{number}"]
        stays = number >= 9
        why = "among the newest 3" if stays else "not among the newest 3"
        assert signed[f"v{number}"] == (stays, 2, why)
        for ending in (".sig", ".att"):
            # Its manifest stays for a while, and is still signed during that time.
            assert signed[belonging(name, ending)] == (True, 2, f"belongs to {name}")
    assert rows(answer, "daily/app") == {"latest": (True, None, "no rule names it")}
    assert {(row["repository"], row["tag"]) for row in answer["rows"]} == {
        (repository, tag) for repository, tags in site.stored()["tags"].items() for tag in tags
    }
    site.whole()


def test_the_rules_remove_what_the_table_said(
    site: Site, before: dict[str, dict[str, str]]
) -> None:
    with site.settings(retention=RULES):
        table = site.done("retention", "--check")["rows"]
        with site.read():
            site.done("retention")
    gone = {(row["repository"], row["tag"]) for row in table if not row["keep"]}
    assert len(gone) == 6 + 9 + 2
    for repository, tag in gone:
        del site.content[repository].tags[tag]
    site.whole()
    for repository in ("small/000/app", "signed/app", "team/app"):
        assert tags(site, repository) == set(site.content[repository].tags)
    # Until they are collected, the manifests can still be pulled by their digests.
    child = before["team/app"]["1.0-amd64"]
    assert site.pushing("team/app").digest_of("team/app", child) == child
    # The next run removes nothing, and needs no window.
    number = site.generation()
    with site.settings(retention=RULES):
        assert site.done("retention")["actions"] == []
    assert site.generation() == number


def test_with_collection_what_belonged_to_them_goes_too(
    site: Site, before: dict[str, dict[str, str]]
) -> None:
    removed = [before["signed/app"][f"v{number}"] for number in range(9)]
    signatures = [
        before["signed/app"][belonging(subject, ending)]
        for subject in removed
        for ending in (".sig", ".att")
    ]
    # They have just lost their tags. It does not matter how long ago they were pushed.
    site.done("collect")
    assert set(removed + signatures) <= set(site.stored()["revisions"]["signed/app"])
    site.settled()
    site.done("collect")
    for subject in removed:
        for ending in (".sig", ".att"):
            del site.content["signed/app"].tags[belonging(subject, ending)]
    after = site.whole()
    assert len(after["revisions"]["signed/app"]) == 9
    assert tags(site, "signed/app") == set(site.content["signed/app"].tags)
    assert not set(removed + signatures) & set(after["blobs"])
    site.pulls("signed/app", "team/app", "artifacts/app")


def test_a_signature_whose_image_stays_by_its_index_stays_too(site: Site) -> None:
    """A child of team/app:1.1 has no tag of its own, and is signed."""
    pushing = site.pushing("team/app")
    index = site.content["team/app"].manifests[site.content["team/app"].tags["1.1"]]
    child = site.content["team/app"].manifests[index.children[0]]
    signature = sign(pushing, "team/app", child)
    site.aged(
        60,
        *(revision_path("team/app", manifest) for manifest in site.content["team/app"].manifests),
    )
    site.aged(60, tag_path("team/app", belonging(child.digest, ".sig")))
    with site.settings(retention=RULES):
        site.done("retention")
    site.settled()
    site.done("collect")
    assert signature.digest in site.whole()["revisions"]["team/app"]


def test_a_tag_that_is_moved_meanwhile_is_not_lost(site: Site) -> None:
    """Old tags are pushed again while retention is at work: each accepted push is there."""
    name = "moved/app"
    pushing = site.pushing(name)
    old = one_image(pushing, name, "first")
    for number in range(300):
        pushing.manifest(name, old, f"t{number}")
    site.machine.check_output(
        f"find {tag_path(name, 'x').parents[2]} -name link -exec touch -d '60 days ago' {{}} +"
    )
    new = one_image(pushing, name, "new")
    moved: set[str] = set()
    over = threading.Event()

    def move() -> None:
        # Pushes half of the tags repeatedly, however long it takes until retention begins.
        for number in itertools.cycle(range(150)):
            if over.is_set():
                break
            answer = pushing.request(
                "PUT",
                f"/v2/{name}/manifests/t{number}",
                new.content,
                Content_Type=new.media_type,
            )
            if answer.status_code == 201:
                moved.add(f"t{number}")
            else:
                assert answer.status_code in (503, 429), answer.text
                break
            time.sleep(0.05)

    rules = [{"number": 1, "on": [f"^{name}$"], "newer_than": DAY}]
    with site.settings(retention=rules, brake_at_least=1000):
        thread = threading.Thread(target=move)
        thread.start()
        try:
            enough(lambda: len(moved), 0)
            site.done("retention")
        finally:
            over.set()
            thread.join()
    # The tags that were pushed again are there, as they were pushed. The others are gone.
    site.content[name].tags = {tag: new.digest for tag in {*moved, "new"}}
    assert site.whole()["tags"][name] == site.content[name].tags


def test_by_its_playbook(site: Site) -> None:
    rule = {"on": "small/001/*", "newest": 1, "newer_than": "30d"}
    for number in range(1, 11):
        site.aged((11 - number) * 20, tag_path("small/001/app", f"v{number}"))
    site.operator.settings["registry_retention"] = [rule]
    try:
        looked = site.operator.play("playbooks/retention.yml", "--check")
        assert "small/001/app" in looked.said
        site.whole()
        site.operator.play("playbooks/retention.yml")
    finally:
        del site.operator.settings["registry_retention"]
    site.content["small/001/app"].tags = {
        tag: name for tag, name in site.content["small/001/app"].tags.items() if tag == "v10"
    }
    assert tags(site, "small/001/app") == {"v10"}
    site.whole()
    # The host's own timer uses the same rules.
    assert json.loads(site.machine.check_output("cat %s", SETTINGS))["retention"][0]["newest"] == 1
