"""Who may do what, as the end of a deployment prints it."""

from __future__ import annotations

from wharfinger.access import Policy, Rule, rows, table


def test_the_table_says_each_rule_in_plain_words() -> None:
    policy = Policy(
        ("admin", "bob", *(f"u{number}" for number in range(7))),
        {"team": ("bob",), "big": tuple(f"u{number}" for number in range(7)), "none": ()},
        (
            Rule(1, ("admin",), ("all",), ("all",)),
            Rule(2, ("bob", "group:team"), ("pull", "push"), ("{user}/**", "team/*")),
            Rule(3, ("group:big", "group:none"), (), ("secret/**",)),
            Rule(4, ("everyone", "anonymous"), ("pull",), ("**",)),
        ),
    )
    assert table(policy).splitlines() == [
        "rule  who                      may         on",
        "1     admin                    everything  every repository and the catalog",
        "2     bob                      pull, push  bob/**, team/*",
        "2     group team (bob)         pull, push  {user}/**, team/*",
        "3     group big (7 members)    nothing     secret/**",
        "3     group none (no members)  nothing     secret/**",
        "4     every user               pull        **",
        "4     anyone, without login    pull        **",
        "The first rule that matches decides; anything else is denied.",
    ]


def test_without_rules_the_table_says_that_nobody_may_do_anything() -> None:
    policy = Policy(("admin",), {}, ())
    assert rows(policy) == []
    assert table(policy) == "Nobody may do anything: registry_access has no rules."
