"""Every mistake in registry_users, _robots, _groups and _access, found at once.

Nothing that stands under a user's name in registry_users is ever repeated in a message, since it
may be a secret, a key that YAML misread included.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from wharfinger.bcrypt_hash import BCRYPT_HASH
from wharfinger.deployment.fixed import VERIFICATION_ACCOUNT
from wharfinger.deployment.problems import Problem, Report
from wharfinger.oci.names import COMPONENT
from wharfinger.suggestions import nearest
from wharfinger.values import bare_key, kind, spelt

from . import coverage
from .patterns import mistake, verb_meant
from .policy import (
    ALL,
    ANONYMOUS,
    EVERYONE,
    GROUP,
    ROBOT,
    USER,
    VERBS,
    Policy,
    Rule,
)
from .problems import answered_before, quoted, texts
from .robots import Robot, expires_soon, read_robot

USERS, GROUPS, ACCESS = "registry_users", "registry_groups", "registry_access"
ROBOTS = "registry_robots"

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
LOWEST_COST, HIGHEST_COST = 10, 14
LONGEST_PASSWORD = 72

_MAKE_HASH = f"make one with `htpasswd -nBC {LOWEST_COST} NAME` and write what follows the colon"
_RULE_KEYS = ("who", "may", "on")
_USER_KEYS = ("password", "password_hash")


def validate(
    users: object,
    groups: object,
    access: object,
    robots: object = None,
    *,
    auth: str = "token",
    server: str = "embedded",
    reserved: Sequence[str] = (VERIFICATION_ACCOUNT,),
    today: date | None = None,
) -> Report:
    """All errors and warnings of the four variables, which may be anything that YAML can say.

    `auth` is registry_auth: `htpasswd` knows no rules, so that only the one that gives everyone
    everything is accepted. `server` is docker_auth_server: cesanta's knows no expiry. `reserved`
    are names that neither a user nor a repository may have. `today`, in UTC, is what robots' dates
    are compared with; without it they are not. Warnings are given only where there are no errors.
    Never raises.
    """
    found = examine(
        users, groups, access, robots, auth=auth, server=server, reserved=reserved, today=today
    )
    return found[1]


def examine(
    users: object,
    groups: object,
    access: object,
    robots: object = None,
    *,
    auth: str = "token",
    server: str = "embedded",
    reserved: Sequence[str] = (VERIFICATION_ACCOUNT,),
    today: date | None = None,
) -> tuple[Policy, Report]:
    """As `validate`, together with the policy, which is whole only where there are no errors."""
    inventory = _Inventory(tuple(reserved))
    inventory.read_users(users)
    inventory.read_robots({} if robots is None else robots, auth, server, today)
    if not isinstance(users, Mapping):
        # Every name in groups and rules would be told to be no user.
        return Policy((), {}, ()), Report(inventory.errors)
    inventory.read_groups(groups)
    if auth == "htpasswd":
        inventory.read_htpasswd(access)
    else:
        inventory.read_access(access)
        inventory.compare_names_and_patterns()
        inventory.find_useless_rules()
    policy = Policy(
        tuple(inventory.users), inventory.groups, tuple(inventory.rules), inventory.robots
    )
    return policy, Report(inventory.errors, [] if inventory.errors else inventory.warnings)


def read_policy(users: object, groups: object, access: object, robots: object = None) -> Policy:
    """The policy of registry_users, registry_groups, registry_access and registry_robots.

    That a robot has expired is not a mistake here: preflight tells of it. Raises ValueError with
    every error that `validate` finds, one a line.
    """
    policy, report = examine(users, groups, access, robots)
    if report.errors:
        raise ValueError("\n".join(str(error) for error in report.errors))
    return policy


@dataclass(slots=True)
class _Inventory:
    """What has been understood so far, and what has been found wrong."""

    reserved: tuple[str, ...]
    users: dict[str, None] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    robots: dict[str, Robot] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    # Every name that was written as a user, robot or group, good or not: a rule that uses a name
    # whose entry is wrong is not told that the name is unknown.
    written_users: set[str] = field(default_factory=set)
    written_robots: set[str] = field(default_factory=set)
    written_groups: set[str] = field(default_factory=set)

    def error(self, variable: str, where: str, message: str) -> None:
        self.errors.append(Problem(variable, where, message))

    # registry_users

    def read_users(self, users: object) -> None:
        """Names and their passwords."""
        if not isinstance(users, Mapping):
            self.error(
                USERS,
                "",
                f"is {kind(users)}: write a mapping of names, as in `someuser: {{}}` "
                "(its password is then generated)",
            )
            return
        for position, (name, entry) in enumerate(users.items(), 1):
            if isinstance(name, str):
                self.written_users.add(name)
            where = _shown_name(name, entry) or f"entry {position}"
            wrong = self._account_name(name, entry, "user")
            if wrong:
                self.error(USERS, where, wrong)
            elif isinstance(name, str):
                self.users[str(name)] = None
            for message in _credentials(entry, name if isinstance(name, str) else "NAME"):
                self.error(USERS, where, message)

    def _account_name(self, name: object, entry: object, what: str) -> str | None:
        if not isinstance(name, str):
            return f"the name is {kind(name)} to YAML: write it in quotation marks"
        if name in self.reserved:
            return (
                "this name is reserved for the deployment's own verification: choose another name"
            )
        if name in (EVERYONE, ANONYMOUS):
            return f"{name} has a meaning of its own in registry_access: choose another name"
        if not NAME.fullmatch(name):
            return (
                f"a {what}'s name is lower-case letters, digits, dots, hyphens and underscores, "
                f"beginning with a letter or digit{_near_name(name, entry)}"
            )
        return None

    # registry_robots

    def read_robots(self, entries: object, auth: str, server: str, today: date | None) -> None:
        """Names, allowed addresses and last days."""
        if not isinstance(entries, Mapping):
            self.error(
                ROBOTS,
                "",
                f"is {kind(entries)}: write a mapping of names, as in `ci: {{}}`, "
                "or {} for no robots",
            )
            return
        if entries and auth == "htpasswd":
            self.error(
                ROBOTS,
                "",
                "registry_auth htpasswd knows no rules, so that a robot could do everything: "
                "remove the robots, or write registry_auth: token",
            )
        for position, (name, entry) in enumerate(entries.items(), 1):
            if isinstance(name, str):
                self.written_robots.add(name)
            where = _shown_name(name, entry) or f"entry {position}"
            wrong = self._account_name(name, entry, "robot") or self._taken(name)
            if wrong:
                self.error(ROBOTS, where, wrong)
            robot, mistakes = read_robot(entry, today)
            for message in mistakes:
                self.error(ROBOTS, where, message)
            if robot.expires is not None and server == "cesanta":
                self.error(
                    ROBOTS,
                    where,
                    "expires is known to the embedded token server only: remove it, or write "
                    "docker_auth_server: embedded",
                )
            if not wrong and isinstance(name, str):
                self.robots[str(name)] = robot
                soon = expires_soon(robot, name, today)
                if soon:
                    self.warnings.append(Problem(ROBOTS, name, soon))

    def _taken(self, name: object) -> str | None:
        """Why a robot may not be called so although users may."""
        if name == ALL:
            return (
                "all means every robot to playbooks/rotate_robots.yml: choose another name, "
                "as in all-jobs"
            )
        if name in self.written_users:
            return (
                "this is also the name of a user in registry_users, and both sign in by it: "
                "rename one of them"
            )
        return None

    # registry_groups

    def read_groups(self, groups: object) -> None:
        """Group names and their members."""
        if not isinstance(groups, Mapping):
            self.error(
                GROUPS,
                "",
                f"is {kind(groups)}: write a mapping of names to lists of users, "
                "as in `developers: [someuser]`, or {} for none",
            )
            return
        self.written_groups = {name for name in groups if isinstance(name, str)}
        for name, members in groups.items():
            if not isinstance(name, str):
                self.error(
                    GROUPS,
                    _shown_name(name, {}) or "",
                    f"the name is {kind(name)} to YAML: write it in quotation marks",
                )
                continue
            if not NAME.fullmatch(name):
                self.error(
                    GROUPS,
                    quoted(name),
                    "a group's name is lower-case letters, digits, dots, hyphens and underscores, "
                    f"beginning with a letter or digit{_near_name(name, {})}",
                )
            elif not isinstance(members, list | tuple):
                self.error(
                    GROUPS,
                    name,
                    f"is {kind(members)}: write a list of users, as in `{name}: [someuser]`, "
                    "or [] for none",
                )
            else:
                self.groups[str(name)] = self._members(str(name), members)

    def _members(self, group: str, members: Sequence[object]) -> tuple[str, ...]:
        good: dict[str, None] = {}
        for member in members:
            if not isinstance(member, str):
                self.error(
                    GROUPS, group, f"a member is {kind(member)}: write a user's name as text"
                )
            elif member in good:
                self.error(GROUPS, group, f"{member} is there twice: remove one")
            elif member in self.users:
                good[str(member)] = None
            elif member in self.written_robots:
                self.error(
                    GROUPS,
                    group,
                    f"{quoted(member)} is a robot, and a group holds users only: remove it here, "
                    f"and write {ROBOT}{member} beside {GROUP}{group} in the who of its rules",
                )
            elif member not in self.written_users:
                self.error(GROUPS, group, self._no_user(member))
        return tuple(good)

    def _no_user(self, name: str) -> str:
        """Why this name is nobody, and what to write instead."""
        if name in self.reserved:
            return f"{name} is reserved for the deployment's own verification: remove it"
        if name.startswith(GROUP) or name in self.written_groups:
            return f"{quoted(name)} is a group, and a group holds users only: write its members"
        close = nearest(name, self.users)
        if close:
            return f"{quoted(name)} is no user in registry_users: write {close}"
        return f"{quoted(name)} is no user: add it to registry_users, or remove it here"

    # registry_access

    def read_access(self, access: object) -> None:
        """The rules, each in its plain form; those with a mistake are left out."""
        if not isinstance(access, list | tuple):
            self.error(
                ACCESS,
                "",
                f"is {kind(access)}: write a list of rules, as in "
                '`- {who: someuser, may: [pull, push], on: "{user}/**"}`, or [] for none',
            )
            return
        for number, entry in enumerate(access, 1):
            rule = self._rule(number, entry)
            # A user or group whose own entry is wrong has been told of already.
            if rule is not None and all(map(self._understood, rule.who)):
                self.rules.append(rule)

    def _understood(self, word: str) -> bool:
        if word.startswith(GROUP):
            return word.removeprefix(GROUP) in self.groups
        if word.startswith(ROBOT):
            return word.removeprefix(ROBOT) in self.robots
        return word in (EVERYONE, ANONYMOUS) or word in self.users

    def read_htpasswd(self, access: object) -> None:
        """With registry_auth htpasswd only one list of rules is true."""
        only = Rule(1, (EVERYONE,), (ALL,), (ALL,))
        found = _Inventory(self.reserved)
        found.read_access(access)
        if found.errors or found.rules != [only]:
            self.error(
                ACCESS,
                "",
                "registry_auth htpasswd knows no rules, every user may do everything: write exactly"
                " `[{who: everyone, may: all, on: all}]`, or registry_auth: token",
            )
        self.rules = [only]

    def _rule(self, number: int, entry: object) -> Rule | None:
        where = f"rule {number}"
        before = len(self.errors)
        if not isinstance(entry, Mapping):
            self.error(
                ACCESS,
                where,
                f"is {kind(entry)}: write a mapping of who, may and on, as in "
                '`{who: someuser, may: [pull], on: "team/**"}`',
            )
            return None
        fields: dict[str, object] = {}
        for key, value in entry.items():
            plain = bare_key(key)
            if plain in fields:
                self.error(ACCESS, where, f"{plain} is there twice: remove one")
            elif isinstance(plain, str) and plain in _RULE_KEYS:
                fields[plain] = value
            else:
                self.error(ACCESS, where, _unknown_rule_key(plain))
        examples = {"who": "someuser", "may": "[pull]", "on": '"team/**"'}
        if len(self.errors) == before:
            for key in _RULE_KEYS:
                if key not in fields:
                    self.error(
                        ACCESS,
                        where,
                        f"{key} is missing: write, for example, {key}: {examples[key]}",
                    )
        words = {
            key: self._words(where, key, value, examples[key]) for key, value in fields.items()
        }
        rule = Rule(
            number,
            self._who(where, words.get("who", ())),
            self._may(where, words.get("may", ())),
            self._on(where, words.get("on", ())),
        )
        self._check_together(where, rule)
        return rule if len(self.errors) == before else None

    def _words(self, where: str, key: str, value: object, example: str) -> tuple[str, ...]:
        """A field that may be one word or a list of them, as a tuple without repetitions."""
        words, wrong = texts(
            key,
            value,
            example,
            may_be_empty=key == "may",
            no_text=lambda one: self._no_word(key, one),
        )
        for message in wrong:
            self.error(ACCESS, where, message)
        return words

    @staticmethod
    def _no_word(key: str, value: object) -> str | None:
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

    def _who(self, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            wrong = self._nobody(word)
            if wrong:
                self.error(ACCESS, where, wrong)
        return words

    def _nobody(self, word: str) -> str | None:
        """What is wrong with a word of `who`."""
        if word in (EVERYONE, ANONYMOUS):
            return None
        if word.startswith(GROUP):
            name = word.removeprefix(GROUP)
            if name in self.written_groups:
                return None
            close = nearest(name, self.groups)
            if close:
                return f"{quoted(name)} is no group in registry_groups: write {GROUP}{close}"
            if name in self.written_users:
                return f"{quoted(name)} is a user and no group: write who: {name}"
            return f"{quoted(name)} is no group: add it to registry_groups, or remove it here"
        if word.startswith(ROBOT):
            return self._no_robot(word.removeprefix(ROBOT))
        if word in self.reserved:
            return f"{word} is reserved for the deployment's own verification: remove it"
        if word in self.written_users:
            return None
        if word in self.written_robots:
            return f"{quoted(word)} is a robot: write {ROBOT}{word}"
        if word in self.written_groups:
            return f"{quoted(word)} is a group: write {GROUP}{word}"
        if word in (ALL, "*", "**", "any", "anyone", "everybody", "authenticated"):
            return (
                f"{quoted(word)} is no user: write everyone (anyone signed in) or anonymous "
                "(not signed in)"
            )
        if word == "":
            return 'who has an empty text: write anonymous for "not signed in"'
        close = nearest(word, (*self.users, EVERYONE, ANONYMOUS))
        if close:
            return f"{quoted(word)} is no user in registry_users: write {close}"
        return f"{quoted(word)} is no user: add it to registry_users, or remove it here"

    def _no_robot(self, name: str) -> str | None:
        """What is wrong with the name behind `robot:`."""
        if name in self.written_robots:
            return None
        if name in (ALL, "*", "**"):
            return f"{quoted(ROBOT + name)} is no robot: write each robot's name, in a list"
        close = nearest(name, self.robots)
        if close:
            return f"{quoted(name)} is no robot in registry_robots: write {ROBOT}{close}"
        if name in self.written_users:
            return f"{quoted(name)} is a user and no robot: write who: {name}"
        return f"{quoted(name)} is no robot: add it to registry_robots, or remove it here"

    def _may(self, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if word in VERBS or word == ALL:
                continue
            meant = verb_meant(word, VERBS)
            choice = meant or f"one of {', '.join(VERBS)}, or all"
            self.error(ACCESS, where, f"{quoted(word)} is nothing that one may: write {choice}")
        if ALL in words and len(words) > 1:
            self.error(ACCESS, where, "may has all, which holds the others: write may: all alone")
        return words

    def _on(self, where: str, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            wrong = mistake(word)
            if wrong:
                self.error(ACCESS, where, f"on: {wrong}")
            elif word.partition("/")[0] in self.reserved:
                self.error(
                    ACCESS,
                    where,
                    f"on: {quoted(word)} is reserved for the deployment's own verification: "
                    "choose another name",
                )
        if ALL in words and len(words) > 1:
            self.error(ACCESS, where, "on has all, which holds the others: write on: all alone")
        return words

    def _check_together(self, where: str, rule: Rule) -> None:
        """What is wrong only in the combination of who, may and on."""
        if "list" in rule.may and rule.on and ALL not in rule.on:
            self.error(
                ACCESS,
                where,
                "list is the catalog, which is all or nothing and shows every name: write on: all, "
                "or leave list out",
            )
        if ANONYMOUS in rule.who:
            changing = [verb for verb in rule.may if verb in ("push", "delete", ALL)]
            if changing:
                self.error(
                    ACCESS,
                    where,
                    f"anonymous may not {' or '.join(_spelt_out(changing))}: write may: [pull], "
                    "or who: everyone for anyone signed in",
                )
            if any(USER in pattern.split("/") for pattern in rule.on):
                self.error(
                    ACCESS,
                    where,
                    f"{USER} is the signed-in name, which anonymous has not: write the name itself,"
                    " or a rule of its own for anonymous",
                )
        if "push" in rule.may and "pull" not in rule.may:
            self.warnings.append(
                Problem(
                    ACCESS,
                    where,
                    "gives push without pull, and the registry asks for both to push: "
                    "write may: [pull, push]",
                )
            )

    # All of them together

    def compare_names_and_patterns(self) -> None:
        """Names that `{user}` would bring into a namespace of others, or into none."""
        using = [
            (rule, pattern.split("/"))
            for rule in self.rules
            for pattern in rule.on
            if USER in pattern.split("/")
        ]
        if not using:
            return
        named = self._named_places({len(_before_user(segments)) for _, segments in using})
        told = set()
        for name, (number, pattern) in named.get((), {}).items():
            for rule, _ in using:
                if name not in told and self._may_be_meant(name, rule):
                    told.add(name)
                    message = self._collision(name, "begins with", pattern, rule.number)
                    self.error(ACCESS, f"rule {number}", message)
        for rule, segments in using:
            for name, (number, pattern) in named.get(_before_user(segments), {}).items():
                if name not in told and self._may_be_meant(name, rule):
                    told.add(name)
                    message = self._collision(name, "has", pattern, rule.number)
                    self.error(ACCESS, f"rule {number}", message)
        self._check_components([rule for rule, _ in using])

    def _may_be_meant(self, name: str, rule: Rule) -> bool:
        """Whether the rule's `{user}` is, or by another group of it could be, this name."""
        return name in self.users or ROBOT + name in rule.who

    def _collision(self, name: str, verb: str, pattern: str, using: int) -> str:
        what, variable = ("user", USERS) if name in self.users else ("robot", ROBOTS)
        return (
            f"{quoted(pattern)} {verb} {name}, which is also the name of a {what}, whose own place "
            f"it would be, since rule {using} uses {USER}: rename the {what} in {variable}, or "
            "choose another name in the pattern"
        )

    def _named_places(self, depths: set[int]) -> dict[tuple[str, ...], dict[str, tuple[int, str]]]:
        """The segments before a user's name in a pattern → name → the first rule and pattern."""
        users = {*self.users, *self.robots}
        places: dict[tuple[str, ...], dict[str, tuple[int, str]]] = {}
        for rule in self.rules:
            for pattern in rule.on:
                segments = pattern.split("/")
                for depth in depths | {0}:
                    if depth < len(segments) and segments[depth] in users and pattern != ALL:
                        found = places.setdefault(tuple(segments[:depth]), {})
                        found.setdefault(segments[depth], (rule.number, pattern))
        return places

    def _check_components(self, using: Sequence[Rule]) -> None:
        """Those to whom `{user}` applies and whose name is no part of a repository's name."""
        unfit = [name for name in (*self.users, *self.robots) if not COMPONENT.fullmatch(name)]
        for name in unfit:
            words = {ROBOT + name}
            if name in self.users:
                groups = (GROUP + group for group, found in self.groups.items() if name in found)
                words = {name, EVERYONE, *groups}
            rule = next((rule for rule in using if not words.isdisjoint(rule.who)), None)
            if rule is not None:
                variable, what = (USERS, "user") if name in self.users else (ROBOTS, "robot")
                self.error(
                    variable,
                    name,
                    "this name can be no part of a repository's name, and registry_access, "
                    f"rule {rule.number}, gives this {what} {USER}: write the name with "
                    "single dots, one or two underscores, or hyphens, and only between letters and "
                    "digits",
                )

    def find_useless_rules(self) -> None:
        """Rules that earlier ones always answer, and those whom no rule gives anything."""
        findings = coverage.examine(self.users, self.groups, self.rules, self.robots)
        by_number = {rule.number: rule for rule in self.rules}
        for number, earlier in findings.useless.items():
            rule, first = by_number[number], by_number[earlier[0]]
            same = first.number if _content(rule) == _content(first) else None
            self.error(ACCESS, f"rule {number}", answered_before(same, earlier))
        for name in findings.empty_handed:
            self.warnings.append(
                Problem(
                    USERS,
                    name,
                    "no rule in registry_access gives this user anything: add one, or remove the "
                    "user",
                )
            )
        for name in findings.idle_robots:
            self.warnings.append(
                Problem(
                    ROBOTS,
                    name,
                    "no rule in registry_access gives this robot anything, and everyone holds no "
                    f"robots: add one with who: {ROBOT}{name}, or remove the robot",
                )
            )


