"""The dashboard and the alert rules of `deploy/grafana`, asked of a real Prometheus that scrapes a real server."""

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from server import PATIENCE, free_port, serving
from wire import TEXT, Wire

FOLDER = Path(__file__).parents[3] / "deploy" / "grafana"
ALERTS = FOLDER / "alerts.yaml"
# A publication, and how many of them a client leaves unread: more than sockets hold, less than a window.
LARGE, MANY = "x" * 20_000, 40

# What Grafana puts in for a dashboard's variables.
VARIABLES = {"$__rate_interval": "30s", "$instance": ".*", "$job": ".*"}


class Prometheus:
    """A Prometheus that scrapes a server each second, by the rules of `alerts.yaml`."""

    def __init__(self, folder, server):
        self.port = free_port()
        config = folder / "prometheus.json"  # JSON is YAML, too
        target = {"targets": [f"127.0.0.1:{server.port}"]}
        config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "rule_files": [str(ALERTS)],
                    "scrape_configs": [{"job_name": "tidegate", "static_configs": [target]}],
                }
            )
        )
        self._log = open(folder / "log", "w+")
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def stop(self):
        self._process.terminate()
        self._process.wait(PATIENCE)
        self._log.close()

    def get(self, path, **parameters):
        """The data of an answer, which must be a success."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
            answer = json.load(reply)
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.get("query", query=expression)["result"]

    def value(self, expression):
        """The value of the first series; 0 without any."""
        result = self.query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def running(self):
        assert self._process.poll() is None, (self._log.seek(0), self._log.read())[1]
        try:
            return self.value("up") == 1
        except OSError:
            return False  # not listening yet


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A server that has had some traffic and some loss, and the Prometheus that has seen it happen."""
    with serving() as server:
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), server)
        try:
            until(prometheus.running, "a first scrape")
            with Wire.connected(server) as reader, Wire(server) as stalled:
                reader.call({"id": 2, "subscribe": {"channel": "news"}})
                client = stalled.call({"id": 1, "connect": {}})["connect"]["client"]
                stalled.call({"id": 2, "subscribe": {"channel": "big"}})
                for i in range(20):
                    server.api("publish", {"channel": "news", "data": i})
                for _ in range(MANY):
                    server.api("publish", {"channel": "big", "data": LARGE})
                # It has not read what its socket did not take: that is lost, and counted.
                server.api("disconnect", {"user": "", "client": client})
                until(lambda: prometheus.value("sum(tidegate_missed_total{cause='closed'})") > 0, "a loss")
                until(lambda: prometheus.value("sum(rate(tidegate_delivered_total[30s]))") > 0, "deliveries")
                yield prometheus
        finally:
            prometheus.stop()


def expressions():
    """Every query of the dashboard, with its panel's title."""
    panels = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


def until(done, what):
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def test_the_rules_are_sound():
    checked = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("title, expression", expressions())
def test_a_query_of_the_dashboard_has_an_answer(site, title, expression):
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"{title}: a variable nobody knows"
    assert site.query(expression), f"{title}: {expression}"


def test_every_metric_of_the_files_is_exposed(site):
    exposed = set(site.get("label/__name__/values"))
    text = ALERTS.read_text() + (FOLDER / "dashboard.json").read_text()
    named = set(re.findall(r"\b(?:tidegate|process)_[a-z_]+", text))
    assert named and not named - exposed


def test_every_rule_is_evaluated(site):
    until(lambda: all(rule["health"] == "ok" for rule in rules_of(site)), "the rules' first evaluation")
    rules = rules_of(site)
    assert len(rules) == ALERTS.read_text().count("- alert:")
    for rule in rules:
        site.query(rule["query"])


def test_a_loss_raises_the_alarm_and_nothing_else_does(site):
    def firing():
        alerts = site.get("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    until(lambda: firing() == {"TidegatePublicationsMissed"}, "the alarm")


def rules_of(site):
    return [rule for group in site.get("rules")["groups"] for rule in group["rules"]]
