"""How fast the purchase models are fitted and customers valued, against `lifetimes` and `pymc-marketing`.

    python benchmarks/value.py --references /path/to/environment/bin/python [--customers 1000000] [--rounds 1]

The two libraries are references only and live in a virtual environment of their own, which `--references` names:
`pip install lifetimes pymc-marketing` in it (seen with lifetimes 0.11.3 and pymc-marketing 0.19.2). Without it only our
own figures are shown.

Each contender runs in a process of its own, one after the other in one run, on the same simulated customers (two years, whole
days, a first purchase on any of them). Each is warmed up on 1,000 customers first, so that imports and compiling are not
counted. Processor seconds include those of child processes and hardly change with what else runs; memory is how far the
peak rose above what the process held, data included, before the fit. `pymc-marketing` is fitted by MAP with its default
priors, `lifetimes` without a penalty; ours includes compressing to distinct rows. Every contender's parameters are put
into our likelihood: how far below ours they come stands in the last column (rounding apart, nobody should be above).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parents[1]
OURS, LIFETIMES, PYMC = "ours", "lifetimes", "pymc-marketing"
WARM_UP = 1_000
CLV_FITTED_ON = 20_000
MONTHS, DISCOUNT_PER_MONTH, SPEND = 36, 0.01, 25.0
WEEKS_PER_MONTH = 4.345
"""As both libraries count them, so that the values can be compared."""

TRUTH = {
    "bg_nbd": {"r": 0.55, "alpha": 10.6, "a": 0.8, "b": 2.4},
    "pareto_nbd": {"r": 0.55, "alpha": 10.6, "s": 0.6, "beta": 11.7},
}
"""Close to CDNOW's estimates."""

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]
Fit = Callable[[Arrays], Any]


def simulate(model: str, customers: int, seed: int = 1) -> Arrays:
    """Repeat purchases, weeks to the last one and weeks observed, on whole days."""
    rng = np.random.default_rng(seed)
    truth = TRUTH[model]
    age = rng.integers(1, 731, customers) / 7.0
    rate = rng.gamma(truth["r"], 1 / truth["alpha"], customers)
    if model == "bg_nbd":
        leaving, lifetime = rng.beta(truth["a"], truth["b"], customers), np.full(customers, np.inf)
    else:
        leaving = np.zeros(customers)
        lifetime = rng.exponential(size=customers) / rng.gamma(truth["s"], 1 / truth["beta"], customers)
    x, last, now = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    active = np.arange(customers)
    while len(active):
        now[active] += rng.exponential(size=len(active)) / rate[active]
        active = active[now[active] <= np.minimum(age, lifetime)[active]]
        day = np.minimum(np.ceil(now[active] * 7) / 7, age[active])
        x[active] += day > last[active]  # a second purchase on one day is none
        last[active] = day
        active = active[rng.random(len(active)) >= leaving[active]]
    return x, last, age


def fit_ours(model: str) -> Fit:
    sys.path.insert(0, str(PROJECT))
    module = importlib.import_module(f"assets.analytics.models.{model}")
    compress = importlib.import_module("assets.analytics.models.summaries").compress
    return lambda arrays: module.fit(compress(*arrays))


def fit_lifetimes(model: str) -> Fit:
    fitters = importlib.import_module("lifetimes")
    fitter = {"bg_nbd": fitters.BetaGeoFitter, "pareto_nbd": fitters.ParetoNBDFitter}[model]
    return lambda arrays: fitter(penalizer_coef=0.0).fit(*arrays)


def fit_pymc(model: str) -> Fit:
    clv = importlib.import_module("pymc_marketing.clv")
    of_model = {"bg_nbd": clv.BetaGeoModel, "pareto_nbd": clv.ParetoNBDModel}[model]

    def fit(arrays: Arrays) -> Any:
        fitted = of_model()
        fitted.fit(data=frame(arrays), method="map", progressbar=False)
        return fitted

    return fit


