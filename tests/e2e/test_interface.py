"""The HTTP interface as its OpenAPI document tells it: what is asked, what is refused, pages by cursor (contract 4)."""

import base64
import http.client
import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.box import DAY0, Box, Record, at, both, decision, fill, mark, trades

DAY = DAY0.isoformat()
# Checks of logins and of things made or deleted have nothing to do here.
LEFT_OUT = "ensure_resource_availability,use_after_free,ignored_auth,object_level_authorization,missing_required_header"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A daemon with two strategies, a report of yesterday, refusals and a command in force."""
    box = Box(tmp_path_factory.mktemp("interface"))
    box.drop("live", mark(100, at(5)), {"kind": "martian"})
    for name, bps in (("good", 1.0), ("bad", 60.0)):
        decided, filled = trades(name, [bps if i % 4 < 2 else -bps for i in range(16)])
        box.drop("backtest", *decided, decision(name, None, at(15)), both(name, at(20)))
        box.drop("live", *filled, fill(name, "alone", at(16), side="sell"), both(name, at(20)))
    box.command("lower.json", command="reduce_size", strategy="good", size_multiplier=0.25, operator="o", reason="r")
    box.check()
    box.report()
    with box.daemon():
        yield box
        assert box.end() == 0


def test_schemathesis_finds_no_answer_that_the_document_does_not_tell(running: Box, tmp_path: Path) -> None:
    """The operations but the endless one, with good and bad questions, links followed; the same questions each time."""
    (tmp_path / "schemathesis.toml").write_text("warnings.fail-on = true\n")  # such as an operation that never met what it asked for
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"http://127.0.0.1:{running.port}/openapi.json", "--exclude-path", "/events",
        "--exclude-checks", LEFT_OUT, "--generation-deterministic", "--max-examples", "20", "--request-timeout", "10", "--continue-on-failure", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "Tested: 12" in done.stdout and int(re.search(r"(\d+) generated", done.stdout)[1]) > 300, done.stdout[-3000:]


def test_a_cursor_that_was_never_given_out_is_none_of_ours(running: Box) -> None:
    for made in (
        b"{}",
        b'[1e999, "a", 1, 2]',
        b"[1, 2, 3, 4]",
        b'[1, "a", true, 2]',
        b'["1", "a", 1, 2]',
        b'[1, "a", 1]',
        b"[" * 300,
        b'[1, "a", 1%s, 2]' % (b"0" * 300),
    ):
        asked = base64.urlsafe_b64encode(made).decode().rstrip("=")
        status, body, _ = running.get(f"/api/v1/trades?cursor={asked}")
        assert (status, json.loads(body)["detail"]) == (404, "no page begins at this cursor: none of ours"), made


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("/api/v1/strategies/nobody", 404), ("/nothing", 404), ("/api/v1/reports/2001-01-01", 404), ("/api/v1/reports/yesterday", (400, 404, 422)), ("/reports/2001-01-01", 404),
        ("/api/v1/trades?limit=1001", (400, 422)), ("/api/v1/trades?limit=x", (400, 422)), ("/api/v1/trades?day=never", (400, 422)), ("/api/v1/trades?cursor=%21", (400, 422)),
        ("/api/v1/trades?limit=0", (400, 422)), ("/api/v1/trades?strategy=nobody", (200, 404)),
    ],
)  # fmt: skip
def test_errors_are_problem_documents(running: Box, path: str, want: int | tuple[int, ...]) -> None:
    status, body, headers = running.get(path)
    assert status in ((want,) if isinstance(want, int) else want), (status, body)
    if status >= 400:
        assert headers["content-type"].startswith("application/problem+json") and json.loads(body)["status"] == status


NAMES = ("good", "bad", "nobody", "*", "a" * 65, "good%20", "%2e%2e", "%00", "%ff", "%E2%82%AC", "..%2f..%2fetc%2fpasswd", "<script>", "")
DAYS = (
    DAY,
    DAY,
    "2020-02-02",
    "0001-01-01",
    "1677-09-21",
    "2262-04-12",
    "9999-12-31",
    "2026-02-30",
    "0000-00-00",
    f"{DAY}T00:00:00Z",
    "x",
    "",
)
QUERIES = {
    "strategy": NAMES,
    "day": DAYS,
    "limit": ("1", "1000", "1001", "0", "-1", "1e3", "9" * 40, "%D9%A1", "true", ""),
    "cursor": ("1", "-9223372036854775808.0.good", "1.2.3.4", "a" * 512, "a" * 9000, "~", "%00", ""),
    "unknown": ("1",),
}


def test_whatever_is_asked_is_answered_as_the_interface_says(running: Box) -> None:
    draw, paths = random.Random(20261129), running.json("/openapi.json")["paths"]
    del paths["/events"]  # has no end
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    met = set()
    for turn in range(900):
        template = draw.choice(sorted(paths))
        path = template.replace("{name}", draw.choice(NAMES)).replace("{day}", draw.choice(DAYS))
        if template.endswith("trades") or draw.random() < 0.1:
            asked = draw.choices(sorted(QUERIES), k=draw.randrange(4))
            path += "?" + "&".join(f"{key}={draw.choice(QUERIES[key])}" for key in asked)
        method = draw.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"))
        connection.request(method, path)
        answer = connection.getresponse()
        body, kind = answer.read(), answer.headers.get_content_type()
        told = (turn, method, path[:200], answer.status, kind, body[:300])
        if method not in ("GET", "HEAD"):
            assert answer.status in (405, 404) and (answer.status == 404 or answer.headers["allow"]), told
        elif answer.status != 404 or template != path:
            met.add((template, answer.status))
            assert kind in paths[template]["get"]["responses"][str(answer.status)]["content"], told
        if answer.status >= 400:
            assert answer.status < 500 and kind == "application/problem+json", told
            assert method == "HEAD" or json.loads(body)["status"] == answer.status, told
        assert not (method == "HEAD" and body), told
    connection.close()
    assert {t for t, status in met if status == 200} >= set(paths)
    assert {status for _, status in met} == {200, 400, 404}


def test_no_call_changes_anything(running: Box) -> None:
    import urllib.error
    import urllib.request

    for path in ("/", "/api/v1/status", "/api/v1/trades", "/metrics"):
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            asked = urllib.request.Request(f"http://127.0.0.1:{running.port}{path}", method=method, data=b"{}")
            with pytest.raises(urllib.error.HTTPError) as e:
                urllib.request.urlopen(asked, timeout=5)
            with e.value:
                assert e.value.code in (404, 405) and e.value.headers["content-type"].startswith("application/problem+json")


def test_trades_are_paged_by_cursor_and_filtered(running: Box) -> None:
    def pages(query: str, limit: int) -> list[Record]:
        out, cursor = [], ""
        while True:
            page = running.json(f"/api/v1/trades?limit={limit}{query}{f'&cursor={cursor}' if cursor else ''}")
            rows = page.get("trades", page.get("items"))
            assert len(rows) <= limit
            out += rows
            cursor = page.get("next_cursor") or page.get("cursor") or page.get("next")
            if not cursor:
                return out

    every = pages("", 5)
    assert len(every) == 36 == len({json.dumps(t, sort_keys=True) for t in every})
    assert every == pages("", 1000) or sorted(map(str, every)) == sorted(map(str, pages("", 1000)))
    assert len(pages("&strategy=bad", 7)) == 18 and {t["strategy"] for t in pages("&strategy=bad", 7)} == {"bad"}
    assert len(pages(f"&day={DAY}", 9)) == 36 and pages("&day=2020-01-01", 9) == []
