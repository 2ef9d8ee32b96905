"""A server that cannot start says why, and where the reason stands."""

import json
import subprocess

import pytest

from server import BASE, PATIENCE, command, free_port, over

pytestmark = pytest.mark.usefixtures("healthy")


def refusal(config):
    """What a server says that must not start."""
    ended = subprocess.run(command(config), capture_output=True, text=True, timeout=PATIENCE)
    assert ended.returncode > 0, ended
    return ended.stderr


def written(folder, change):
    file = folder / "config.json"
    file.write_text(json.dumps(over(over(BASE, {"http_server": {"port": free_port()}}), change)))
    return file


def test_a_port_in_use(shared, tmp_path):
    said = refusal(written(tmp_path, {"http_server": {"port": shared.port}}))
    assert str(shared.port) in said
    assert "http_server.port" in said


def test_a_config_file_that_is_missing(tmp_path):
    missing = tmp_path / "missing.json"
    assert str(missing) in refusal(missing)


def test_a_config_file_that_is_a_folder(tmp_path):
    folder = tmp_path / "folder.json"
    folder.mkdir()
    assert str(folder) in refusal(folder)


def test_a_config_file_that_is_not_json(tmp_path):
    file = tmp_path / "broken.json"
    file.write_text('{"client": ')
    assert str(file) in refusal(file)


def test_an_unknown_key(tmp_path):
    file = written(tmp_path, {"client": {"chanel_limit": 5}})
    said = refusal(file)
    assert "client.chanel_limit" in said
    assert str(file) in said


def test_a_value_of_the_wrong_type(tmp_path):
    file = written(tmp_path, {"client": {"channel_limit": "many"}})
    said = refusal(file)
    assert "client.channel_limit" in said
    assert str(file) in said
