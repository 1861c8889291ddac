"""``python -m tests.differential --minutes 60``: random trainings until the time is over, and what they found.

``--case SEED`` runs one again; ``--backend`` chooses: numpy, numba, gpu (on the stand-in for CuPy where there is no
GPU). Ends with status 1 if anything disagreed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import re
import sys
import time
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from .cases import Case, random_case
from .checks import check


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.differential", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--backend", nargs="+", default=["numpy", "numba"], choices=["numpy", "numba", "gpu"])
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--case", type=int, help="run this one only, and show it")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        if "gpu" in args.backend:
            _stand_in(stack)
        if args.case is not None:
            case = random_case(args.case)
            print(case)
            return sum(not _ran(case, backend, collections.Counter(), show=True) for backend in args.backend)
        plans: collections.Counter[str] = collections.Counter()
        ends, seed, failed = time.monotonic() + 60 * args.minutes, args.first, 0
        while time.monotonic() < ends:
            for backend in args.backend:
                failed += not _ran(random_case(seed), backend, plans)
            seed += 1
        for plan, count in plans.most_common():
            print(f"{count:7} {plan}")
        n = (seed - args.first) * len(args.backend)
        print(f"{n - failed} passed, {failed} failed")
    return 1 if failed else 0


def _stand_in(stack: contextlib.ExitStack) -> None:
    """Let CuPy be its stand-in, unless there is a GPU."""
    from cuda_on_cpu.installing import installed

    cupy = stack.enter_context(installed("fake"))
    from tinynet_kernels import cuda
    from tinynet_kernels.cuda.loading import compile_together

    if not hasattr(cupy, "__file__"):
        compile_together(cuda.instances())


def _ran(case: Case, backend: str, plans: collections.Counter[str], *, show: bool = False) -> bool:
    """Run one case; tell whether it agreed, and print what did not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plans[f"{backend}: {re.sub('[0-9]+', 'N', check(case, backend))}"] += 1
    except FloatingPointError:
        plans[f"{backend}: left out, as the oracle leaves the numbers"] += 1
    except Exception as error:
        print(f"--case {case.seed} --backend {backend}: {type(error).__name__}: {error}", flush=True)
        if show:
            traceback.print_exc()
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
