"""Many requests under way at a server that takes 0.5 s for each: the endpoint reader, and threads over httpx.

Prints wall and processor seconds of the client, best of alternating rounds.

Example: python benchmarks/endpoint_requests.py --requests 512 --concurrency 256
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue

import httpx

from reread.reading.endpoint import EndpointReader

REPLY_S = 0.5


def serve(port: Queue[int]) -> None:
    """Echoes each prompt after REPLY_S; written on bare streams, so that it costs less than any client."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                body = json.loads(await reader.readexactly(int(lengths[0].split(b":")[1])))
                await asyncio.sleep(REPLY_S)
                data = json.dumps({"choices": [{"message": {"content": body["messages"][0]["content"]}}]}).encode()
                kind = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data)
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            writer.close()

    async def main() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=1024)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def with_reader(url: str, prompts: list[str], concurrency: int) -> list[str]:
    reader = EndpointReader("m", url, api="chat", concurrency=concurrency)
    return [samples[0].text for samples in reader.generate(prompts)]


def with_threads(url: str, prompts: list[str], concurrency: int) -> list[str]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=concurrency)
    with httpx.Client(timeout=120, limits=limits) as client, ThreadPoolExecutor(concurrency) as threads:

        def ask(prompt: str) -> str:
            body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
            reply = client.post(f"{url}/chat/completions", json=body).json()
            return str(reply["choices"][0]["message"]["content"])

        return list(threads.map(ask, prompts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=512)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    settings = parser.parse_args()
    port: Queue[int] = multiprocessing.Queue()
    process = multiprocessing.Process(target=serve, args=(port,), daemon=True)
    process.start()
    url = f"http://127.0.0.1:{port.get()}/v1"
    prompts = [f"prompt {i}" for i in range(settings.requests)]
    ways: dict[str, Callable[[str, list[str], int], list[str]]] = {"reader": with_reader, "threads": with_threads}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(settings.rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                given = way(url, prompts, settings.concurrency)
            except httpx.ReadError as error:  # the peer's pool closes connections that its other threads read from
                print(f"{name} broke off: {error}")
                continue
            if given != prompts:
                raise SystemExit(f"{name} gave other texts")
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    print(f"{settings.requests} requests, {settings.concurrency} at a time, best of {settings.rounds}")
    for name, seconds in taken.items():
        if not seconds:
            raise SystemExit(f"{name} ended no round")
        print(f"{name:8} {min(wall for wall, _ in seconds):6.2f} s wall {min(cpu for _, cpu in seconds):6.2f} s cpu")
    process.terminate()


if __name__ == "__main__":
    main()
