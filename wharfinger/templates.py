"""Renders and reads the YAML files in templates/, without Ansible, for preflight and tests.

A template is plain YAML with comments. A value enters it by `| to_json`, which leaves nothing for
YAML or Jinja to interpret.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).resolve().parents[1] / "templates"

_NOT_PLAIN = re.compile(r"[^ -~]")


def read(name: str, **values: object) -> dict[str, Any]:
    """The mapping in the template `name` (a path below templates/) with these values.

    Raises jinja2.UndefinedError for a missing value and yaml.YAMLError for bad YAML.
    """
    text = _environment().get_template(name).render(**values)
    content: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        # The files are not HTML.
        autoescape=False,
    )
    environment.filters["to_json"] = _to_json
    return environment


def _to_json(value: object) -> str:
    """JSON that YAML reads as the same value.

    YAML reads some characters as line breaks and refuses others. Its own escape works for all; JSON
    would write two escapes for a character above U+FFFF.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_PLAIN.sub(lambda match: f"\\U{ord(match[0]):08x}", text)
