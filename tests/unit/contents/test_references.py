"""Which revisions need which others, in all sorts of repositories."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.storage_tree import DAY, NOW
from wharfinger.host.contents.storage import retention, untagged
from wharfinger.host.contents.storage.model import Contents, Revision, Tag
from wharfinger.host.contents.storage.references import needed, signatures, subject_of

DIGESTS = [f"sha256:{number:064x}" for number in range(1, 6)]
KEEP = 14 * DAY
digests = st.sampled_from(DIGESTS)
times = st.sampled_from([NOW - age * DAY for age in (0, 1, 13.9, 14, 30, 90)])


@st.composite
def revisions(draw: st.DrawFn) -> Revision:
    children = tuple(draw(st.lists(digests, max_size=3)))
    subject = draw(st.none() | digests)
    return Revision(draw(times), children, subject, oci_index=draw(st.booleans()))


ordinary = st.sampled_from(["latest", "v1", "v2", "v10", "main", "sha256-short"])
signed = st.builds(
    lambda digest, end: digest.replace(":", "-") + end,
    digests,
    st.sampled_from(["", ".sig", ".att", ".sbom"]),
)
tags = st.dictionaries(ordinary | signed, st.builds(Tag, digests, times), max_size=8)


@st.composite
def repositories(draw: st.DrawFn) -> Contents:
    """Any repository, with cycles, lost tags and signatures of signatures."""
    return Contents("app", draw(tags), draw(st.dictionaries(digests, revisions())))


rules = st.builds(
    retention.Rule,
    st.just(1),
    st.just(()),
    newest=st.none() | st.integers(0, 4),
    newer_than=st.none() | st.sampled_from([DAY, KEEP]),
    matching=st.sampled_from([(), ("v*",), ("latest", "v1?")]),
)


def removed(contents: Contents) -> tuple[set[str], set[str]]:
    """The tags and revisions that the removal of untagged revisions removes."""
    plan = untagged.plan(contents, KEEP, NOW)
    return (
        {removal.tag for removal in plan if removal.tag is not None},
        {removal.digest for removal in plan if removal.tag is None},
    )


def decide(contents: Contents, rule: retention.Rule) -> set[str]:
    """The tags that a rule removes."""
    rule = retention.Rule(1, (re.compile("app"),), rule.newest, rule.newer_than, rule.matching)
    _, plan = retention.plan(contents, [rule], KEEP, NOW)
    return {removal.tag for removal in plan if removal.tag is not None}


@given(repositories())
def test_nothing_that_stays_loses_what_it_needs(contents: Contents) -> None:
    tags_gone, gone = removed(contents)
    for name, tag in contents.tags.items():
        if name not in tags_gone:
            assert tag.digest not in gone
    for digest, revision in contents.revisions.items():
        if digest not in gone:
            assert not gone & {*revision.children, revision.subject}


@given(repositories())
def test_referrers_are_kept_and_removed_with_their_revision(contents: Contents) -> None:
    tags_gone, gone = removed(contents)
    for name, subject in signatures(contents).items():
        assert (name in tags_gone) == (subject in gone)
    for revision in contents.revisions.values():
        if revision.subject in contents.revisions and revision.subject not in gone:
            referrers = {
                digest
                for digest, other in contents.revisions.items()
                if other.subject == revision.subject
            }
            assert not referrers & gone


@given(repositories())
def test_only_what_is_old_and_has_no_ordinary_tag_goes(contents: Contents) -> None:
    tags_gone, gone = removed(contents)
    assert tags_gone <= set(signatures(contents))
    for digest in gone:
        assert NOW - contents.revisions[digest].pushed >= KEEP
        names = [name for name, tag in contents.tags.items() if tag.digest == digest]
        assert set(names) <= tags_gone


@given(repositories())
def test_after_a_removal_there_is_nothing_more_to_remove(contents: Contents) -> None:
    tags_gone, gone = removed(contents)
    rest = Contents(
        "app",
        {name: tag for name, tag in contents.tags.items() if name not in tags_gone},
        {digest: kept for digest, kept in contents.revisions.items() if digest not in gone},
    )
    assert untagged.plan(rest, KEEP, NOW) == []


@given(repositories(), rules, st.randoms())
def test_the_order_of_tags_and_revisions_changes_nothing(
    contents: Contents, rule: retention.Rule, chance: random.Random
) -> None:
    tags = list(contents.tags.items())
    revisions = list(contents.revisions.items())
    chance.shuffle(tags)
    chance.shuffle(revisions)
    other = Contents("app", dict(tags), dict(revisions))
    assert untagged.plan(other, KEEP, NOW) == untagged.plan(contents, KEEP, NOW)
    rule = retention.Rule(1, (re.compile("app"),), rule.newest, rule.newer_than)
    plan = retention.plan(other, [rule], KEEP, NOW)
    assert plan == retention.plan(contents, [rule], KEEP, NOW)


@given(repositories(), rules)
def test_a_signature_stays_while_a_tag_that_stays_needs_its_subject(
    contents: Contents, rule: retention.Rule
) -> None:
    gone = decide(contents, rule)
    belonging = signatures(contents)
    staying = {
        tag.digest
        for name, tag in contents.tags.items()
        if name not in gone and name not in belonging
    }
    kept = needed(contents, staying)
    for name, subject in belonging.items():
        if name in gone:
            assert subject not in kept


@given(repositories(), rules)
def test_retention_does_not_count_signatures_and_keeps_those_of_lost_manifests(
    contents: Contents, rule: retention.Rule
) -> None:
    gone = decide(contents, rule)
    belonging = signatures(contents)
    referrers = {
        name
        for name, tag in contents.tags.items()
        if tag.digest in contents.revisions
        and contents.revisions[tag.digest].subject in contents.revisions
    }
    ordinary = {
        name
        for name, tag in contents.tags.items()
        if subject_of(name) is None and name not in referrers and tag.digest in contents.revisions
    }
    assert len(ordinary - gone) >= min(rule.newest or 0, len(ordinary))
    for name in gone:
        assert contents.tags[name].digest in contents.revisions
        assert name in ordinary | referrers or name in belonging


@given(repositories(), rules)
def test_in_a_damaged_repository_only_ordinary_tags_go(
    contents: Contents, rule: retention.Rule
) -> None:
    damaged = Contents("app", contents.tags, contents.revisions, damaged=True)
    assert untagged.plan(damaged, KEEP, NOW) == []
    assert not decide(damaged, rule) & set(signatures(damaged))


def test_a_tag_that_names_the_digest_in_its_name_keeps_it() -> None:
    digest = DIGESTS[0]
    name = digest.replace(":", "-") + ".imgpkg"
    contents = Contents("app", {name: Tag(digest, 0)}, {digest: Revision(0)})
    assert removed(contents) == (set(), set())
    rule = retention.Rule(1, (), newest=0)
    assert decide(contents, rule) == set()


@pytest.mark.parametrize("ending", ["", ".sig"])
@pytest.mark.parametrize("oci_index", [True, False])
def test_only_an_index_is_a_list_of_referrers(ending: str, oci_index: bool) -> None:
    """A plain image under such a name is an ordinary tag of a user."""
    subject, other = DIGESTS[:2]
    name = subject.replace(":", "-") + ending
    contents = Contents(
        "app",
        {"v1": Tag(subject, 1), name: Tag(other, 2), "v2": Tag(DIGESTS[2], 3)},
        {
            subject: Revision(0),
            other: Revision(0, oci_index=oci_index),
            DIGESTS[2]: Revision(0),
        },
    )
    belongs = bool(ending) or oci_index
    assert decide(contents, retention.Rule(1, (), newest=1)) == {"v1"}
    rest = Contents("app", {name: contents.tags[name]}, contents.revisions)
    assert removed(rest)[0] == ({name} if belongs else set())
    assert decide(rest, retention.Rule(1, (), newest=1)) == ({name} if belongs else set())
    if not belongs:
        rule = retention.Rule(1, (re.compile("app"),), newest=1)
        rows, _ = retention.plan(contents, [rule], KEEP, NOW)
        reasons = {row.tag: row.reason for row in rows}
        assert reasons[name] == f"is named like a list of {subject}, but is not one"


def test_a_signature_of_a_missing_manifest_stays_and_is_not_counted() -> None:
    name = DIGESTS[0].replace(":", "-") + ".sig"
    contents = Contents(
        "app",
        {name: Tag(DIGESTS[1], NOW), "v1": Tag(DIGESTS[2], 0)},
        {DIGESTS[1]: Revision(0), DIGESTS[2]: Revision(0)},
    )
    assert removed(contents) == (set(), set())
    assert decide(contents, retention.Rule(1, (), newest=1)) == set()


def test_only_whole_digests_make_a_signature_tag() -> None:
    value = "ab" * 32
    assert subject_of(f"sha256-{value}") == f"sha256:{value}"
    assert subject_of(f"sha256-{value}.sig") == f"sha256:{value}"
    for name in (f"sha256-{value[:-1]}.sig", f"sha256-{value}x", f"sha256-{value}\n", "latest"):
        assert subject_of(name) is None
