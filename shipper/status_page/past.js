// What was: the daemon's samples of the last minutes, put together from the answers, and curves made of them.

const KEPT_MS = 15 * 60 * 1000;
const past = { times: [], sources: new Map(), lanes: new Map(), everyMs: 10000 };

function laneKey(lane) {
  return `${lane.source} ${lane.sink}`;
}

function remember(history) {
  past.everyMs = history.every_seconds * 1000;
  if (history.whole) {
    past.times = [];
    past.sources.clear();
    past.lanes.clear();
  }
  const before = past.times.length;
  past.times.push(...history.times);
  for (const source of history.sources) extend(past.sources, source.source, { events: source.events }, before);
  for (const lane of history.lanes) {
    extend(past.lanes, laneKey(lane), { delivered: lane.delivered, events: lane.lag_events, secs: lane.lag_seconds }, before);
  }
  // Whoever is not in the answer was not there.
  let old = 0;
  while (past.times.length - old > 1 && past.times[old] < past.times[past.times.length - 1] - KEPT_MS) old += 1;
  past.times.splice(0, old);
  for (const columns of [...past.sources.values(), ...past.lanes.values()]) {
    for (const column of Object.values(columns)) {
      while (column.length < old + past.times.length) column.push(null);
      column.splice(0, old);
    }
  }
}

function extend(map, key, columns, before) {
  if (!map.has(key)) map.set(key, {});
  const kept = map.get(key);
  for (const [name, column] of Object.entries(columns)) {
    kept[name] ??= [];
    while (kept[name].length < before) kept[name].push(null);
    kept[name].push(...column);
  }
}

function newest() {
  return past.times.length ? past.times[past.times.length - 1] : 0;
}

// A curve: [time, value or null] for each sample, and for now.
function curve(map, key, name, at, now) {
  const column = map.get(key)?.[name] ?? [];
  const points = column.map((value, index) => [past.times[index], value]);
  if (!points.length || at > points[points.length - 1][0]) points.push([at, now]);
  return points;
}

// What a count grew by, for each second. Where samples are missing, nothing is known; and little over a short time.
function growth(points) {
  const found = [];
  for (let index = 1; index < points.length; index += 1) {
    const [[from, before], [to, after]] = [points[index - 1], points[index]];
    const known = before !== null && after !== null && to - from <= 3 * past.everyMs && to - from >= past.everyMs / 2;
    if (known || index < points.length - 1) found.push([to, known ? Math.max(0, (1000 * (after - before)) / (to - from)) : null]);
  }
  return found;
}

// The same over the last minute; null where that is too short to tell.
function pace(points) {
  if (!points.length) return null;
  const [to, after] = points[points.length - 1];
  const first = points.find(([at, value]) => value !== null && at >= to - 60000);
  if (!first || after === null || to - first[0] < 3000) return null;
  return (1000 * (after - first[1])) / (to - first[0]);
}

// Point by point the sum or the most of several curves with the same times.
function together(curves, combine) {
  return (curves[0] ?? []).map(([at], index) => {
    const values = curves.map((points) => points[index]?.[1]).filter((value) => value !== null && value !== undefined);
    return [at, values.length ? values.reduce(combine) : null];
  });
}
