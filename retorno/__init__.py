"""retorno: reinforcement learning with one set of concepts and answers you can check.

    import retorno as rt

    student = rt.environments.student()                      # a model
    print(rt.bellman.solve(student, discount=0.9))           # exact, with bounds
    run = rt.train(rt.PPO(), "CartPole-v1", steps=100_000)   # iterate it for reports
    for report in run: print(report)
    print(rt.evaluate(run.policy, run.world))                # mean and 95% interval

What there is stands in `__init__.pyi`; nothing is imported before it is used.
"""

import lazy_loader

__version__ = "0.1.0"

_found, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name):
    try:
        return _found(name)
    except AttributeError:
        if name.startswith("_"):
            raise
        from retorno.core.names import absent

        raise absent(
            __name__, name, __all__, ("algorithms", "environments", "networks", "policies", "bellman", "plots", "ops")
        ) from None
