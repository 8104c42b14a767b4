"""The HTTP face over a desk: answers, refusals, headers, escaping, streams."""

import asyncio
import json
import time

import httpx
import pytest
from web.fake_desk import FakeDesk, entry, scene, with_report

from parityd.web.api import MAX_STREAMS, Web
from parityd.web.metrics import Metrics

READ = ["/healthz", "/readyz", "/metrics", "/api/v1/status", "/api/v1/strategies/momentum", "/api/v1/trades", "/api/v1/reports", "/api/v1/reports/2026-11-19",
        "/openapi.json", "/", "/strategies/momentum", "/reports", "/reports/2026-11-19", "/static/page.css", "/static/page.js"]  # fmt: skip


@pytest.fixture
def desk():
    return with_report(scene("one"))


@pytest.fixture
async def client(desk):
    web = Web(desk, Metrics("0.1.0"), answer_within=1.0)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web, raise_app_exceptions=False), base_url="http://test") as c:
        yield c
    web.close()


def problem_of(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status and {"type", "title", "detail"} <= body.keys()
    return body


@pytest.mark.parametrize("path", READ)
async def test_everything_answers_get_and_head_and_carries_the_headers(client, path):
    got = await client.get(path)
    assert got.status_code == 200, got.text
    assert got.headers["content-security-policy"].startswith("default-src 'self'")
    assert got.headers["x-content-type-options"] == "nosniff"
    head = await client.head(path)
    assert head.status_code == 200


@pytest.mark.parametrize("path", READ)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(client, path, method):
    answer = await client.request(method, path)
    problem_of(answer, 405)
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/strategies/nobody", "/api/v1/strategies/%3Cscript%3E", "/strategies/nobody", "/api/v1/reports/2026-11-18", "/reports/2026-11-18",
                                  "/static/../api.py", "/static/report.js", "/api/v1/strategies/", "/metrics/", "/api/v1/strategies/a%2Fb", "/api/v1/strategies/*", "/api/v1/trades?cursor=abc"])  # fmt: skip
async def test_what_is_not_there_is_a_problem(client, path):
    problem_of(await client.get(path), 404)


@pytest.mark.parametrize("day", ["2026-13-01", "20261119", "2026-W01-1", "today", "2026-11-19T00:00", "٢٠٢٦-11-19", "2026-11-19%0a"])
async def test_a_day_that_is_none_is_said(client, day):
    for path in (f"/api/v1/reports/{day}", f"/reports/{day}", f"/api/v1/trades?day={day}"):
        problem_of(await client.get(path), 400)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=1.0", "limit=+5", "limit=99999999999999999999", "limit=٥", "strategy=%3Cb%3E", "strategy=" + "x" * 65,
                                   "cursor=a+b", "cursor=" + "1" * 513, "cursor=%00", "limit=1&limit=2", "strat=s", "strategy=a%0a"])  # fmt: skip
async def test_a_wrong_question_about_trades_is_said(client, query):
    problem_of(await client.get(f"/api/v1/trades?{query}"), 400)


