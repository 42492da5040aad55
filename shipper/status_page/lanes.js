// The picture: each source, the journal, and a lane to each of its sinks. Many sources are folded while they run.

const FOLD_ABOVE = 8;
const unfolded = new Map();

function drawLanes(status) {
  const all = status.sources.map((source) => ({ source, lanes: status.lanes.filter((lane) => lane.source === source.source) }));
  const scale = Math.max(1000, ...status.lanes.map((lane) => lane.lag_events));
  const types = new Map(status.sinks.map((sink) => [sink.sink, sink.type]));
  const foldable = all.length > FOLD_ABOVE;
  const troubled = all.filter(({ source, lanes }) => [source, ...lanes].some(inTrouble));
  // Those in trouble show all they have, unless that would be everyone: a sink that is down has a lane in each.
  const open = troubled.length > FOLD_ABOVE ? [] : troubled;
  keep(document.getElementById("lanes-table"), all, ({ source }) => source.source, makeSource, (body, one) => {
    const { source, lanes } = one;
    const folded = foldable && !(unfolded.get(source.source) ?? open.includes(one));
    const rows = folded || !lanes.length ? [{ key: "all", lanes }] : lanes.map((lane) => ({ key: `to ${lane.sink}`, lanes: [lane] }));
    const focused = body.contains(document.activeElement) ? document.activeElement : null;
    const cell = body.cell;
    keep(body, rows, (row) => row.key, makeRow, (row, { lanes: shown }) => drawRow(row, shown, status, scale, types));
    if (cell.parentNode !== body.firstElementChild) body.firstElementChild.prepend(cell);
    attribute(cell, "rowspan", String(rows.length));
    body.classList.toggle("folded", folded);
    focused?.focus();
    drawSource(cell, source, lanes, status, { foldable, folded });
  });
}

function makeSource({ source }) {
  const body = element("tbody", { role: "rowgroup", id: `source-${source.source}`, tabindex: "-1" });
  const button = element("button", { type: "button", class: "fold", "data-part": "fold" }, symbol("more", "more"), element("span", { "data-part": "folded-name" }));
  button.addEventListener("click", () => {
    unfolded.set(source.source, button.getAttribute("aria-expanded") !== "true");
    draw();
  });
  body.cell = element("th", { role: "rowheader", scope: "rowgroup", class: "source" },
    element("div", { class: "who" },
      element("div", {}, button, element("b", { "data-part": "name" })),
      element("div", { class: "quiet", "data-part": "tenant" }),
      element("div", { class: "state", "data-part": "state" }, symbol("running"), element("span", {})),
      element("div", { class: "quiet", "data-part": "pace" }),
      element("div", { class: "quiet", "data-part": "left" })),
    symbol("flow-running", "flow"));
  return body;
}

function drawSource(cell, source, lanes, status, { foldable, folded }) {
  const button = part(cell, "fold");
  show(button, foldable);
  show(part(cell, "name"), !foldable);
  attribute(button, "aria-expanded", String(!folded));
  write(part(cell, "folded-name"), source.source);
  write(part(cell, "name"), source.source);
  write(part(cell, "tenant"), source.tenant);
  drawState(part(cell, "state"), cell.querySelector(".flow"), [source]);
  const read = rate(pace(curve(past.sources, source.source, "events", status.at, source.events)));
  write(part(cell, "pace"), source.lag_seconds === null ? "nothing read yet" : `${read}, ${span(source.lag_seconds)} behind`);
  const gaps = source.retention_gaps ? `, ${counted(source.retention_gaps, "gap", "gaps")}` : "";
  write(part(cell, "left"), source.retention_headroom_seconds === null ? "" : `${left(source.retention_headroom_seconds)} of ${span(source.retention_seconds)} left${gaps}`);
}