def _content(rule: Rule) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    return frozenset(rule.who), frozenset(rule.may), frozenset(rule.on)


def _before_user(segments: Sequence[str]) -> tuple[str, ...]:
    return tuple(segments[: list(segments).index(USER)])


def _spelt_out(verbs: Sequence[str]) -> list[str]:
    """`all` as the verbs that it holds and anonymous may not have."""
    return ["push", "delete"] if ALL in verbs else list(verbs)


def _unknown_rule_key(key: object) -> str:
    if not isinstance(key, str):
        return f"has {kind(key)} as a key: the keys are {', '.join(_RULE_KEYS)}"
    usual = {
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
    meant = usual.get(key.lower()) or nearest(key.lower(), _RULE_KEYS)
    if meant:
        return f"{quoted(key)} is an unknown key: write {meant}"
    return f"{quoted(key)} is an unknown key: remove it, the keys are {', '.join(_RULE_KEYS)}"


def _near_name(name: str, entry: object) -> str:
    """`: write NAME` with an allowed name near to this one, if there is any to show."""
    near = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("._-")
    return f": write {near}" if near and _shown_name(name, entry) else ""


def _shown_name(name: object, entry: object) -> str | None:
    """A key as it may be shown: None where it could be more than a user's name.

    YAML takes `{admin:secret}` for a key without value.
    """
    if not isinstance(name, str):
        return spelt(name) if isinstance(name, bool | int | float) else None
    innocent = NAME.fullmatch(name) or (
        isinstance(entry, Mapping) and re.fullmatch(r"[A-Za-z0-9 ._@+-]{1,64}", name)
    )
    return str(name) if innocent else None


def _credentials(entry: object, name: str) -> list[str]:
    """What is wrong with the value of one user in registry_users."""
    if not isinstance(entry, Mapping):
        return [
            f"is {kind(entry)}: write {{password: …}}, {{password_hash: …}}, or {{}} for a "
            "password that is generated"
        ]
    problems = [
        _unknown_user_key(position, key, value)
        for position, (key, value) in enumerate(entry.items(), 1)
        if key not in _USER_KEYS
    ]
    if "password" in entry and "password_hash" in entry:
        problems.append("has both password and password_hash: remove one")
    if "password" in entry:
        problems.extend(_password(entry["password"]))
    if "password_hash" in entry:
        problems.extend(_password_hash(entry["password_hash"]))
    return problems


def _unknown_user_key(position: int, key: object, value: object) -> str:
    if isinstance(key, str) and re.match(r"password(_hash)?\s*[:=]", key):
        return "has password and its value as one key: write a space after the colon"
    meant = _user_key_meant(key) if isinstance(key, str) else None
    harmless = isinstance(key, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,39}", key)
    # Without a value and unlike any key it may be a secret in the place of a key.
    if harmless and (meant or value is not None):
        choice = f"write {meant}" if meant else "remove it, the keys are password, password_hash"
        return f"{key} is an unknown key: {choice}"
    return f"key {position} is unknown (not shown, it may be secret): write {{password: …}}"


def _user_key_meant(key: str) -> str | None:
    plain = key.lower().replace("-", "_")
    usual = {"pw": "password", "pass": "password", "hash": "password_hash"}
    return usual.get(plain) or nearest(plain, _USER_KEYS)


def _password(password: object) -> list[str]:
    if password is None or password == "":
        return ["password is empty: write one, or {} for a password that is generated"]
    if not isinstance(password, str):
        return [f"password is {kind(password)} to YAML: write it in quotation marks"]
    if BCRYPT_HASH.fullmatch(password):
        return ["password is a bcrypt hash: write it as password_hash"]
    problems = []
    size = len(password.encode("utf-8", "surrogatepass"))
    if size > LONGEST_PASSWORD:
        problems.append(
            f"password has {size} bytes, and bcrypt reads no more than {LONGEST_PASSWORD}: "
            "write a shorter one"
        )
    if any(character in password for character in "\0\r\n"):
        problems.append(
            "password has a line break or a NUL, which clients cut off: write it without"
        )
    return problems


def _password_hash(found: object) -> list[str]:
    if not isinstance(found, str):
        return [f"password_hash is {kind(found)}: write a bcrypt hash; {_MAKE_HASH}"]
    match = BCRYPT_HASH.fullmatch(found)
    if match is None:
        inner = BCRYPT_HASH.search(found)
        if inner is not None:
            return ["password_hash has more than the hash: write only what begins with $2"]
        return [f"password_hash is no bcrypt hash: {_MAKE_HASH}"]
    cost = int(match[1])
    if not LOWEST_COST <= cost <= HIGHEST_COST:
        return [
            f"password_hash has the bcrypt cost {cost}, and {LOWEST_COST} to {HIGHEST_COST} is "
            f"accepted: {_MAKE_HASH}"
        ]
    return []
