"""What the tests of commands share."""

import pytest

from retorno.cli import waiting
from retorno.cli.main import main


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command in this process: (exit code, stdout, stderr). However slow the machine, nothing is waited for."""
    monkeypatch.setattr(waiting, "PATIENCE", 1e6)

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call
