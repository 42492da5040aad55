// Asks for the status every two seconds and shows what it says, or for how long nothing was said.

const ASK_MS = 2000;
const ASK_HIDDEN_MS = 10000;
const ANSWER_MS = 5000;
const COLORS = { held: "c62828", paused: "7a4fc0", waiting: "b26a00", notice: "1f6fb5", running: "1e8550", disabled: "7b838c", gone: "7b838c" };

const seen = { status: null, since: performance.now(), failure: "" };
let timer = 0;

async function ask() {
  clearTimeout(timer);
  try {
    const answer = await fetch(`api/status?after=${newest()}`, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    const status = await answer.json();
    if (seen.status && seen.status.version !== status.version) location.reload();
    remember(status.history);
    Object.assign(seen, { status, since: performance.now(), failure: "" });
  } catch (error) {
    seen.failure = error instanceof Error && error.message.startsWith("HTTP ") ? error.message : "no answer";
  }
  draw();
  timer = setTimeout(ask, document.hidden ? ASK_HIDDEN_MS : ASK_MS);
}

function draw() {
  if (seen.status) {
    const { status } = seen;
    const found = problems(status);
    show(document.getElementById("body"), true);
    drawCards(found);
    drawTiles(status);
    drawLanes(status);
    drawNewest(status);
    drawCharts(status);
    write(document.getElementById("about"), `${status.version}, up ${span(status.uptime_seconds)}`);
    if (!seen.failure) drawVerdict(verdict(status, found));
  }
  if (seen.failure) drawGone();
  document.body.classList.toggle("stale", Boolean(seen.failure));
  drawClock();
}

function drawVerdict({ level, headline: first, subline: second }) {
  attribute(document.getElementById("verdict"), "data-level", level);
  attribute(document.getElementById("verdict-icon"), "href", `#${level}`);
  write(document.getElementById("headline"), first);
  write(document.getElementById("subline"), second);
  write(document.querySelector("title"), level === "running" ? "shipper" : `${first} – shipper`);
  // Shape and colour, for a tab that is only looked at.
  const shape = { held: "<path d='M5 1h6l4 4v6l-4 4H5l-4-4V5z'", gone: "<path d='M8 1l7.5 14H.5z'" }[level] ?? "<circle cx='8' cy='8' r='7'";
  attribute(document.getElementById("icon"), "href", `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='${SVG}' viewBox='0 0 16 16'>${shape} fill='#${COLORS[level]}'/></svg>`)}`);
}

function drawGone() {
  const from = seen.status ? ` What stands below is from ${clock(seen.status.at)} UTC.` : "";
  const [first, second] = seen.failure === "no answer"
    ? ["The daemon does not answer", "Look at the service, and at the last lines of its log."]
    : ["No status comes", `The answer is ${seen.failure}: a proxy's login that has run out? Has admin.status_page changed?`];
  drawVerdict({ level: "gone", headline: first, subline: `${second}${from}` });
}

function drawClock() {
  const silence = Math.round((performance.now() - seen.since) / 1000);
  const text = seen.failure ? `no status for ${silence < 120 ? `${silence} s` : span(silence)}` : seen.status ? `${clock(seen.status.at)} UTC` : "";
  write(document.getElementById("clock"), text);
}

function drawCards(found) {
  show(document.getElementById("todo"), found.length > 0);
  keep(document.getElementById("cards"), found, (problem) => problem.key, makeCard, (card, problem) => {
    attribute(card, "data-level", problem.level);
    attribute(card.querySelector("use"), "href", `#${problem.level}`);
    write(part(card, "word"), [problem.word, problem.reason, problem.secs === null ? "" : lasting(problem.secs, seen.status.at)].filter(Boolean).join(" · "));
    write(part(card, "name"), problem.name);
    if (problem.target !== null) attribute(part(card, "name"), "href", `#source-${problem.target}`);
    write(part(card, "where"), problem.where);
    write(part(card, "todo"), problem.todo);
    const [note, ...others] = problem.notes.filter(Boolean);
    show(part(card, "note"), Boolean(note));
    write(part(card, "note"), `${note ?? ""}${others.length ? ` (and ${counted(others.length, "other note", "other notes")})` : ""}`);
    write(part(card, "facts"), problem.facts.join(" · "));
    show(part(card, "then"), Boolean(problem.command));
    write(part(card, "command"), problem.command);
    write(part(card, "when"), !problem.command.startsWith("shipper retry") ? "" : problem.level === "waiting" ? "To try at once:" : "Then, to try at once:");
  });
}

