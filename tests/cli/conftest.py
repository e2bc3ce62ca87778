"""What the tests of commands share."""

import pytest

from retorno.cli.main import main
from retorno.environments import own_code


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command in this process: (exit code, stdout, stderr).

    As in a process of its own, no file of somebody's own has been named before.
    """
    monkeypatch.setattr(own_code, "_modules", {})

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call
