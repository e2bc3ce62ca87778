"""The Tab key: what bash completes by the script that `retorno completion` prints."""

import shutil
import subprocess

import pytest

ASK = """
source "$0"
COMP_WORDS=(retorno "$@") COMP_CWORD=$#
$(complete -p retorno | sed 's/.*-F \\([^ ]*\\).*/\\1/')
echo "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    import contextlib
    import io

    from retorno.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["completion", "bash"]) == 0
    path = tmp_path_factory.mktemp("completion") / "retorno"
    path.write_text(out.getvalue())
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tr", "train"),
        ("train pp", "ppo"),
        ("train ppo Cart", "CartPole-v1 CartPoleNoVel-v1"),
        ("train ppo CartPole-v1 --lea", "--learning-rate --learning-rate-end"),
        ("train ppo CartPole-v1 --network tr", "transformer"),
        ("train q_learning cliff --epsi", "--epsilon"),
        ("solve student --method p", "policy-iteration prioritised-sweeping partitioned"),
        ("completion ", "bash zsh fish"),
    ],
)
def test_what_bash_completes(script, typed, completed):
    told = subprocess.run(["bash", "-c", ASK, script, *typed.split(" ")], capture_output=True, text=True, check=True)
    assert told.stdout.split() == completed.split(), told.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_have_a_script(cli, shell):
    code, out, err = cli("completion", shell)
    assert (code, err) == (0, "") and all(word in out for word in ("q_learning", "CartPole-v1", "exploration.epsilon"))