def frame(arrays: Arrays) -> Any:
    pandas = importlib.import_module("pandas")
    columns = dict(zip(("frequency", "recency", "T"), arrays, strict=True))
    return pandas.DataFrame({"customer_id": np.arange(len(arrays[0]))} | columns | {"future_spend": SPEND})


def parameters_of(contender: str, model: str, fitted: Any) -> dict[str, float]:
    if contender == OURS:
        return dict(fitted.parameters)
    if contender == LIFETIMES:
        return {name: float(fitted.params_[name]) for name in TRUTH[model]}
    return {name: float(fitted.fit_result[name].values.ravel()[0]) for name in TRUTH[model]}


def value_ours(model: str, fitted: Any, arrays: Arrays) -> np.ndarray:
    module = importlib.import_module(f"assets.analytics.models.{model}")
    months = np.arange(1, MONTHS + 1)
    factors = (1 + DISCOUNT_PER_MONTH) ** -months.astype("float64")
    if hasattr(module, "discounted_purchases"):
        present = module.discounted_purchases(fitted.parameters, *arrays, months * WEEKS_PER_MONTH, factors)
    else:
        expected = module.expected_purchases_at(fitted.parameters, *arrays, months * WEEKS_PER_MONTH)
        present = np.diff(expected, axis=1, prepend=0.0) @ factors
    return np.asarray(SPEND * present)


def value_lifetimes(model: str, fitted: Any, arrays: Arrays) -> np.ndarray:
    utils = importlib.import_module("lifetimes.utils")
    table = frame(arrays)
    columns = (table[name] for name in ("frequency", "recency", "T", "future_spend"))
    values = utils._customer_lifetime_value(fitted, *columns, time=MONTHS, discount_rate=DISCOUNT_PER_MONTH, freq="W")
    return np.asarray(values)


def value_pymc(model: str, fitted: Any, arrays: Arrays) -> np.ndarray:
    utils = importlib.import_module("pymc_marketing.clv.utils")
    values = utils.customer_lifetime_value(
        fitted, frame(arrays), future_t=MONTHS, discount_rate=DISCOUNT_PER_MONTH, time_unit="W"
    )
    return np.asarray(values).ravel()


CONTENDERS = {OURS: (fit_ours, value_ours), LIFETIMES: (fit_lifetimes, value_lifetimes), PYMC: (fit_pymc, value_pymc)}


def run(contender: str, task: str, model: str, path: str, limit: int) -> dict[str, Any]:
    """In the contender's own process: warm up, measure, and say what came out."""
    warnings.simplefilter("ignore")
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (limit, most))
    with np.load(path) as stored:
        arrays = (stored["x"], stored["t_x"], stored["T"])
    start = processor_seconds()
    fit_of, value_of = CONTENDERS[contender]
    fit = fit_of(model)
    imported = processor_seconds() - start
    few = tuple(values[:WARM_UP].copy() for values in arrays)
    fitted = fit(few)
    if task == "clv":
        value_of(model, fitted, few)
        fitted = fit(tuple(values[:CLV_FITTED_ON].copy() for values in arrays))
    held, start, clock = held_memory(), processor_seconds(), time.perf_counter()
    result: dict[str, Any] = {"imported": imported}
    if task == "clv":
        values = value_of(model, fitted, arrays)
        result["mean_value"] = float(np.mean(values))
        result["not_finite"] = int(np.sum(~np.isfinite(values)))
    else:
        fitted = fit(arrays)
    result |= {"processor": processor_seconds() - start, "wall": time.perf_counter() - clock}
    result |= {"memory": peak_memory() - held, "parameters": parameters_of(contender, model, fitted)}
    return result


def processor_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_memory() -> float:
    """The most this process has held so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def held_memory() -> float:
    """What this process holds now, in megabytes; where the system does not tell, its peak so far."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return peak_memory()
    return int(status.read_text().split()[1]) * resource.getpagesize() / 2**20


