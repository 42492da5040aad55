// Small charts of the last minutes: one curve in a lane's row, several with a scale below.

const WIDTH = 300;
const HEIGHT = 100;
const LEAST_MS = 2 * 60 * 1000;
const MOST_SERIES = 6;

function stretch(at) {
  return [Math.min(at - LEAST_MS, Math.max(at - KEPT_MS, past.times[0] ?? at)), at];
}

function path([from, to], points, top, closed) {
  let text = "";
  let begun = null;
  const x = (at) => ((WIDTH * (at - from)) / (to - from)).toFixed(1);
  const close = (at) => (closed && begun !== null ? `L${x(at)} ${HEIGHT}L${x(begun)} ${HEIGHT}Z` : "");
  let last = null;
  for (const [at, value] of points) {
    const broken = last !== null && at - last > 3 * past.everyMs;
    if (value === null || broken) {
      text += close(last ?? at);
      begun = null;
    }
    if (value !== null && at >= from) {
      text += `${begun === null ? "M" : "L"}${x(at)} ${(HEIGHT - (HEIGHT * Math.min(value, top)) / top).toFixed(1)}`;
      begun ??= at;
    }
    last = at;
  }
  return text + close(last);
}

function most(points) {
  return points.reduce((top, [, value]) => Math.max(top, value ?? 0), 0);
}

function spark(name) {
  return drawing("svg", { class: `spark ${name}`, role: "img", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "data-part": name },
    drawing("path", { class: "area" }), drawing("path", { class: "line" }));
}

// least: the scale's top is never below that, so that rest looks like rest.
function drawSpark(node, what, points, at, least, written) {
  const top = Math.max(least, most(points));
  const [area, line] = node.children;
  attribute(area, "d", path(stretch(at), points, top, true));
  attribute(line, "d", path(stretch(at), points, top, false));
  const values = points.filter(([, value]) => value !== null);
  attribute(node, "aria-label", values.length ? `${what} over the last minutes: at most ${written(most(points))}, now ${written(values[values.length - 1][1])}` : `${what}: not known yet`);
}

// A round number that is not below this, for a scale's end.
function roundTop(value, steps) {
  for (const step of steps) if (value <= step) return step;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => value <= step);
}

const SECOND_STEPS = [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000];
const RATE_STEPS = [1, 2, 5];

function chart(id, title) {
  const label = `${id}-title`;
  return element("figure", { class: "chart", id, "aria-labelledby": label },
    element("figcaption", { id: label }, title),
    element("div", { class: "plot" },
      drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", "data-part": "lines" }),
      element("span", { class: "top quiet", "data-part": "top" }), element("span", { class: "half quiet", "data-part": "half" }), element("span", { class: "zero quiet" }, "0")),
    element("div", { class: "axis quiet" }, element("span", { "data-part": "from" }), element("span", { "data-part": "middle" }), element("span", { "data-part": "to" })),
    element("ul", { class: "legend", "data-part": "legend" }));
}

// series: [name, points, now], each with its own line; now: what the legend says, where it is not the last point.
function drawChart(node, series, at, steps, written) {
  const top = roundTop(Math.max(...series.map(([, points]) => most(points)), 0), steps);
  const range = stretch(at);
  keep(part(node, "lines"), series, ([name]) => name,
    () => drawing("path", { class: "line" }),
    (line, [, points]) => {
      attribute(line, "class", `line s${series.findIndex(([name]) => name === line.dataset.key) + 1}`);
      attribute(line, "d", path(range, points, top, false));
    });
  write(part(node, "top"), written(top));
  write(part(node, "half"), written(top / 2));
  write(part(node, "from"), clock(range[0], false));
  write(part(node, "middle"), clock((range[0] + range[1]) / 2, false));
  write(part(node, "to"), "now");
  keep(part(node, "legend"), series, ([name]) => name,
    ([name]) => element("li", {}, drawing("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" }, drawing("path", { d: "M0 4h28" })), element("b", {}, name), " ", element("span", { "data-part": "now" })),
    (item, [name, points, now]) => {
      attribute(item.querySelector("path"), "class", `line s${series.findIndex(([other]) => other === name) + 1}`);
      const known = points.filter(([, value]) => value !== null);
      write(part(item, "now"), known.length ? `${written(now ?? known[known.length - 1][1])} now, at most ${written(most(points))}` : "not known yet");
    });
}

const larger = (one, other) => Math.max(one, other);
const sum = (one, other) => one + other;

function makeCharts(parent) {
  parent.append(chart("behind-chart", "Behind: each sink's slowest lane"), chart("rate-chart", "Events a second: read and delivered"));
}

function drawCharts(status) {
  const [from, to] = stretch(status.at);
  write(document.getElementById("minutes-title"), `Last ${Math.round((to - from) / 60000)} minutes`);
  const sinks = groups(status.lanes.filter((lane) => lane.state !== "disabled"), (lane) => lane.sink);
  const urgent = (group) => Math.max(...group.map((lane) => lane.lag_seconds ?? 0));
  // Of more sinks than lines can be told apart, the slowest; in an order that stays.
  const chosen = [...sinks].sort((one, other) => urgent(other) - urgent(one)).slice(0, MOST_SERIES - 1);
  const shown = sinks.filter((group) => chosen.includes(group));
  const ahead = shown.map((group) => [group[0].sink, together(group.map((lane) => curve(past.lanes, laneKey(lane), "secs", status.at, lane.lag_seconds)), larger)]);
  drawChart(document.getElementById("behind-chart"), ahead, status.at, SECOND_STEPS, span);
  const rates = [
    ...shown.map((group) => [group[0].sink, group.map((lane) => curve(past.lanes, laneKey(lane), "delivered", status.at, lane.delivered))]),
    ["read (all sources)", status.sources.map((source) => curve(past.sources, source.source, "events", status.at, source.events))],
  ].map(([name, counts]) => [name, together(counts.map(growth), sum), pace(together(counts, sum))]);
  drawChart(document.getElementById("rate-chart"), rates, status.at, RATE_STEPS, rate);
}
