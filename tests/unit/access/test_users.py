"""registry_users: every message, word for word."""

from __future__ import annotations

import pytest

from .messages import (
    CREDENTIALS,
    HASH,
    MAKE_HASH,
    NAME,
    SECRET,
    USERS,
    errors,
)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (None, f"is nothing (null): {CREDENTIALS}"),
        (SECRET, f"is text: {CREDENTIALS}"),
        ([SECRET], f"is a list: {CREDENTIALS}"),
        (1234, f"is a number: {CREDENTIALS}"),
        ({"pasword": SECRET}, "pasword is an unknown key: write password"),
        ({"passwd": SECRET}, "passwd is an unknown key: write password"),
        ({"pass": SECRET}, "pass is an unknown key: write password"),
        ({"Password": SECRET}, "Password is an unknown key: write password"),
        ({"pasword": None}, "pasword is an unknown key: write password"),
        ({"password-hash": HASH}, "password-hash is an unknown key: write password_hash"),
        ({"hash": HASH}, "hash is an unknown key: write password_hash"),
        (
            {"comment": SECRET},
            "comment is an unknown key: remove it, the keys are password, password_hash",
        ),
        (
            {SECRET: None},
            "key 1 is unknown (not shown, it may be secret): write {password: …}",
        ),
        (
            {"password": "right", f"x {SECRET}": 1},
            "key 2 is unknown (not shown, it may be secret): write {password: …}",
        ),
        (
            {f"password:{SECRET}": None},
            "has password and its value as one key: write a space after the colon",
        ),
        (
            {f"password={SECRET}": None},
            "has password and its value as one key: write a space after the colon",
        ),
        ({5: SECRET}, "key 1 is unknown (not shown, it may be secret): write {password: …}"),
        (
            {"password": ""},
            "password is empty: write one, or {} for a password that is generated",
        ),
        (
            {"password": None},
            "password is empty: write one, or {} for a password that is generated",
        ),
        (
            {"password": 12345678},
            "password is a number to YAML: write it in quotation marks",
        ),
        (
            {"password": "ü" * 36 + "x"},
            "password has 73 bytes, and bcrypt reads no more than 72: write a shorter one",
        ),
        (
            {"password": f"{SECRET}\n"},
            "password has a line break or a NUL, which clients cut off: write it without",
        ),
        ({"password": HASH}, "password is a bcrypt hash: write it as password_hash"),
        (
            {"password": SECRET, "password_hash": HASH},
            "has both password and password_hash: remove one",
        ),
        ({"password_hash": SECRET}, f"password_hash is not a bcrypt hash: {MAKE_HASH}"),
        ({"password_hash": HASH[:-1]}, f"password_hash is not a bcrypt hash: {MAKE_HASH}"),
        (
            {"password_hash": "$apr1$x$" + "a" * 22},
            f"password_hash is not a bcrypt hash: {MAKE_HASH}",
        ),
        (
            {"password_hash": f"bob:{HASH}"},
            "password_hash has more than the hash: write only what begins with $2",
        ),
        (
            {"password_hash": None},
            f"password_hash is nothing (null): write a bcrypt hash; {MAKE_HASH}",
        ),
        (
            {"password_hash": HASH.replace("$10$", "$09$")},
            f"password_hash has the bcrypt cost 9, and 10 to 14 is accepted: {MAKE_HASH}",
        ),
        (
            {"password_hash": HASH.replace("$10$", "$15$")},
            f"password_hash has the bcrypt cost 15, and 10 to 14 is accepted: {MAKE_HASH}",
        ),
    ],
)
def test_a_wrong_entry_of_a_user_is_reported_without_its_value(entry: object, message: str) -> None:
    messages = errors(users={**USERS, "bob": entry})
    assert messages == [f"registry_users, bob: {message}"]
    assert SECRET not in messages[0]
    assert HASH not in messages[0]


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"password": "x" * 72},
        {"password": "ü" * 36},
        {"password_hash": HASH},
        {"password_hash": HASH.replace("$2b$10$", "$2y$14$")},
    ],
)
def test_a_right_entry_of_a_user_is_accepted(entry: object) -> None:
    assert errors(users={**USERS, "bob": entry}) == []


@pytest.mark.parametrize(
    ("users", "messages"),
    [
        *(
            (
                users,
                [
                    f": is {kind}: write a mapping of names, as in `someuser: {{}}` "
                    "(its password is then generated)"
                ],
            )
            for users, kind in (
                (None, "nothing (null)"),
                ([{"name": "bob", "password": SECRET}], "a list"),
                (SECRET, "text"),
            )
        ),
        ({True: {}}, [", true: the name is true or false to YAML: write it in quotation marks"]),
        ({123: {}}, [", 123: the name is a number to YAML: write it in quotation marks"]),
        (
            {None: {}},
            [", entry 1: the name is nothing (null) to YAML: write it in quotation marks"],
        ),
        ({"Bob Smith": {}}, [f", Bob Smith: a user's {NAME}: write bob-smith"]),
        ({"-": {}}, [f", -: a user's {NAME}"]),
        ({"": {}}, [f", entry 1: a user's {NAME}"]),
        (
            {f"admin: {{password: {SECRET}}}": None},
            [f", entry 1: a user's {NAME}", f", entry 1: is nothing (null): {CREDENTIALS}"],
        ),
        (
            {"ok": {}, SECRET: None},
            [f", entry 2: a user's {NAME}", f", entry 2: is nothing (null): {CREDENTIALS}"],
        ),
        *(
            (
                {name: {}},
                [
                    f", {name}: {name} has a meaning of its own in registry_access: "
                    "choose another name"
                ],
            )
            for name in ("everyone", "anonymous")
        ),
        (
            {"wharfinger-verification": {}},
            [
                ", wharfinger-verification: this name is reserved for the deployment's own "
                "verification: choose another name"
            ],
        ),
    ],
)
def test_a_wrong_name_of_a_user_is_reported(users: object, messages: list[str]) -> None:
    actual = errors(users=users, groups={})
    assert actual == [f"registry_users{message}" for message in messages]
    assert SECRET not in "".join(actual)
