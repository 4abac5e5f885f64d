"""What the job runs in the guest: start all observers, make the connections, collect."""

import argparse
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.kernel.cases import CASES, Case
from tests.kernel.guest import network, observers, skipped, traffic
from tests.kernel.guest.causes import CAUSES

RESULTS = Path("/results")
CAUSES_PROGRAM = Path(__file__).with_name("causes.py")
WITHOUT_MODULE = ("no-aead", "without-privilege", "no-module")


def log(text: str) -> None:
    """Tell it in the output, and on the console, which can be read while the guest runs."""
    line = f"{time.monotonic():8.1f} {text}\n"
    print(line, end="", flush=True)
    Path("/dev/console").write_text(line)


def arguments() -> argparse.Namespace:
    """Return what to do: all of it, or a part by hand in `make kernel-shell`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", default="", help="only cases with this in their name")
    parser.add_argument("--backends", nargs="*", default=observers.BACKENDS)
    return parser.parse_args()


def start(
    backends: list[str],
) -> tuple[list[observers.Live], observers.Recorder, observers.Tracefs]:
    """Start what watches, and return when all of it does."""
    observers.make_cgroup()
    lives = [observers.Live(backend) for backend in backends]
    recorder, tracefs = observers.Recorder(), observers.Tracefs()
    starting: list[observers.Live | observers.Recorder] = [*lives, recorder]
    for one in starting:
        observers.wait_until(one.has_started, f"the start of {one}")
        log(f"{type(one).__name__} has started")
    return lives, recorder, tracefs


def parse(log_file: str) -> None:
    with (RESULTS / "record.json").open("wb") as out, (RESULTS / "parse.said").open("wb") as said:
        words = ["ktrace", "parse", "--format", "json", log_file]
        subprocess.run(words, stdout=out, stderr=said, check=True)


def produce(launcher: observers.Launcher, *names: str) -> str:
    """Let the causes of failing calls happen, and return the account of them."""
    program = launcher.start(f"python3 {CAUSES_PROGRAM} {' '.join(names)}", RESULTS, "")
    program.wait_for("ready", observers.START_S)
    program.wait()
    return program.said().removesuffix("ready\n")


@contextmanager
def away(name: str) -> Iterator[None]:
    """Take a module out of the kernel, and away."""
    network.do(f"modprobe -r {name}")
    module = Path(network.do(f"modinfo -F filename {name}").strip())
    module.rename(f"{module}.away")
    yield
    Path(f"{module}.away").rename(module)


def without_module(launcher: observers.Launcher) -> list[str]:
    """Take modules away, for what only fails without them."""
    with away("ccm"):
        told = [produce(launcher, "no-aead")]
    network.do("modprobe -r tls")
    told.append(produce(launcher, "without-privilege"))
    with away("tls"):
        told.append(produce(launcher, "no-module"))
    return told


def watch(launcher: observers.Launcher, cases: list[Case]) -> list[str]:
    """Make all connections and failing calls, and return the account of the latter."""
    nginx = traffic.start_nginx(launcher)
    log("starting the traffic")
    told = traffic.run_all(launcher, cases, log)
    (RESULTS / "traffic.json").write_text(json.dumps(told))
    nginx.kill(signal.SIGTERM)  # strace waits for its worker too
    nginx.wait()
    log("starting the causes")
    return [produce(launcher, *(name for name in CAUSES if name not in WITHOUT_MODULE))]


def main() -> None:
    chosen = arguments()
    for module in ("tls", "veth", "sch_netem", "ipv6"):
        subprocess.run(["modprobe", module], check=False)
    network.make()
    traffic.prepare()
    log("starting the observers")
    lives, recorder, tracefs = start(chosen.backends)
    launcher = observers.Launcher()
    try:
        produced = watch(launcher, [case for case in CASES if chosen.cases in case.name])
        (RESULTS / "skipped").write_text(skipped.table())
        recorder.stop()  # it holds the module
        tracefs.stop()
        log("taking the module away")
        produced += without_module(launcher)
        (RESULTS / "causes").write_text("".join(produced))
    finally:
        log("stopping")
        for live in lives:
            live.stop()
        launcher.stop()
    log("parsing")
    parse("/results/strace")
    log("done")


main()
