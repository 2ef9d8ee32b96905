"""The command line, as people type it who come from Centrifugo."""

import json
import os
import subprocess

from server import PATIENCE


def tidegate(*arguments, said=""):
    run = [os.environ["TIDEGATE_BIN"], *arguments]
    return subprocess.run(run, input=said, capture_output=True, text=True, timeout=PATIENCE)


def test_flags_of_older_servers_are_explained():
    for flag, key in [
        (["--log_level", "debug"], "log.level"),
        (["--admin"], "admin.enabled"),
        (["--client_insecure"], "client.insecure"),
        (["--api_insecure"], "http_api.insecure"),
    ]:
        run = tidegate("serve", *flag)
        assert run.returncode == 2 and f"did you mean --{key}?" in run.stderr, run.stderr


def test_commands_of_v6_have_their_like(tmp_path):
    made = tmp_path / "config.json"
    assert tidegate("genconfig", "-c", str(made)).returncode == 0
    checked = tidegate("checkconfig", "-c", str(made))
    assert (checked.returncode, checked.stdout) == (0, f"{made}: good, 0 warnings\n"), checked
    secrets = made.read_text()
    # What is there stays, and no two are alike.
    again = tidegate("genconfig", "-c", str(made))
    assert again.returncode == 1 and "cannot make the file" in again.stderr and made.read_text() == secrets
    assert made.stat().st_mode & 0o077 == 0
    for name in ["other.toml", "other.yaml"]:
        other = tmp_path / name
        assert tidegate("config", "new", str(other)).returncode == 0
        assert tidegate("config", "check", str(other)).stdout.endswith(": good, 0 warnings\n")
    token = tidegate("gentoken", "-c", str(made), "-u", "42").stdout.strip()
    assert "connected as user" in tidegate("checktoken", "-c", str(made), said=token).stdout
    assert json.loads(tidegate("defaultconfig").stdout)["client"]["ping_interval"] == "25s"
    assert 'TIDEGATE_CLIENT_PING_INTERVAL="25s"\n' in tidegate("defaultenv").stdout
    assert tidegate("version").stdout == tidegate("--version").stdout