function makeRow() {
  const named = (name) => element("span", { class: "label" }, name);
  return element("tr", { role: "row" },
    element("td", { role: "cell", class: "journal" }, named("Waiting"), element("span", { class: "bar", "aria-hidden": "true" }, element("span", { "data-part": "bar" })), element("span", { class: "number", "data-part": "waiting" })),
    element("td", { role: "cell", class: "sink" }, element("div", { class: "to" }, symbol("flow-running", "flow"),
      element("div", {},
        element("div", {}, element("b", { "data-part": "sink" }), " ", element("span", { class: "quiet", "data-part": "type" })),
        element("div", { class: "state", "data-part": "state" }, symbol("running"), element("span", {})),
        element("div", { class: "quiet", "data-part": "more" })))),
    element("td", { role: "cell", class: "measure" }, named("Behind"), element("span", { class: "number", "data-part": "behind" }), spark("lag")),
    element("td", { role: "cell", class: "measure" }, named("Delivered"), element("span", { class: "number" }, element("span", { "data-part": "rate" }), element("small", { class: "quiet", "data-part": "delivered" })), spark("rate-spark")));
}

// One lane, or all lanes of a source that is folded.
function drawRow(row, lanes, status, scale, types) {
  const waiting = waitingEvents(lanes);
  const seconds = lanes.map((lane) => lane.lag_seconds).filter((secs) => secs !== null);
  part(row, "bar").style.width = `${waiting ? Math.max(2, (100 * Math.min(waiting, scale)) / scale) : 0}%`;
  write(part(row, "waiting"), waiting ? count(waiting) : "none");
  write(part(row, "sink"), lanes.length === 1 ? lanes[0].sink : lanes.length ? counted(lanes.length, "sink", "sinks") : "no sink");
  write(part(row, "type"), lanes.length === 1 ? types.get(lanes[0].sink) ?? "" : "");
  drawState(part(row, "state"), row.querySelector(".flow"), lanes);
  const dead = total(lanes, "dead_letters");
  const remarks = [catchingUp(lanes, waiting, seconds, status), dead ? counted(dead, "dead letter", "dead letters") : ""];
  write(part(row, "more"), remarks.filter(Boolean).join(", "));
  write(part(row, "behind"), seconds.length ? span(Math.max(...seconds)) : "–");
  const lag = together(lanes.map((lane) => curve(past.lanes, laneKey(lane), "secs", status.at, lane.lag_seconds)), larger);
  drawSpark(row.querySelector(".lag"), "Behind", lag, status.at, 10, span);
  const delivered = together(lanes.map((lane) => curve(past.lanes, laneKey(lane), "delivered", status.at, lane.delivered)), sum);
  write(part(row, "rate"), rate(pace(delivered)));
  write(part(row, "delivered"), `${count(total(lanes, "delivered"))} in all`);
  drawSpark(row.querySelector(".rate-spark"), "Delivered", growth(delivered), status.at, 1, rate);
}

function catchingUp(lanes, waiting, seconds, status) {
  if (!lanes.every((lane) => lane.state === "running") || !seconds.some((secs) => secs > 60)) return "";
  const shrinks = -(pace(together(lanes.map((lane) => curve(past.lanes, laneKey(lane), "events", status.at, lane.lag_events)), sum)) ?? 0);
  return shrinks > 0 ? `caught up in about ${span(waiting / shrinks)}` : "";
}

function drawState(node, flow, parts) {
  const state = parts.length ? worst(parts.map((one) => one.state)) : "disabled";
  const there = parts.filter((one) => one.state === state);
  show(node, parts.length > 0);
  const names = there.length < parts.length ? `${there.length < 3 ? listed(there.map((one) => one.sink)) : there.length} ` : "";
  const words = [`${names}${state}`];
  const reasons = [...new Set(there.map((one) => one.reason).filter(Boolean))];
  if (reasons.length) words.push(reasons.join(", "));
  attribute(node, "data-level", state);
  attribute(node.querySelector("use"), "href", `#${state}`);
  write(node.lastElementChild, words.join(" · "));
  attribute(flow, "data-level", state);
  attribute(flow.querySelector("use"), "href", `#flow-${state}`);
}