function makeCard() {
  return element("li", { class: "card" },
    symbol("held", "mark"),
    element("div", { class: "said" },
      element("p", { class: "lead" }, element("a", { class: "name", "data-part": "name" }), element("span", { class: "word", "data-part": "word" })),
      element("p", { class: "quiet", "data-part": "where" }),
      element("p", { class: "note", "data-part": "note" }),
      element("p", { class: "quiet", "data-part": "facts" })),
    element("div", { class: "said" },
      element("p", { "data-part": "todo" }),
      element("p", { class: "then", "data-part": "then" }, element("span", { class: "quiet", "data-part": "when" }), " ", element("code", { "data-part": "command" }))));
}

function tiles(status) {
  const { sources, journal } = status;
  const lanes = status.lanes.filter((lane) => lane.state !== "disabled");
  const secs = lanes.map((lane) => lane.lag_seconds).filter((value) => value !== null);
  const rates = (map, items, key, name) => items.map((item) => pace(curve(map, key(item), name, status.at, item[name]))).filter((value) => value !== null);
  const read = rates(past.sources, sources, (source) => source.source, "events");
  const delivered = rates(past.lanes, lanes, laneKey, "delivered");
  const to = new Set(lanes.map((lane) => lane.sink)).size;
  const known = sources.filter((source) => source.retention_headroom_seconds !== null);
  const least = known.reduce((one, other) => (one && one.retention_headroom_seconds <= other.retention_headroom_seconds ? one : other), null);
  return [
    ["Read", read.length ? rate(read.reduce(sum)) : "–", `${count(total(sources, "events"))} in all`],
    ["Delivered", delivered.length ? rate(delivered.reduce(sum)) : "–", `${to > 1 ? `to ${to} sinks, ` : ""}${count(total(status.lanes, "delivered"))} in all`],
    ["Waiting", count(waitingEvents(status.lanes)), secs.length ? `slowest lane ${span(Math.max(...secs))} behind` : ""],
    ["Journal", share(journal.bytes, journal.max_bytes), journal.full ? "full: reading is paused" : `${bytes(journal.bytes)} of ${bytes(journal.max_bytes)}`, journal.bytes / journal.max_bytes],
    ["Retention left", least ? left(least.retention_headroom_seconds) : "–", least ? `${sources.length > 1 ? `${least.source}, of ` : "of "}${span(least.retention_seconds)}` : "",
      least ? least.retention_headroom_seconds / least.retention_seconds : null],
    ["Dead letters", count(total(status.lanes, "dead_letters")), `${bytes(status.dead_letters.bytes)} of ${bytes(status.dead_letters.max_bytes)}`],
  ];
}

function drawTiles(status) {
  keep(document.getElementById("tiles"), tiles(status), ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), element("dd", { class: "figure", "data-part": "figure" }),
      element("dd", { class: "meter", "aria-hidden": "true", "data-part": "meter" }, element("span", {})), element("dd", { class: "quiet", "data-part": "small" })),
    (tile, [, figure, small, fill = null]) => {
      write(part(tile, "figure"), figure);
      write(part(tile, "small"), small);
      show(part(tile, "meter"), fill !== null);
      part(tile, "meter").firstElementChild.style.width = `${100 * Math.min(1, Math.max(0, fill ?? 0))}%`;
    });
}

makeCharts(document.getElementById("charts"));
document.addEventListener("visibilitychange", () => document.hidden || ask());
setInterval(drawClock, 1000);
ask();
