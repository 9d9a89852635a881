"""Run the whole circle, and check what came out of it."""

from __future__ import annotations

from demo.director import Director
from demo.house.judge import judge
from demo.house.plan import Folders
from demo.house.show import HouseShow
from demo.house.stages import Days, HouseSteps, stages_of
from demo.house.story import Facts
from demo.house.watch import HouseWatch
from demo.running import Run
from demo.verdict import Verdict
from devservices.redis import Redis
from udfs.stores.online.base import RedisOptions

_REQUESTS_IN = 10


def house_prices(run: Run) -> int:
    """From sales to features, a training set, a model, and the prices that are asked for."""
    folders, options = Folders(run.work), run.options
    folders.make()
    redis = run.cleanup.enter_context(Redis())
    bench, root = run.workbench("demo.house.workbench"), str(run.work)
    steps = HouseSteps(folders, run.jobs, bench, redis.url)
    job = steps.features()
    requests = max(1, options.records // _REQUESTS_IN)
    bench.ask("prepare", root=root, seed=options.seed, sales=options.records, requests=requests)
    bench.wait(120)
    facts = Facts.read(folders.story / "facts.json")
    watch = HouseWatch(folders, RedisOptions(redis.url))
    run.cleanup.callback(watch.close)
    days = Days(folders, options.rate, job.has_run, watch)
    director = Director(stages_of(steps, facts, watch), bench, days)

    def verdict() -> Verdict:
        bench.ask("score", root=root)
        return judge(facts, watch, steps.offline, bench.wait(120))

    return run.show(HouseShow(facts, watch, director, steps, days), director, watch.look, verdict)