async def test_trades_come_in_pages_that_neither_repeat_nor_skip(client, desk):
    seen, cursor = [], ""
    for _ in range(10):
        page = (await client.get(f"/api/v1/trades?strategy=momentum&day=2026-11-19&limit=50&cursor={cursor}")).json()
        seen += [t["trade_id"] for t in page["trades"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 130
    assert desk.asked[0] == ("momentum", "2026-11-19", 50, None)


async def test_empty_parameters_are_absent_ones(client, desk):
    assert (await client.get("/api/v1/trades?strategy=&day=&limit=&cursor=")).status_code == 200
    assert desk.asked == [(None, None, 100, None)]


async def test_readiness_says_why_not(client, desk):
    assert (await client.get("/readyz")).json() == {"ready": True, "reasons": []}
    desk.reasons = ["the last check is 21 min old", "the store does not answer"]
    body = problem_of(await client.get("/readyz"), 503)
    assert body["reasons"] == desk.reasons and body["ready"] is False
    assert (await client.get("/healthz")).status_code == 200


async def test_a_strategy_is_its_entry(client, desk):
    body = (await client.get("/api/v1/strategies/momentum")).json()
    assert body["action"] == "CONTINUE" and body["strategy"] == "momentum"
    assert body["findings"] == [] and body["metrics"]["decision_parity"] is None


async def test_what_is_no_number_is_null(client, desk):
    desk.strategies["momentum"]["metrics"]["correlation"] = float("nan")
    desk.strategies["momentum"]["metrics"]["hit_rate"] = float("inf")
    body = (await client.get("/api/v1/strategies/momentum")).json()
    assert body["metrics"]["correlation"] is None and body["metrics"]["hit_rate"] is None


async def test_a_fault_is_a_problem_and_no_traceback(client, desk):
    desk.failure = RuntimeError("secret place")
    body = problem_of(await client.get("/api/v1/trades"), 500)
    assert "secret" not in json.dumps(body)


async def test_a_desk_that_blocks_costs_five_seconds_and_no_more(client, desk):
    import threading

    gate = threading.Event()
    desk.report = lambda _: gate.wait(20)
    try:
        answer = await client.get("/api/v1/reports/2026-11-19")
        assert problem_of(answer, 503)["detail"].startswith("no answer within")
        assert (await client.get("/healthz")).status_code == 200
    finally:
        gate.set()


async def test_strings_of_records_are_escaped_everywhere(client, desk):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'"
    e = desk.strategies["momentum"]
    e.update(reason=evil, action="WARNING", grade=evil, override={"command": evil, "operator": evil, "reason": evil})
    e["findings"] = [{"code": evil, "level": evil, "detail": evil}]
    desk.more = {"version": evil, "degraded": [evil], "halts": [{"name": evil, "strategy": evil, "since": evil}], "commands": [{"strategy": evil, "command": evil}],
                 "last_actions": [{"ts": evil, "strategy": evil, "from": evil, "to": evil, "reason": evil}]}  # fmt: skip
    desk.reasons = [evil]
    original = desk.trades
    desk.trades = lambda *a: (
        [{**t, "symbol": evil, "trade_id": evil, "side": evil, "state": evil, "currency": evil} for t in original(*a)[0]],
        None,
    )
    report = desk.reports["2026-11-19"]
    report["headline"] = evil
    s = report["strategies"]["momentum"]
    s.update(
        findings=[{"code": evil, "level": "WARNING", "detail": evil}],
        worst_trades=[{"symbol": evil, "trade_id": evil, "state": evil}],
        markouts={evil: {evil: 1.0}},
        performance={evil: evil},
    )
    s["series"]["costs_by_symbol"] = [{"symbol": evil, "total_bps": 1.0}]
    s["series"]["price_diff"]["outliers"] = [{"trade_id": evil, "symbol": evil, "value_bps": 1.0}]
    s["drift"] = {"channels": {evil: {"share": 0.1, "alarm": {"direction": evil}}}, "rules": {evil: {"value": 1.0}}}
    for path in ("/", "/strategies/momentum", "/reports", "/reports/2026-11-19"):
        text = (await client.get(path)).text
        assert "<script>alert" not in text and "<img" not in text, path
        assert "&lt;script&gt;alert" in text, path


async def test_a_report_runs_its_own_style_and_script_alone(client, desk):
    import base64
    import hashlib
    import re

    desk.reports["2026-11-19"]["headline"] = "</style><script>alert(1)</script>"
    answer = await client.get("/reports/2026-11-19")
    policy = answer.headers["content-security-policy"]
    inline = re.findall(r"<(style|script)>(.*?)</\1>", answer.text, re.DOTALL)
    assert [kind for kind, _ in inline] == ["style", "script"]
    for kind, body in inline:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind}-src 'self' 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and " style=" not in answer.text and "http:" not in answer.text.replace("http://www.w3.org", "")


async def test_a_page_with_no_inline_code_needs_no_exception(client):
    for path in ("/", "/strategies/momentum"):
        text = (await client.get(path)).text
        assert "<style" not in text and " style=" not in text and " onclick" not in text
        assert "unsafe" not in (await client.get(path)).headers["content-security-policy"]


async def test_the_status_page_of_fifty_is_small_and_quick():
    web = Web(scene("fifty"), Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        await c.get("/reports")  # templates are compiled once
        start = time.process_time()  # of this process alone: the machine may be busy
        page = await c.get("/")
        took = time.process_time() - start
        others = [await c.get(p) for p in ("/static/page.css", "/static/page.js", "/static/icon.svg")]
        total = sum(len(a.content) for a in (page, *others))
    web.close()
    assert page.status_code == 200 and total < 100_000, total
    assert took < 0.2, took


async def test_a_thousand_strategies_show_the_worst_first_and_the_rest_on_request():
    import random

    rng = random.Random(1)
    many = {f"s{i:04d}": entry("CONTINUE", rng, "") for i in range(999)} | {"worst": entry("REDUCE_SIZE", rng)}
    web = Web(FakeDesk(many), Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test", timeout=20) as c:
        page = (await c.get("/")).text
        assert page.index("/strategies/worst") < page.index("/strategies/s0000") and page.count('href="/strategies/') == 200
        assert "Show 800 more" in page
        assert (await c.get("/?show=all")).text.count('href="/strategies/') == 1000
    web.close()


async def test_a_page_is_made_once_for_many_but_never_shown_after_a_new_issue(client, desk, monkeypatch):
    from parityd.web import pages

    made, original = [], pages.status_page
    monkeypatch.setattr(pages, "status_page", lambda *a, **k: made.append(1) or original(*a, **k))
    answers = await asyncio.gather(*(client.get("/") for _ in range(20)))
    assert len({a.text for a in answers}) == 1 and len(made) == 1
    desk.strategies["momentum"].update(action="EMERGENCY_STOP", reason="HALT stands")
    assert "HALT stands" in (await client.get("/")).text


async def test_a_desk_that_knows_nothing_yet_is_shown_as_such():
    desk = FakeDesk()
    desk.action = desk.override = desk.status = dict
    web = Web(desk, Metrics("1"))
    web.metrics.follow({})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        page = (await c.get("/")).text
        assert "NOT PUBLISHED" in page and "No strategy yet" in page and "None<" not in page
        assert (await c.get("/api/v1/status")).json()["override"] == {}
        assert (await c.get("/metrics")).status_code == (await c.get("/reports")).status_code == 200
    web.close()


async def read_stream(web, path="/events"):
    """Drives the application by hand: (sent messages, a way to hang up, the running task)."""
    sent, gone = asyncio.Queue(), asyncio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [], "http_version": "1.1", "scheme": "http", "server": ("t", 80), "client": ("c", 1),
             "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": ""}  # fmt: skip
    return sent, gone, asyncio.create_task(web(scope, receive, sent.put))


async def test_events_say_change_and_heartbeat_and_the_place_is_given_back(desk):
    web = Web(desk, Metrics("1"))
    desk.beat = 0.01
    streams = [await read_stream(web) for _ in range(MAX_STREAMS)]
    start = await streams[0][0].get()
    assert start["status"] == 200 and (b"content-type", b"text/event-stream; charset=utf-8") in start["headers"]
    text = b""
    while b"event: heartbeat" not in text:
        text += (await streams[0][0].get())["body"]
    assert b'event: change\ndata: {"type":"change","sequence":1234}\n\n' in text
    for sent, _, _ in streams[1:]:
        assert (await sent.get())["status"] == 200
    refused, gone, task = await read_stream(web)
    assert (await refused.get())["status"] == 503
    await task
    for _, hang_up, _ in streams:
        hang_up.set()
    await asyncio.gather(*(t for _, _, t in streams))
    again, gone, task = await read_stream(web)
    assert (await again.get())["status"] == 200
    gone.set()
    await task
    web.close()


async def test_a_head_of_the_events_is_answered_at_once_and_takes_no_place(client):
    for _ in range(MAX_STREAMS + 1):
        head = await asyncio.wait_for(client.head("/events"), 2)
        assert head.status_code == 200 and head.headers["content-type"].startswith("text/event-stream")


async def test_the_openapi_document_is_valid_and_names_every_machine_path(client):
    document = (await client.get("/openapi.json")).json()
    assert {p for p in READ if p.startswith(("/api/v1/trades", "/api/v1/reports", "/healthz", "/readyz", "/metrics", "/api/v1/status"))} - {
        "/api/v1/reports/2026-11-19"
    } <= document["paths"].keys()
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.validate(document)


async def test_metrics_are_prometheus_text(client):
    answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 'parityd_build_info{version="0.1.0"} 1.0' in answer.text


async def test_the_head_says_what_since_when_and_what_to_do():
    for name, words in (("emergency", ("EMERGENCY_STOP", "since 11-20 09:15 UTC, 1 h", "remove its file")), ("fifty", ("DISABLE_TRADING", "since 11-", "Open the attribution"))):  # fmt: skip
        web = Web(scene(name), Metrics("1"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
            text = (await c.get("/")).text
        head = text[text.index('class="card banner') : text.index("</section>", text.index('class="card banner'))]
        assert all(w in head for w in words), head
        web.close()


@pytest.mark.parametrize(("reason", "words"), [("momentum: 2 closed days in a row at CRITICAL or worse, the last 2026-11-19", "Read the reports of those days"), ("force_disable by ops: drill", "An operator ordered it"),
                                               ("the store could not be read: trading is disabled until a reset that acknowledges BROKEN_STORE", "parityd rebuild"), ("words of a kind not thought of", "Open the attribution")])  # fmt: skip
async def test_every_action_that_is_in_force_says_what_to_do(reason, words):
    import random

    web = Web(FakeDesk({"momentum": entry("DISABLE_TRADING", random.Random(1)) | {"reason": reason}}), Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        text = (await c.get("/")).text
    head = text[text.index('class="card banner') : text.index("</section>", text.index('class="card banner'))]
    assert words in head, head
    web.close()


async def test_what_a_desk_asks_next_stands_above_the_strategies():
    web = Web(scene("emergency"), Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        text = (await c.get("/")).text
    strip = text[text.index("Files waiting:") : text.index('id="all"')]
    assert all(w in strip for w in ("live 0, backtest 3", "Last check 1 min ago", "2 in force", "11-20 10:15 strategy-00 → WARNING")), strip
    web.close()


async def test_a_halt_is_counted_and_listed_among_what_operators_ordered():
    web = Web(scene("emergency"), Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        text = (await c.get("/")).text
    listed = text[text.index('id="ops"') : text.index('id="intake"')]
    assert "2 in force" in text and listed.count("<li>") == 2 and "HALT</strong> for" in listed and "since 2026-11-20 09:15:00" in listed
    web.close()


async def test_on_a_replays_clock_the_last_check_is_of_the_walls():
    desk = scene("emergency")
    desk.more["judged_at"] = "2024-01-09T09:00:00Z"
    web = Web(desk, Metrics("1"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://test") as c:
        text = (await c.get("/")).text
    assert "Last check 1 min ago" in text and "Last check in" not in text
    web.close()
