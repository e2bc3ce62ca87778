"""retorno: reinforcement learning with one set of concepts and answers you can check.

    import retorno as rt

    student = rt.environments.student()                      # a model
    print(rt.bellman.solve(student, discount=0.9))           # exact, with bounds
    run = rt.train(rt.PPO(), "CartPole-v1", steps=100_000)   # iterate it for reports
    for report in run: print(report)
    print(rt.evaluate(run.policy, run.world))                # mean and 95% interval

What there is stands in `__init__.pyi`; nothing is imported before it is used.
"""

from retorno.core.lazy import attached

__version__ = "0.1.0"

SHELVES = ("algorithms", "environments", "networks", "policies", "bellman", "plots", "ops")

__getattr__, __dir__, __all__ = attached(__name__, __file__, SHELVES)