def measure(interpreter: str, contender: str, task: str, model: str, path: Path, limit: int) -> dict[str, Any] | None:
    """What the contender's process reports; None where it took more than `limit` processor seconds."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    own = ["--limit", str(limit), "--run", contender, task, model, str(path)]
    command = [interpreter, str(Path(__file__).resolve()), *own]
    done = subprocess.run(command, env=os.environ | threads, capture_output=True, text=True, check=False)
    if done.returncode == -signal.SIGXCPU:
        return None
    if done.returncode != 0:
        raise RuntimeError(f"{contender} failed at {task} of {model}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(task: str, model: str, customers: int, contenders: list[str], options: argparse.Namespace) -> None:
    sys.path.insert(0, str(PROJECT))
    module = importlib.import_module(f"assets.analytics.models.{model}")
    compress = importlib.import_module("assets.analytics.models.summaries").compress
    arrays = simulate(model, customers)
    data = compress(*arrays)
    print(f"\n{model} {task}, {customers:,} customers, {len(data.x):,} distinct rows")
    head = f"{'':<16}{'processor s':>12}{'x ours':>9}{'wall s':>9}{'memory MB':>11}{'import s':>10}"
    print(head + (f"{'mean value':>12}{'not finite':>12}" if task == "clv" else f"{'log-likelihood':>18}  parameters"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "customers.npz"
        np.savez(path, x=arrays[0], t_x=arrays[1], T=arrays[2])
        ours: dict[str, float] = {}
        for contender in contenders:
            interpreter = sys.executable if contender == OURS else options.references
            rounds = [measure(interpreter, contender, task, model, path, options.limit) for _ in range(options.rounds)]
            finished = [found for found in rounds if found is not None]
            if not finished:
                least = f", {options.limit / ours['processor']:,.0f} times ours" if ours else ""
                print(f"{contender:<16}  not finished in {options.limit:,} processor s{least}", flush=True)
                continue
            best = min(finished, key=lambda found: float(found["processor"]))
            ours = ours or best
            line = f"{contender:<16}{best['processor']:>12.2f}{best['processor'] / ours['processor']:>8.1f}x"
            line += f"{best['wall']:>9.1f}{best['memory']:>11,.0f}{best['imported']:>10.1f}"
            if task == "clv":
                line += f"{best['mean_value']:>12.4f}{best['not_finite']:>12,}"
            else:
                likelihood = module.log_likelihood(best["parameters"], data.x, data.t_x, data.T) @ data.weight
                ours.setdefault("likelihood", likelihood)
                below = f"{likelihood:,.2f}" if best is ours else f"{likelihood - ours['likelihood']:+,.2f}"
                line += f"{below:>18}  " + " ".join(f"{value:.4f}" for value in best["parameters"].values())
            print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", help="Python of the environment with lifetimes and pymc-marketing")
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--pareto-customers", type=int, default=100_000)
    parser.add_argument("--pareto-large", type=int, default=0, help="Pareto/NBD of so many, without lifetimes")
    parser.add_argument("--rounds", type=int, default=1, help="the round with least processor time counts")
    parser.add_argument("--limit", type=int, default=900, help="processor seconds a contender is given")
    parser.add_argument("--only", choices=("bg", "pareto", "clv"), help="one of the three comparisons")
    parser.add_argument("--run", nargs=4, metavar=("CONTENDER", "TASK", "MODEL", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        contender, task, model, path = options.run
        print(json.dumps(run(contender, task, model, path, options.limit)))
        return
    contenders = list(CONTENDERS) if options.references else [OURS]
    if options.only in (None, "bg"):
        compare("fit", "bg_nbd", options.customers, contenders, options)
    if options.only in (None, "pareto"):
        compare("fit", "pareto_nbd", options.pareto_customers, contenders, options)
        if options.pareto_large:
            without = [name for name in contenders if name != LIFETIMES]
            compare("fit", "pareto_nbd", options.pareto_large, without, options)
    if options.only in (None, "clv"):
        compare("clv", "bg_nbd", options.customers, contenders, options)


if __name__ == "__main__":
    main()
