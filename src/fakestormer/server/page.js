"use strict";
// Jobs as cards: what the server says is shown as text, never as markup.
addEventListener("DOMContentLoaded", () => {
  const one = (selector, root = document) => root.querySelector(selector);
  const list = one("#jobs"), news = one("#news"), trouble = one("#trouble"), more = one("#more");
  const maxBytes = Number(document.body.dataset.maxBytes);
  const headline = { "likely fake": "Likely fake", "no manipulation found": "No manipulation found", "inconclusive": "Inconclusive" };
  const tone = { "likely fake": "alarm", "no manipulation found": "calm", "inconclusive": "unsure" };
  const stages = { starting: "Opening the video", faces: "Following faces", scores: "Scoring faces", overlay: "Drawing the film", report: "Writing the report" };
  const page = 50;
  const cards = new Map();
  let count = 0;

  const size = (bytes) => bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  const tell = (text) => { news.textContent = text; };
  const complain = (text) => { trouble.textContent = text; trouble.hidden = !text; };
  const put = (card, selector, text) => {
    const element = one(selector, card);
    if (element.textContent !== text) element.textContent = text;
    return element;
  };

  function seeWhetherEmpty() {
    one("#none").textContent = search.value.trim() ? "Nothing fits." : "None yet.";
    one("#none").hidden = list.children.length > 0;
  }

  function newCard(first) {
    const card = one("#job").content.firstElementChild.cloneNode(true);
    const bar = one("progress", card);
    bar.id = `progress-${++count}`;
    one(".stage", card).htmlFor = bar.id;
    if (first) list.prepend(card); else list.append(card);
    one("#none").hidden = true;
    return card;
  }

  function advance(card, text, done, total) {
    put(card, ".stage", text);
    one(".running", card).hidden = false;
    const bar = one("progress", card);
    if (total) { bar.max = total; bar.value = Math.min(done, total); } else bar.removeAttribute("value");
  }

  function badge(card, text, kind) {
    put(card, ".state", text);
    card.classList.remove("alarm", "calm", "unsure");
    if (kind) card.classList.add(kind);
  }

  function draw(job, card) {
    const before = card.dataset.state, name = job.name;
    card.dataset.state = job.state;
    card.dataset.id = job.id;
    put(card, ".name", name);
    put(card, ".facts-line", `${size(job.size)}, sent ${new Date(job.created).toLocaleString()}`);
    const words = { queued: "Waiting", running: "Running", failed: "No verdict", cancelled: "Cancelled" };
    badge(card, words[job.state] || headline[job.verdict], job.state === "failed" ? "unsure" : tone[job.verdict]);
    one(".running", card).hidden = true;
    if (job.state === "queued") {
      const ahead = job.place - 1;
      put(card, ".said", ahead > 0 ? `${ahead} before it.` : "Next.");
    } else if (job.state === "running") {
      const at = job.progress || { stage: "starting", done: 0, total: null };
      const so = at.total ? `: ${at.done} of ${Math.max(at.done, at.total)}` : at.done ? `: ${at.done}` : "";
      advance(card, (stages[at.stage] || at.stage) + so, at.done, at.total && Math.max(at.done, at.total));
      if (card.dataset.stage !== at.stage) tell(`${name}: ${stages[at.stage] || at.stage}`);
      card.dataset.stage = at.stage;
      put(card, ".said", "");
    } else if (job.state === "done") {
      const spread = job.interval ? ` (${job.interval.map((bound) => bound.toFixed(2)).join(" to ")} over its clips)` : "";
      put(card, ".said", job.probability === null ? "" : `Probability of a fake ${job.probability.toFixed(2)}${spread}.`);
    } else put(card, ".said", job.error || "");
    one(".said", card).hidden = !one(".said", card).textContent;
    for (const [selector, sentences] of [[".why", job.reasons], [".warned", job.warnings]]) {
      const part = one(selector, card);
      part.hidden = !sentences.length;
      one("ul", part).replaceChildren(...sentences.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    }
    const done = job.state === "done", ended = done || job.state === "failed" || job.state === "cancelled";
    const link = (selector, href, what) => {
      const a = one(selector, card);
      a.hidden = !href;
      if (href) { a.href = href; a.setAttribute("aria-label", `${a.textContent}: ${what}`); }
    };
    link(".report", job.links.report, name);
    link(".film", job.links.overlay, name);
    link(".save", done && `${job.links.report}?download=true`, name);
    link(".result", job.links.result, name);
    one(".cancel", card).hidden = ended;
    one(".cancel", card).setAttribute("aria-label", `Cancel ${name}`);
    one(".delete", card).hidden = !ended;
    one(".delete", card).setAttribute("aria-label", `Delete ${name}`);
    const pick = one(".pick", card), thumbnail = one(".thumbnail", card);
    pick.hidden = !ended;
    pick.setAttribute("aria-label", `Select ${name}`);
    if (job.links.thumbnail && !thumbnail.hasAttribute("src")) thumbnail.src = job.links.thumbnail;
    thumbnail.hidden = !job.links.thumbnail;
    if (before && before !== job.state && ended)
      tell(`${name}: ${done ? headline[job.verdict] : job.error || "cancelled"}`);
  }

  function show(job, first) {
    let card = cards.get(job.id);
    if (!card) {
      card = newCard(first);
      cards.set(job.id, card);
      one(".cancel", card).onclick = () => ask("POST", `${job.links.job}/cancel`);
      one(".delete", card).onclick = async () => { if (await ask("DELETE", job.links.job)) forget(job.id); };
    }
    // Answers and events overtake each other.
    if (job.revision < Number(card.dataset.revision || 0)) return;
    card.dataset.revision = job.revision;
    draw(job, card);
  }

  // Searching, selecting, deleting several.
  const search = one("#search"), pickAll = one("#pick-all"), deletePicked = one("#delete-picked");
  const picked = () => [...cards].filter(([, card]) => one(".pick", card).checked && !one(".pick", card).hidden);

  function countPicked() {
    const count = picked().length;
    deletePicked.hidden = !count;
    deletePicked.textContent = `Delete ${count} selected`;
    if (!count) pickAll.checked = false;
  }

  function fits(job) {
    const text = `${job.name} ${job.verdict || job.state}`.toLowerCase();
    return search.value.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  }

  let typing = 0;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      const searched = search.value.trim();
      one("#csv").href = "/v1/results.csv" + (searched ? `?search=${encodeURIComponent(searched)}` : "");
      load(0);
    }, 200);
  });
  one("#find").addEventListener("submit", (event) => event.preventDefault());
  pickAll.addEventListener("change", () => {
    for (const card of cards.values()) one(".pick", card).checked = pickAll.checked;
    countPicked();
  });
  list.addEventListener("change", countPicked);
  deletePicked.addEventListener("click", async () => {
    const ids = picked().map(([id]) => id);
    if (!confirm(ids.length === 1 ? "Delete this result with its video and report?" : `Delete ${ids.length} results with their videos and reports?`)) return;
    if (!await ask("POST", "/v1/jobs/delete", { ids })) return;
    for (const id of ids) forget(id);
    tell(`${ids.length} deleted.`);
    list.focus();
    load(0);
  });

  function hide(id) {
    const card = cards.get(id);
    cards.delete(id);
    card.remove();
    countPicked();
  }

  function forget(id) {
    const card = cards.get(id);
    if (!card) return;
    const held = card.contains(document.activeElement);
    hide(id);
    if (held) list.focus();
    tell("Deleted.");
    seeWhetherEmpty();
  }

  async function ask(method, path, content) {
    try {
      const body = content && JSON.stringify(content);
      const answer = await fetch(path, { method, body, headers: body ? { "Content-Type": "application/json" } : {} });
      if (answer.status === 401) { location = "/login"; return null; }
      if (answer.status === 404 && method === "DELETE") return true;
      if (answer.status === 409) return true; // it ended in the meantime, and its card says so
      const said = answer.status === 204 ? true : await answer.json();
      if (!answer.ok) throw new Error(said.detail);
      complain("");
      if (said.id) show(said, true);
      return said;
    } catch (error) {
      complain(error instanceof TypeError ? "The server cannot be reached." : error.message);
      return null;
    }
  }

  // Everything that happens, over one connection, and only while somebody looks.
  let source = null;
  async function listen() {
    if (document.hidden || source) return;
    source = new EventSource("/v1/events");
    source.addEventListener("job", (event) => {
      const job = JSON.parse(event.data);
      if (cards.has(job.id) || fits(job)) show(job, true);
    });
    source.addEventListener("deleted", (event) => forget(JSON.parse(event.data).id));
    source.onopen = () => load(0);
    source.onerror = () => complain("The connection to the server is lost; trying again.");
  }
  function pause() { if (source) source.close(); source = null; }
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : listen()));
  addEventListener("pagehide", pause);

  async function load(offset) {
    const searched = search.value.trim();
    const before = [...cards.keys()]; // what comes while the answer is under way is not in it
    const said = await ask("GET", `/v1/jobs?limit=${page}&offset=${offset}&search=${encodeURIComponent(searched)}`);
    if (!said || searched !== search.value.trim()) return;
    if (!offset) { // what is gone, what is new; cards of uploads under way have no id
      const there = new Set(said.jobs.map((job) => job.id));
      if (said.total <= page || searched) for (const id of before) if (cards.has(id) && !there.has(id)) hide(id);
      [...said.jobs].reverse().forEach((job) => show(job, true));
    } else said.jobs.forEach((job) => show(job, false));
    more.hidden = cards.size >= said.total;
    seeWhetherEmpty();
  }
  more.onclick = () => load(cards.size);

  // Uploads, one after the other.
  const waiting = [];
  let sending = false;

  function upload(file, card, wanted) {
    return new Promise((answered) => {
      const request = new XMLHttpRequest();
      request.open("POST", "/v1/jobs");
      request.upload.onprogress = (event) => advance(card, `Sending: ${size(event.loaded)} of ${size(event.total)}`, event.loaded, event.total);
      request.onload = () => {
        let said = {};
        try { said = JSON.parse(request.responseText); } catch { /* not ours */ }
        answered({ status: request.status, said, again: Number(request.getResponseHeader("Retry-After")) || 5 });
      };
      request.onerror = () => answered({ status: 0, said: { detail: "The upload broke off: the server cannot be reached, or did not want the file." } });
      request.onabort = () => answered({ status: -1, said: {} });
      one(".cancel", card).onclick = () => { card.dataset.cancelled = "yes"; request.abort(); };
      const form = new FormData();
      form.append("options", JSON.stringify(wanted));
      form.append("video", file);
      request.send(form);
    });
  }

  async function send(file, card, wanted) {
    if (file.size > maxBytes) return { status: 413, said: { detail: `${file.name}: is ${size(file.size)}, and this server takes up to ${size(maxBytes)}.` } };
    while (!card.dataset.cancelled) {
      const { status, said, again } = await upload(file, card, wanted);
      if (status !== 429) return { status, said };
      badge(card, "Waiting");
      advance(card, "The queue is full; waiting for a place", 0, null);
      await new Promise((wake) => {
        setTimeout(wake, 1000 * Math.min(again, 15));
        one(".cancel", card).onclick = () => { card.dataset.cancelled = "yes"; wake(); };
      });
    }
    return { status: -1, said: {} };
  }

  async function work() {
    if (sending) return;
    sending = true;
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [file, card, wanted] = next;
      if (card.dataset.cancelled) { card.remove(); continue; }
      badge(card, "Sending");
      tell(`Sending ${file.name}`);
      const { status, said } = await send(file, card, wanted);
      if (status === 201) { card.remove(); show(said, true); }
      else if (status === 401) location = "/login";
      else if (status === -1) { card.remove(); tell("Cancelled."); seeWhetherEmpty(); }
      else failed(card, said.detail || `The server answered ${status}.`);
    }
    sending = false;
  }

  function failed(card, text) {
    badge(card, "Not sent", "unsure");
    one(".running", card).hidden = true;
    put(card, ".said", text).hidden = false;
    one(".cancel", card).hidden = true;
    const close = one(".delete", card);
    close.hidden = false;
    close.textContent = "Close";
    close.onclick = () => { card.remove(); seeWhetherEmpty(); list.focus(); };
    tell(text);
  }

  function take(files) {
    for (const file of files) {
      const card = newCard(true);
      put(card, ".name", file.name);
      put(card, ".facts-line", size(file.size));
      badge(card, "Waiting");
      const cancel = one(".cancel", card);
      cancel.hidden = false;
      cancel.setAttribute("aria-label", `Cancel ${file.name}`);
      cancel.onclick = () => { card.dataset.cancelled = "yes"; card.remove(); seeWhetherEmpty(); };
      waiting.push([file, card, { overlay: one("#overlay").checked }]);
    }
    work();
  }

  const input = one("#files"), drop = one("#drop");
  input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
  one("#send").addEventListener("submit", (event) => event.preventDefault());
  for (const kind of ["dragenter", "dragover"]) addEventListener(kind, (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take([...event.dataTransfer.files]);
  });

  listen();
});
