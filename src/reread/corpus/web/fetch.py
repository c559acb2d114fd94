"""Pages from the web, politely: what a site forbids is not asked for, and nothing but the public web can be reached.

Every hop of every request is checked: the scheme, the address that is connected to (`addresses`), the site's
robots.txt (RFC 9309), the rate, the size and the time.
"""

from __future__ import annotations

import datetime
import importlib.util
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from reread.corpus.web.addresses import (
    Network,
    OutOfTime,
    RefusedAddress,
    Resolver,
    guarded_backend,
    system_resolver,
)
from reread.corpus.web.page_cache import FetchedPage, MissedPage, PageCache
from reread.corpus.web.reply import (
    REDIRECTS,
    RETRIED_STATUSES,
    Miss,
    Reply,
    check_reply,
    content_type,
    parsed_url,
    read_body,
    redirect_target,
)
from reread.corpus.web.urls import normal_url, url_problem
from reread.errors import CorpusError, MissingExtra, UsageError
from reread.protocols import Progress

T = TypeVar("T")
ACCEPT = "text/html, application/xhtml+xml, text/plain;q=0.8"
FIRST_WAIT_S = 1.0
MAX_ROBOTS_BYTES = 512 * 1024
"""RFC 9309, section 2.5: at least 500 KiB of a robots.txt are read; what follows is passed over."""
TRANSIENT = ("timeout", "connection_failed", "body_cut_off", "broken_reply", "host_not_found", "robots_unreachable")
"""Reasons, besides the retried statuses, that another run tries anew."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """How politely and how long."""

    delay_s: float = 1.0
    """Between two requests to one host; a longer Crawl-delay of its robots.txt is honoured."""
    max_delay_s: float = 60.0
    """A site whose Crawl-delay or Retry-After is longer is left alone ("crawl_delay_too_long", "http_status_429")."""
    hosts_at_once: int = 16
    connect_s: float = 10.0
    read_s: float = 20.0
    """The longest silence within a reply."""
    page_s: float = 60.0
    """One request as a whole."""
    max_bytes: int = 16 << 20
    """Of a page, after decompression."""
    max_redirects: int = 5
    attempts: int = 3


def fetch_links(
    urls: Sequence[str],
    *,
    user_agent: str,
    cache: Path | None = None,
    rules: FetchRules | None = None,
    resolve: Resolver = system_resolver,
    allowed_networks: Sequence[Network] = (),
    progress: Progress | None = None,
) -> Iterator[FetchedPage | MissedPage]:
    """The page of every URL, or why there is none, as they come: hosts at the same time, one request a host.

    user_agent: names the fetcher and should hold a way to reach its operator; its first word is what robots.txt
    rules are matched with. cache: a folder where pages are kept as WARC records (page_cache); URLs that it holds are
    given from there first, and only what failed for a passing reason is asked for again. resolve, allowed_networks:
    how names become addresses, and networks taken besides the public internet (a test's own server).

    Proxies of the environment are not used: the address that is connected to would not be known. Raises UsageError
    for an empty user agent, MissingExtra without httpx and protego, CorpusError for a damaged cache.
    """
    for package in ("httpx", "protego", "fastwarc"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "web", "fetching pages")
    if not user_agent.split("/")[0].strip():
        raise UsageError("the user agent is empty; name who is fetching, as in 'my-project/1.0 (+https://...)'")
    return _fetch(urls, _Web(user_agent, rules or FetchRules(), resolve, allowed_networks), cache, progress)


def _fetch(
    urls: Sequence[str], web: _Web, cache: Path | None, progress: Progress | None
) -> Iterator[FetchedPage | MissedPage]:
    distinct: dict[str, str] = {}
    for url in urls:
        distinct.setdefault(normal_url(url), url)
    wanted = list(distinct.values())
    n_done = 0

    def count() -> None:
        nonlocal n_done
        n_done += 1
        if progress is not None:
            progress(n_done, len(wanted))

    with ExitStack() as stack:
        kept = stack.enter_context(PageCache(cache, web.user_agent)) if cache is not None else None
        missing = []
        for url in wanted:
            try:
                earlier = kept.get(url) if kept is not None else None
            except (OSError, ValueError, StopIteration) as error:
                raise CorpusError(
                    f"{kept.path if kept else cache} is damaged ({error}); delete it and begin anew"
                ) from error
            if earlier is None or (isinstance(earlier, MissedPage) and _is_transient(earlier.reason)):
                missing.append(url)
            else:
                yield earlier
                count()
        for found in _fetch_missing(missing, web):
            if kept is not None:
                kept.add(found)
            yield found
            count()


def _is_transient(reason: str) -> bool:
    return reason in TRANSIENT or reason in {f"http_status_{status}" for status in RETRIED_STATUSES}


def _fetch_missing(urls: Sequence[str], web: _Web) -> Iterator[FetchedPage | MissedPage]:
    """Threads take a host each, those with the most URLs first, as they take the longest."""
    by_host: dict[str, list[str]] = {}
    n_left = 0
    for url in urls:
        problem = url_problem(url)
        if problem is not None:
            yield MissedPage(url, problem)
        else:
            by_host.setdefault(normal_url(url).split("/")[0], []).append(url)
            n_left += 1
    hosts = deque(sorted(by_host.values(), key=len, reverse=True))
    results: queue.Queue[FetchedPage | MissedPage | Exception] = queue.Queue(web.rules.hosts_at_once)

    def put(found: FetchedPage | MissedPage | Exception) -> None:
        while not web.stopped.is_set():
            try:
                results.put(found, timeout=0.5)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            while not web.stopped.is_set():
                try:
                    urls_of_host = hosts.popleft()
                except IndexError:
                    return
                for url in urls_of_host:
                    if web.stopped.is_set():
                        return
                    put(web.page(url))
        except Exception as error:  # noqa: BLE001  # raised again where the pages are read
            put(error)

    # Daemons: a person who stops the command does not wait for a slow server.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(web.rules.hosts_at_once, len(hosts)))]
    for thread in threads:
        thread.start()
    try:
        while n_left:
            found = results.get()
            if isinstance(found, Exception):
                raise found
            n_left -= 1
            yield found
    finally:
        web.stopped.set()


class _Gate:
    """One host's turn: requests begin at least the delay after the one before ended, one at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.turn = threading.Lock()
        self.next_at = 0.0

    def reserve(self, delay_s: float) -> float:
        """When this request may begin."""
        with self.lock:
            begins_at = max(time.monotonic(), self.next_at)
            self.next_at = begins_at + delay_s
            return begins_at

    def ended(self, delay_s: float) -> None:
        with self.lock:
            self.next_at = max(self.next_at, time.monotonic() + delay_s)


class _Web:
    """Everything that the requests of one call share."""

    def __init__(
        self, user_agent: str, rules: FetchRules, resolve: Resolver, allowed_networks: Sequence[Network]
    ) -> None:
        import httpx

        self.user_agent = user_agent
        self.robots_agent = user_agent.split("/")[0].split()[0]
        self.rules = rules
        self.stopped = threading.Event()
        self._resolve = resolve
        self._allowed = tuple(allowed_networks)
        self._tls = httpx.create_ssl_context()
        self._lock = threading.Lock()
        self._gates: dict[str, _Gate] = {}
        self._robots: dict[str, _Once] = {}

    def page(self, url: str) -> FetchedPage | MissedPage:
        """The page, after retries and redirects."""
        try:
            return self._retried(lambda: self._follow(url))
        except Miss as miss:
            return MissedPage(url, miss.reason)

    def _retried(self, ask: Callable[[], T]) -> T:
        for attempt in range(max(1, self.rules.attempts)):
            try:
                return ask()
            except Miss as miss:
                if miss.wait_s is None or miss.wait_s > self.rules.max_delay_s or attempt + 1 >= self.rules.attempts:
                    raise
                if self.stopped.wait(max(miss.wait_s, FIRST_WAIT_S * self.rules.delay_s * 2**attempt)):
                    raise
        raise AssertionError("unreachable")

    def _follow(self, url: str) -> FetchedPage:
        here = url
        for _ in range(self.rules.max_redirects + 1):
            robots = self._robots_of(here)
            if robots is not None and not robots.can_fetch(here, self.robots_agent):
                raise Miss("robots_disallowed")
            delay_s = self._delay(robots)
            reply = self._exchange(here, delay_s, self.rules.max_bytes, is_page=True)
            if reply.status not in REDIRECTS:
                kind, encoding = content_type(reply.headers)
                now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                return FetchedPage(url, here, reply.content, kind, encoding, now, reply.raw_headers)
            here = redirect_target(here, reply)
        raise Miss("too_many_redirects")

    def _delay(self, robots: Any) -> float:
        asked = robots.crawl_delay(self.robots_agent) if robots is not None else None
        if asked is not None and not asked <= self.rules.max_delay_s:
            raise Miss("crawl_delay_too_long")
        return max(self.rules.delay_s, asked or 0.0)

    def _robots_of(self, url: str) -> Any:
        """The rules of the URL's site, None where it has none; asked for once. Raises Miss where they are unknown."""
        parsed = parsed_url(url)
        origin = f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"
        with self._lock:
            once = self._robots.setdefault(origin, _Once())
        return once.get(lambda: self._retried(lambda: self._fetch_robots(origin)))

    def _fetch_robots(self, origin: str) -> Any:
        from protego import Protego

        here = f"{origin}/robots.txt"
        try:
            for _ in range(self.rules.max_redirects + 1):
                reply = self._exchange(here, self.rules.delay_s, MAX_ROBOTS_BYTES, is_page=False)
                if reply.status not in REDIRECTS:
                    # RFC 9309, 2.3.1: a site that answers 4xx has no rules.
                    if reply.status >= 300:
                        return None
                    return Protego.parse(reply.content.decode("utf-8", "replace"))
                here = redirect_target(here, reply)
        except Miss as miss:
            if miss.reason in ("address_not_public", "host_not_found", "connection_failed"):
                raise
            # 2.3.1.4: rules that cannot be had for another reason forbid everything.
            raise Miss("robots_unreachable", miss.wait_s) from miss
        except ValueError:
            raise Miss("robots_unreachable") from None
        # 2.3.1.2: after five redirects a site may be taken to have no rules.
        return None

    def _gate(self, host: str) -> _Gate:
        with self._lock:
            return self._gates.setdefault(host, _Gate())

    def _exchange(self, url: str, delay_s: float, max_bytes: int, *, is_page: bool) -> Reply:
        """One request, in its host's turn. Raises Miss."""
        parsed = parsed_url(url)
        gate = self._gate(parsed.host)
        begins_at = gate.reserve(delay_s)
        if self.stopped.wait(max(0.0, begins_at - time.monotonic())):
            raise Miss("stopped")
        with gate.turn:
            try:
                return self._request(parsed, max_bytes, is_page=is_page)
            finally:
                gate.ended(delay_s)

    def _request(self, url: Any, max_bytes: int, *, is_page: bool) -> Reply:
        import httpcore

        rules = self.rules
        ends_at = time.monotonic() + rules.page_s
        timeouts = {"connect": rules.connect_s, "read": rules.read_s, "write": rules.read_s, "pool": rules.page_s}
        headers = [
            (b"Host", url.netloc),
            (b"User-Agent", self.user_agent.encode("ascii", "replace")),
            (b"Accept", ACCEPT.encode() if is_page else b"text/plain, */*;q=0.1"),
            (b"Accept-Encoding", b"gzip, deflate"),
            (b"Connection", b"close"),
        ]
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        backend = guarded_backend(self._resolve, self._allowed, ends_at)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response,
            ):
                found = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
                named = {name.lower(): value for name, value in found}
                check_reply(response.status, named, max_bytes, is_page=is_page)
                content = b""
                if response.status < 300:
                    content = read_body(
                        response.iter_stream(), named.get("content-encoding", ""), max_bytes, cut=not is_page
                    )
                return Reply(response.status, named, found, content)
        except RefusedAddress:
            raise Miss("address_not_public") from None
        except (OutOfTime, httpcore.TimeoutException):
            raise Miss("timeout", 0.0) from None
        except httpcore.ConnectError:
            raise Miss("connection_failed", 0.0) from None
        except httpcore.RemoteProtocolError as error:
            cut = "without sending complete message body" in str(error)
            raise Miss("body_cut_off" if cut else "broken_reply", 0.0) from None
        except (httpcore.ReadError, httpcore.WriteError, httpcore.LocalProtocolError):
            raise Miss("broken_reply", 0.0) from None
        except (OSError, UnicodeError):
            # What the resolver raises.
            raise Miss("host_not_found") from None


class _Once:
    """A value that is worked out once, whichever thread asks first; so is its failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: Any = None
        self._miss: Miss | None = None
        self._is_known = False

    def get(self, find: Callable[[], Any]) -> Any:
        with self._lock:
            if not self._is_known:
                try:
                    self._value = find()
                except Miss as miss:
                    # Tried often enough: the pages that need it are not retried for it.
                    self._miss = Miss(miss.reason)
                self._is_known = True
            if self._miss is not None:
                raise Miss(self._miss.reason)
            return self._value
