"""Any YAML is answered with messages, never with a traceback or with a secret."""

from __future__ import annotations

from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wharfinger.access import examine, read_policy, table
from wharfinger.docker_auth import auth_config

SECRET = "Planted-Secret"

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            *("admin", "bob", "group:g", "everyone", "anonymous", "wharfinger-verification"),
            *("all", "pull", "list", "**", "team/*", "{user}/**"),
            *("who", "may", "on", "password", "password_hash"),
            *("robot:r", "addresses", "expires", "10.0.0.0/8", "::1", "10.0.0.7/8", "2027-06-30"),
        ]
    ),
    st.dates(),
    st.datetimes(),
)
keys = st.one_of(scalars, st.tuples(st.integers()))
anything: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
names = st.sampled_from(["admin", "bob", "group:g", "robot:r", "everyone", "anonymous", "zzz"])
nearly_rules = st.lists(
    st.fixed_dictionaries(
        {
            "who": st.one_of(names, st.lists(names, max_size=3), anything),
            "may": st.one_of(st.sampled_from(["all", "pull", ["pull", "push"]]), anything),
            "on": st.one_of(st.sampled_from(["all", "**", "{user}/**", ["x/*", "y"]]), anything),
        }
    ),
    max_size=5,
)


@settings(max_examples=400, deadline=None)
@given(
    users=st.one_of(
        anything,
        st.just({"admin": {}, "bob": {}}),
        st.fixed_dictionaries({"admin": anything, "bob": st.just({})}),
    ),
    groups=st.one_of(
        anything,
        st.just({"g": ["bob"]}),
        st.fixed_dictionaries({"g": st.one_of(anything, st.lists(names, max_size=3))}),
    ),
    access=st.one_of(anything, nearly_rules),
    robots=st.one_of(
        anything,
        st.just({"r": {}}),
        st.fixed_dictionaries(
            {
                "r": st.fixed_dictionaries(
                    {},
                    optional={
                        "addresses": st.one_of(anything, st.just(["10.0.0.0/8"])),
                        "expires": st.one_of(anything, st.dates()),
                    },
                )
            }
        ),
    ),
    auth=st.sampled_from(["token", "htpasswd"]),
)
def test_anything_is_answered_and_what_is_accepted_can_be_compiled(
    users: Any, groups: Any, access: Any, robots: Any, auth: str
) -> None:
    _, review = examine(users, groups, access, robots, auth=auth, today=date(2026, 11, 25))
    assert all(str(problem) and "\n" not in str(problem) for problem in review.errors)
    if not review.errors:
        policy = read_policy(users, groups, access, robots)
        assert table(policy)
        assert auth_config(
            policy,
            dict.fromkeys((*policy.users, *policy.robots), "hash"),
            issuer="i",
            certificate_path="c",
            key_path="k",
            expiration=300,
            addr=":5002",
            real_ip_header="X-Real-IP",
        )


secrets = st.sampled_from(
    [SECRET, f"password:{SECRET}", f"{{password: {SECRET}}}", f"{SECRET}\n", f" {SECRET}", [SECRET]]
)
misread = st.recursive(
    secrets,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["password", "password_hash", "pasword", "x", 7, None]), inner
        ),
        st.dictionaries(secrets.filter(lambda key: isinstance(key, str)), st.none(), max_size=2),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(entries=st.lists(misread, max_size=3), whole=st.booleans())
def test_no_value_below_registry_users_is_ever_printed(entries: list[Any], whole: bool) -> None:
    users: Any = entries if whole else {f"u{i}": entry for i, entry in enumerate(entries)}
    _, review = examine(users, {}, [{"who": "everyone", "may": "all", "on": "all"}])
    assert SECRET.lower() not in "".join(map(str, review.errors + review.warnings)).lower()
