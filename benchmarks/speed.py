"""Times of BlurSim, and of what a user would pick instead, relative to the FFTs that it can't do without.

    python benchmarks/speed.py            # CPU, both backends, all sections: prints tables, writes results/*.json
    python benchmarks/speed.py --device gpu
    python benchmarks/report.py           # the table of docs/speed.md and the plot, from results/*.json

README.md in this folder explains how the times are taken and how to read them.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import contestants
import peers
import report
from provenance import commit, machine, versions
from tqdm import tqdm

HERE = Path(__file__).parent
BATCHES = ["16x256x256", "4x512x512", "1x1024x1024"]
GPU_BATCHES = ["16x3x512x512", "4x3x1080x1920"]
SIDES = ["1x128x128", "1x256x256", "1x512x512", "1x1024x1024", "1x2048x2048", "1x4096x4096"]
VOLUMES = ["2x64x128x128", "1x128x256x256"]
# Odd, prime, and those of cameras and screens.
ODD = ["16x255x255", "16x257x257", "1x509x1021", "1x720x1280", "1x1023x1025", "1x1080x1920"]
PATIENCE, LEAST_ROUNDS = 60, 5
THREADS = {"jax": 2, "torch": 1, "peers": 1}
PEERS = ["kornia", "monai", "pytorch-msssim", "focal-frequency-loss", "opencv-python-headless"]
# A floor and its contestants share a process. JAX and PyTorch don't, as their thread pools disturb each other, nor do
# peers and the rest: with up to a hundred times the floor's time and memory, peers slow the floor's next turn.
PROCESSES = {"jax": ["jax"], "torch": ["eager", "compile"], "peers": ["eager"]}
# These make the C library keep freed memory. Otherwise it returns large images to the system, and every call faults
# their pages in anew.
KEEP_MEMORY = {"MALLOC_TOP_PAD_": 2**28, "MALLOC_MMAP_THRESHOLD_": 2**30, "MALLOC_TRIM_THRESHOLD_": 2**31}


def main() -> None:
    options = parse()
    kinds = {process: [kind for kind in of if kind in options.backends] for process, of in PROCESSES.items()}
    rows = []
    for process in filter(kinds.get, PROCESSES):
        for keeps_memory in (False, True) if process != "peers" else (False,):
            for name, value in KEEP_MEMORY.items():
                os.environ.pop(name, None)
                if keeps_memory:
                    os.environ[name] = str(value)
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), limit, (options, process)) as pool:
                found = pool.submit(measure, process, kinds[process], options).result()
            rows += [{**row, "keeps_memory": keeps_memory} for row in found]
    results = {
        "machine": machine(options.device),
        "versions": versions("jax", "jaxlib", "torch", "numpy", *PEERS),
        **commit("blursim_*"),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "options": {name: value for name, value in vars(options).items() if name != "output"},
        "measurements": rows,
    }
    print("\n" + report.tables(results))
    output = options.output or HERE / "results" / f"{file_name(results)}.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"written to {output}")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    every = ["jax", "eager", "compile"]
    parser.add_argument("--backends", nargs="+", choices=every, default=every)
    parser.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--sections", nargs="+", choices=report.SECTIONS, default=list(report.SECTIONS))
    parser.add_argument("--shapes", nargs="+", help=f"of the sections batches and peers, e.g. {BATCHES[0]}")
    parser.add_argument("--dtypes", nargs="+", help="float32 (and bfloat16 on a GPU) if not given")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, help="back to back in one timing: 1, on a GPU 10 if not given")
    parser.add_argument("--threads", type=int, help="2 for JAX and 1 for PyTorch if not given")
    parser.add_argument("--output", type=Path, help="results/<machine>-<backends>.json if not given")
    options = parser.parse_args(words)
    gpu = options.device == "gpu"
    options.shapes = options.shapes or BATCHES + (GPU_BATCHES if gpu else [])
    options.dtypes = options.dtypes or ["float32"] + (["bfloat16"] if gpu else [])
    options.calls = options.calls or (10 if gpu else 1)
    return options


def limit(options: argparse.Namespace, process: str) -> None:
    """Sets device and threads, before any framework is imported (XLA starts a thread for each core it may run on)."""
    threads = options.threads or THREADS[process]
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if options.device == "cpu":
        os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def measure(process: str, kinds: list[str], options: argparse.Namespace) -> list[dict[str, Any]]:
    """All contests of one process, one row for each contestant."""
    if process == "jax":
        import jax

        enter, wait = contestants.of_jax, jax.block_until_ready
    else:
        import torch

        enter, wait = contestants.of_torch, lambda _: torch.cuda.synchronize() if options.device == "gpu" else None
    shapes = {"batches": options.shapes, "peers": options.shapes, "sides": SIDES, "odd": ODD}
    shapes |= {"volumes": VOLUMES, "volume-peers": VOLUMES}
    sections = [section for section in options.sections if (section in peers.SECTIONS) == (process == "peers")]
    contests = [(s, shape, dtype) for s in sections for dtype in options.dtypes for shape in shapes[s]]
    rows = []
    with tqdm(total=2 * len(contests), unit="contest") as progress:
        for section, shape, dtype in contests:
            sizes = tuple(map(int, shape.split("x")))
            entrants = enter(sizes, dtype, options.device, kinds, section)
            results: dict[str, list[Any]] = {}
            for direction in ("forward", "backward"):
                progress.set_description(f"{process} {shape} {dtype} {direction}")
                runs = [getattr(entrant, direction) for entrant in entrants]
                patience = float("inf") if section in ("batches", "peers") else PATIENCE
                times = take_turns(runs, wait, options.rounds, options.calls, patience)
                progress.update()
                results[direction] = against_floor([summary(t) if isinstance(t, list) else t for t in times])
            for entrant, forward, backward in zip(entrants, results["forward"], results["backward"], strict=True):
                row = {
                    "section": section,
                    "shape": sizes,
                    "dtype": dtype,
                    "backend": entrant.backend,
                    "name": entrant.name,
                }
                ran = section not in ("sides", "odd") and isinstance(backward, dict)
                for figure in ("memory", "kernels"):
                    measured = getattr(entrant, figure)
                    row[figure] = measured() if measured and ran else None
                rows.append({**row, "forward": forward, "backward": backward})
    return rows


def take_turns(
    runs: list[Callable[[], Any] | None],
    wait: Callable[[Any], object],
    rounds: int,
    calls: int = 1,
    patience: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float] | str | None]:
    """Seconds per call of each run, A B C A B C ..., after three calls each to warm up; what it raised if it fails.

    With their patience (seconds) at an end, contests of LEAST_ROUNDS or more stop early.
    """
    times: list[list[float] | str | None] = []
    for run in runs:
        try:
            for _ in range(3 if run else 0):
                wait(run())
            times.append([] if run else None)
        except Exception as error:
            times.append(f"{type(error).__name__}: {error}".splitlines()[0])
    begin = clock()
    for done in range(rounds):
        if done >= LEAST_ROUNDS and clock() - begin > patience:
            break
        for run, taken in zip(runs, times, strict=True):
            if isinstance(taken, list):
                start = clock()
                for _ in range(calls):
                    output = run()
                wait(output)
                taken.append((clock() - start) / calls)
                del output
    return times


def summary(times: list[float]) -> dict[str, Any]:
    q1, median, q3 = statistics.quantiles(times, n=4, method="inclusive")
    return {"median": median, "quartiles": [q1, q3], "least": min(times), "rounds": len(times)}


def against_floor(summaries: list[Any]) -> list[Any]:
    """Each with the ratio of its median to the floor's, which is the first."""
    floor = summaries[0]["median"]
    return [{**each, "ratio": each["median"] / floor} if isinstance(each, dict) else each for each in summaries]


def file_name(results: dict[str, Any]) -> str:
    of = results["machine"]
    words = [of["gpu"] or f"{of['cpu']} {of['cores']} cores", *results["options"]["backends"]]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


if __name__ == "__main__":
    main()
