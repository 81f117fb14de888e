"""The emulator's HTTP: a create of 202 MB, results of 208 MB, and small calls, on the loopback address.

    python -m benchmarks.emulator                              # this checkout
    python -m benchmarks.emulator --against ../other --repeat 7  # and another one, in turns

Each figure is the median of the rounds; every round has an emulator process of its own, and checkouts take turns within
a round. The client is a raw socket, so that its own cost is small and the same for all. CPU is the emulator's.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Final
from urllib.parse import urlsplit

from benchmarks._measure import table

COUNT: Final = 100_000
TEXT: Final = "The quick brown fox jumps over the lazy dog. " * 42
ANSWER_CHARS: Final = 1_485
"""Characters of an answer; result lines then have 2,080 bytes, and all of them 208 MB."""
CALLS: Final = 3_000
BLOCK: Final = 1 << 18
BATCHES: Final = "/v1/messages/batches"
HEAD: Final = "host: localhost\r\nx-api-key: sk-ant-emulator\r\nanthropic-version: 2023-06-01\r\n"


@dataclass(frozen=True)
class Figures:
    """What one round measured, for one checkout."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Service:
    """An emulator process, and a connection to it."""

    process: subprocess.Popen[str]
    sock: socket.socket

    def cpu(self) -> float:
        """CPU seconds that the process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def call(self, method: str, path: str, body: Sequence[bytes] = (), framing: str = "") -> bytes:
        """Send one call and return its answer's last bytes."""
        self.sock.sendall(f"{method} {path} HTTP/1.1\r\n{HEAD}{framing}\r\n".encode())
        for block in body:
            self.sock.sendall(block)
        end = b""
        while not end.endswith(b"\r\n0\r\n\r\n"):
            part = self.sock.recv(BLOCK)
            if not part:
                raise ConnectionError("the emulator closed the connection")
            end = (end + part)[-BLOCK:]
        return end


@contextmanager
def service(checkout: Path) -> Iterator[Service]:
    """Run the emulator of a checkout during the block."""
    command = [sys.executable, "-m", "airflow_batches.emulator", "--port", "0", "--processing-time", "0"]
    command += ["--answer-chars", str(ANSWER_CHARS), "--order", "submitted"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=checkout) as process:
        if process.stdout is None:
            raise AssertionError("stdout is a pipe")
        address = urlsplit(process.stdout.readline().split()[-1])
        try:
            with socket.create_connection((address.hostname or "", address.port or 0)) as sock:
                yield Service(process, sock)
        finally:
            process.terminate()


def body() -> list[bytes]:
    """Return a create body of 202 MB in blocks."""
    params = {"model": "claude-haiku-4-5", "max_tokens": 1024, "messages": [{"role": "user", "content": TEXT}]}
    lines = (json.dumps({"custom_id": f"row-{n:06}", "params": params}) for n in range(COUNT))
    data = b'{"requests":[' + ",".join(lines).encode() + b"]}"
    return [data[start : start + BLOCK] for start in range(0, len(data), BLOCK)]


def measured(running: Service, work: Callable[[], object]) -> Figures:
    cpu, began = running.cpu(), perf_counter()
    work()
    return Figures(perf_counter() - began, running.cpu() - cpu)


def figures(checkout: Path, blocks: Sequence[bytes], chunked: Sequence[bytes]) -> dict[str, Figures]:
    """Measure everything once, with an emulator of its own."""
    with service(checkout) as running:
        answer = b""

        def create() -> None:
            nonlocal answer
            answer = running.call("POST", BATCHES, blocks, f"content-length: {sum(map(len, blocks))}\r\n")

        found = {"create 202 MB": measured(running, create)}
        created = json.loads(answer.split(b"\r\n")[-4])
        if created["request_counts"]["succeeded"] != COUNT:
            raise RuntimeError(f"created {created['request_counts']}")
        path = f"{BATCHES}/{created['id']}"
        found["create 202 MB, chunks of 16 KiB"] = measured(
            running, lambda: running.call("POST", BATCHES, chunked, "transfer-encoding: chunked\r\n")
        )
        found["results 208 MB"] = measured(running, lambda: running.call("GET", f"{path}/results"))
        found[f"{CALLS:,} gets"] = measured(running, lambda: [running.call("GET", path) for _ in range(CALLS)])
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, nargs="*", default=[], help="folders of other checkouts")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args(argv)
    checkouts = [*args.against, Path(__file__).parents[1]]
    blocks = body()
    chunked = [_chunk(block[start : start + 16_384]) for block in blocks for start in range(0, len(block), 16_384)]
    chunked.append(b"0\r\n\r\n")
    rounds = [[figures(checkout, blocks, chunked) for checkout in checkouts] for _ in range(args.repeat)]
    for name in rounds[0][0]:
        rows = []
        for place, checkout in enumerate(checkouts):
            runs = [each[place][name] for each in rounds]
            seconds, cpu = median(run.seconds for run in runs), median(run.cpu_seconds for run in runs)
            rows.append([str(checkout), f"{seconds:.3f}", f"{cpu:.3f}"])
        print(f"\n{name}\n\n{table(['checkout', 'seconds', 'CPU s'], rows)}", flush=True)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


if __name__ == "__main__":
    main()
