"""A folder that a Gate trusts."""

import pytest


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "system_actions"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    return folder
