"""What the tests of commands share."""

import pytest

from retorno.cli.main import main


@pytest.fixture
def cli(capsys):
    """Run a command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        capsys.readouterr()
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return call
