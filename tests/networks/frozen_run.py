"""A process that goes on with a run over frozen layers: it prints the digest and what the loaded policy does.

python frozen_run.py FOLDER
"""

import sys

import retorno as rt

if __name__ == "__main__":
    with rt.resume(sys.argv[1]) as training:
        training.run_to_end()
    actor = rt.load(sys.argv[1])
    print(training.digest, *(int(actor.act(state)) for state in range(16)))
