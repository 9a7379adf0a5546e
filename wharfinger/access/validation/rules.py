"""registry_access: each rule by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT
from wharfinger.deployment.problems import Problem
from wharfinger.suggestions import nearest
from wharfinger.values import kind
from wharfinger.wording import known_fields, quoted, texts

from ..patterns import mistake, verb_meant
from ..policy import ALL, ANONYMOUS, EVERYONE, GROUP, ROBOT, USER, VERBS, Rule
from .inventory import ACCESS, Inventory

_RULE_KEYS = ("who", "may", "on")
# A wrong name that is often used → the right one.
_USUAL_KEYS = {
    "user": "who",
    "users": "who",
    "group": "who",
    "account": "who",
    "actions": "may",
    "verbs": "may",
    "can": "may",
    "name": "on",
    "repository": "on",
    "repositories": "on",
    "pattern": "on",
}


def read_access(inventory: Inventory, access: object) -> None:
    """Reads the rules; those with a mistake are left out."""
    if not isinstance(access, list | tuple):
        inventory.error(
            ACCESS,
            "",
            f"is {kind(access)}: write a list of rules, as in "
            '`- {who: someuser, may: [pull, push], on: "{user}/**"}`, or [] for none',
        )
        return
    for number, entry in enumerate(access, 1):
        rule = _rule(inventory, number, entry)
        # A user or group whose own entry is wrong was reported already.
        if rule is not None and all(_understood(inventory, word) for word in rule.who):
            inventory.rules.append(rule)


def _understood(inventory: Inventory, word: str) -> bool:
    if word.startswith(GROUP):
        return word.removeprefix(GROUP) in inventory.groups
    if word.startswith(ROBOT):
        return word.removeprefix(ROBOT) in inventory.robots
    return word in (EVERYONE, ANONYMOUS) or word in inventory.users


def read_htpasswd(inventory: Inventory, access: object) -> None:
    """With registry_auth htpasswd, only one list of rules is right."""
    only = Rule(1, (EVERYONE,), (ALL,), (ALL,))
    only_rules = Inventory(inventory.reserved)
    read_access(only_rules, access)
    if only_rules.errors or only_rules.rules != [only]:
        inventory.error(
            ACCESS,
            "",
            "registry_auth htpasswd has no rules, so every user may do everything: write exactly"
            " `[{who: everyone, may: all, on: all}]`, or registry_auth: token",
        )
    inventory.rules = [only]


def _rule(inventory: Inventory, number: int, entry: object) -> Rule | None:
    where = f"rule {number}"
    before = len(inventory.errors)
    if not isinstance(entry, Mapping):
        inventory.error(
            ACCESS,
            where,
            f"is {kind(entry)}: write a mapping of who, may and on, as in "
            '`{who: someuser, may: [pull], on: "team/**"}`',
        )
        return None
    fields, wrong = known_fields(entry, _RULE_KEYS, _USUAL_KEYS)
    for mistake_of_key in wrong:
        inventory.error(ACCESS, where, mistake_of_key)
    examples = {"who": "someuser", "may": "[pull]", "on": '"team/**"'}
    if len(inventory.errors) == before:
        for key in _RULE_KEYS:
            if key not in fields:
                inventory.error(
                    ACCESS,
                    where,
                    f"{key} is missing: write, for example, {key}: {examples[key]}",
                )
    words = {
        key: _words(inventory, where, key, value, examples[key]) for key, value in fields.items()
    }
    rule = Rule(
        number,
        _who(inventory, where, words.get("who", ())),
        _may(inventory, where, words.get("may", ())),
        _on(inventory, where, words.get("on", ())),
    )
    _check_together(inventory, where, rule)
    return rule if len(inventory.errors) == before else None


def _words(
    inventory: Inventory, where: str, key: str, value: object, example: str
) -> tuple[str, ...]:
    """A field that may be one word or a list of them, as a tuple without repetitions."""
    words, wrong = texts(
        key,
        value,
        example,
        may_be_empty=key == "may",
        no_text=lambda entry: _special_message(key, entry),
    )
    for message in wrong:
        inventory.error(ACCESS, where, message)
    return words


def _special_message(key: str, value: object) -> str | None:
    if key == "who" and isinstance(value, Mapping) and list(value) == ["group"]:
        return "who is a mapping: write group:NAME without a space after the colon"
    if key == "who" and isinstance(value, Mapping) and list(value) == ["robot"]:
        return "who is a mapping: write robot:NAME without a space after the colon"
    if key == "on" and isinstance(value, Mapping):
        return (
            "on is a mapping, since a bare { begins one in YAML: write it in quotation marks, "
            'as in "{user}/**"'
        )
    if key == "may" and value is None:
        return "may is nothing (null): write the verbs, or [] to give nothing"
    return None


def _who(inventory: Inventory, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        wrong = _who_mistake(inventory, word)
        if wrong:
            inventory.error(ACCESS, where, wrong)
    return words


def _who_mistake(inventory: Inventory, word: str) -> str | None:
    """What is wrong with a word of `who`."""
    if word in (EVERYONE, ANONYMOUS):
        return None
    if word.startswith(GROUP):
        name = word.removeprefix(GROUP)
        if name in inventory.written_groups:
            return None
        close = nearest(name, inventory.groups)
        if close:
            return f"{quoted(name)} is not a group in registry_groups: write {GROUP}{close}"
        if name in inventory.written_users:
            return f"{quoted(name)} is a user, not a group: write who: {name}"
        return f"{quoted(name)} is not a group: add it to registry_groups, or remove it here"
    if word.startswith(ROBOT):
        return _robot_mistake(inventory, word.removeprefix(ROBOT))
    if word in inventory.reserved:
        return f"{word} is reserved for {inventory.reserved[word]}: remove it"
    if word in inventory.written_users:
        return None
    if word in inventory.written_robots:
        return f"{quoted(word)} is a robot: write {ROBOT}{word}"
    if word in inventory.written_groups:
        return f"{quoted(word)} is a group: write {GROUP}{word}"
    if word in (ALL, "*", "**", "any", "anyone", "everybody", "authenticated"):
        return (
            f"{quoted(word)} is not a user: write everyone (anyone signed in) or anonymous "
            "(not signed in)"
        )
    if word == "":
        return 'who has an empty text: write anonymous for "not signed in"'
    close = nearest(word, (*inventory.users, EVERYONE, ANONYMOUS))
    if close:
        return f"{quoted(word)} is not a user in registry_users: write {close}"
    return f"{quoted(word)} is not a user: add it to registry_users, or remove it here"


def _robot_mistake(inventory: Inventory, name: str) -> str | None:
    """What is wrong with the name behind `robot:`."""
    if name in inventory.written_robots:
        return None
    if name in (ALL, "*", "**"):
        return f"{quoted(ROBOT + name)} is not a robot: write each robot's name, in a list"
    close = nearest(name, inventory.robots)
    if close:
        return f"{quoted(name)} is not a robot in registry_robots: write {ROBOT}{close}"
    if name in inventory.written_users:
        return f"{quoted(name)} is a user, not a robot: write who: {name}"
    return f"{quoted(name)} is not a robot: add it to registry_robots, or remove it here"


def _may(inventory: Inventory, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        if word in VERBS or word == ALL:
            continue
        meant = verb_meant(word, VERBS)
        choice = meant or f"one of {', '.join(VERBS)}, or all"
        inventory.error(ACCESS, where, f"may: {quoted(word)} is not a verb: write {choice}")
    if ALL in words and len(words) > 1:
        message = "may has all, which includes the others: write may: all alone"
        inventory.error(ACCESS, where, message)
    return words


def _on(inventory: Inventory, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
    for word in words:
        wrong = mistake(word)
        if wrong:
            inventory.error(ACCESS, where, f"on: {wrong}")
        elif word.partition("/")[0] == VERIFICATION_ACCOUNT:
            inventory.error(
                ACCESS,
                where,
                f"on: {quoted(word)} is reserved for the deployment's own verification: "
                "choose another name",
            )
    if ALL in words and len(words) > 1:
        message = "on has all, which includes the others: write on: all alone"
        inventory.error(ACCESS, where, message)
    return words


def _check_together(inventory: Inventory, where: str, rule: Rule) -> None:
    """Reports what is wrong only in the combination of who, may and on."""
    if "list" in rule.may and rule.on and ALL not in rule.on:
        inventory.error(
            ACCESS,
            where,
            "list is the catalog, which is all or nothing and shows every name: write on: all, "
            "or leave list out",
        )
    if ANONYMOUS in rule.who:
        changing = [verb for verb in rule.may if verb in ("push", "delete", ALL)]
        if changing:
            inventory.error(
                ACCESS,
                where,
                f"anonymous may not {' or '.join(_spelt_out(changing))}: write may: [pull], "
                "or who: everyone for anyone signed in",
            )
        if any(USER in pattern.split("/") for pattern in rule.on):
            inventory.error(
                ACCESS,
                where,
                f"{USER} is the signed-in name, which anonymous does not have: write the name "
                "itself, or a rule of its own for anonymous",
            )
    if "push" in rule.may and "pull" not in rule.may:
        inventory.warnings.append(
            Problem(
                ACCESS,
                where,
                "gives push without pull, and the registry asks for both to push: "
                "write may: [pull, push]",
            )
        )


def _spelt_out(verbs: Sequence[str]) -> list[str]:
    """The verbs; `all` as those of its verbs that anonymous may not have."""
    return ["push", "delete"] if ALL in verbs else list(verbs)
