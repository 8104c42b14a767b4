// Keeps a page fresh: server-sent events say when, the page itself is fetched again and its live part replaced.
// Without an event it asks every 10 s; after 30 s without an answer the page goes grey and says how old it is.
"use strict";
(() => {
  const live = document.getElementById("live"), old = document.getElementById("old"), said = document.getElementById("said");
  if (!live) return;
  let fresh = performance.now(), asked = fresh, busy = false, wanted = false, stream = null, opened = 0;
  const span = (s) => (s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`);

  function put(text) {
    const next = new DOMParser().parseFromString(text, "text/html").getElementById("live");
    if (!next) throw new Error("no live part");
    const focus = document.activeElement && live.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...live.querySelectorAll("details[open][id]")].map((d) => d.id);
    const scrolled = [...live.querySelectorAll(".scroll[id]")].map((d) => [d.id, d.scrollLeft]);
    live.replaceChildren(...next.childNodes);
    if (live.dataset.action !== next.dataset.action) said.textContent = next.dataset.action;
    live.dataset.action = next.dataset.action;
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, x] of scrolled) { const e = document.getElementById(id); if (e) e.scrollLeft = x; }
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }

  async function refresh() {
    if (busy) { wanted = true; return; }
    busy = true; wanted = false; asked = performance.now();
    const limit = new AbortController(), timer = setTimeout(() => limit.abort(), 6000);
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: limit.signal });
      if (!answer.ok) throw new Error(answer.status);
      const text = await answer.text();
      if (String(getSelection()).length === 0) put(text);
      fresh = asked;
    } catch { /* the page says by its age that nothing came */ } finally {
      clearTimeout(timer); busy = false; tick();
      if (wanted) setTimeout(refresh, 500);
    }
  }

  function listen() {
    opened = performance.now();
    stream = new EventSource("/events");
    stream.addEventListener("change", () => { refresh(); setTimeout(refresh, 1500); }); // a page is kept for a second: look once more
    stream.addEventListener("heartbeat", () => { if (performance.now() - asked > 5000) refresh(); });
  }

  function tick() {
    const now = performance.now(), age = Math.floor((now - fresh) / 1000), stale = age >= 30;
    document.documentElement.classList.toggle("stale", stale);
    old.hidden = !stale;
    if (stale) old.textContent = `No word from parityd for ${span(age)}: what stands below is old.`;
    for (const e of live.querySelectorAll("[data-left]")) {
      const s = Math.floor(+e.dataset.left - (now - fresh) / 1000);
      e.textContent = s > 0 ? `${e.dataset.word || "for"} ${span(s)}` : "EXPIRED";
    }
  }

  setInterval(() => {
    tick();
    if (document.hidden) return;
    if (performance.now() - asked > 10000) refresh();
    if (stream && stream.readyState === 2 && performance.now() - opened > 30000) listen();
  }, 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  addEventListener("pagehide", () => stream && stream.close());
  addEventListener("pageshow", (e) => { if (e.persisted) { listen(); refresh(); } });
  listen();
  tick();
})();
