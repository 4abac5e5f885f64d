"""What the job runs in the guest: start all observers, make the connections, collect."""

import json
import subprocess
import time
from pathlib import Path

from tests.kernel.guest import network, observers, traffic

RESULTS = Path("/results")


def log(text: str) -> None:
    print(f"{time.monotonic():8.1f} {text}", flush=True)


def start() -> tuple[list[observers.Live], observers.Recorder, observers.Tracefs]:
    """Start what watches, and return when all of it does."""
    observers.make_cgroup()
    lives = [observers.Live(backend) for backend in observers.BACKENDS]
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


def main() -> None:
    for module in ("tls", "veth", "sch_netem", "ipv6"):
        subprocess.run(["modprobe", module], check=False)
    network.make()
    traffic.prepare()
    log("starting the observers")
    lives, recorder, tracefs = start()
    launcher = observers.Launcher()
    nginx = traffic.start_nginx(launcher)
    log("starting the traffic")
    told = traffic.run_all(launcher, log)
    (RESULTS / "traffic.json").write_text(json.dumps(told))
    nginx.kill()
    launcher.stop()
    for live in lives:
        live.stop()
    recorder.stop()
    tracefs.stop()
    log("parsing")
    parse("/results/strace")
    log("done")


main()
