"""The files for Prometheus and Grafana, as far as they can be checked without them."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

# Those of Grafana's units that our numbers have.
UNITS = {"none", "percentunit", "s", "bytes", "reqps", "ops"}


@pytest.fixture(scope="module")
def alerts(project: Path) -> list[str]:
    rules = yaml.safe_load((project / "templates/monitoring/alerts.yml").read_text())
    return [rule["alert"] for group in rules["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def dashboard(project: Path) -> Any:
    return json.loads((project / "templates/monitoring/dashboard.json").read_text())


@pytest.fixture(scope="module")
def panels(dashboard: Any) -> list[Any]:
    """All panels except the rows' titles."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_every_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not(
    project: Path, alerts: list[str]
) -> None:
    file = project / "molecule/hardening/monitored/rules_test.yml"
    tests = [
        test
        for group in yaml.safe_load(file.read_text())["tests"]
        for test in group["alert_rule_test"]
    ]
    assert {test["alertname"] for test in tests if test["exp_alerts"]} == set(alerts)
    assert {test["alertname"] for test in tests if not test["exp_alerts"]} == set(alerts)


def test_the_page_names_every_alert_and_no_other(project: Path, alerts: list[str]) -> None:
    page = (project / "docs/monitoring.md").read_text()
    assert re.findall(r"^\| (Wharfinger\w+) \|", page, re.MULTILINE) == alerts


def test_panels_and_what_they_ask_have_names_of_their_own(
    dashboard: Any, panels: list[Any]
) -> None:
    identities = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert references, panel["title"]
        assert len(set(references)) == len(references), panel["title"]


def test_the_prometheus_is_chosen_when_the_dashboard_is_imported(
    dashboard: Any, panels: list[Any]
) -> None:
    source, registry = dashboard["templating"]["list"]
    assert (source["name"], source["type"]) == ("source", "datasource")
    chosen = {"type": "prometheus", "uid": "${source}"}
    asking = [registry, *dashboard["annotations"]["list"], *panels]
    asking += [target for panel in panels for target in panel["targets"]]
    assert [source for source in asking if source["datasource"] != chosen] == []


def test_every_panel_has_a_unit_that_grafana_knows(panels: list[Any]) -> None:
    assert {panel["fieldConfig"]["defaults"]["unit"] for panel in panels} == UNITS


def test_no_panel_lies_over_another_or_over_the_edge(dashboard: Any) -> None:
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    for place in places:
        assert min(place.values()) >= 0
        assert place["x"] + place["w"] <= 24
    for first, second in itertools.combinations(places, 2):
        beside = first["x"] + first["w"] <= second["x"] or second["x"] + second["w"] <= first["x"]
        above = first["y"] + first["h"] <= second["y"] or second["y"] + second["h"] <= first["y"]
        assert beside or above, (first, second)
