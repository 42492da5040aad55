// What a status means for the person who looks: what is wrong, how bad, what to do.

const LEVELS = ["held", "paused", "waiting", "notice", "running", "disabled"];
// As ShipperSourceStalled and ShipperLaneBehind have it: so far behind, and for so long.
const BEHIND_SECS = 900;
const PATIENCE_SECS = 300;
const PHRASES = {
  held: ["is held", "are held"], paused: ["is paused", "are paused"], waiting: ["waits and tries again", "wait and try again"],
  headroom: ["runs out of retention", "run out of retention"], behind: ["is behind", "are behind"],
};
const RECENT_GAP_MS = 7 * 86400 * 1000;

function worst(levels) {
  return LEVELS.find((level) => levels.includes(level)) ?? "disabled";
}

// Distinct events: what waits for several sinks counts once.
function waitingEvents(lanes) {
  return groups(lanes, (lane) => lane.source).reduce((sum, group) => sum + Math.max(...group.map((lane) => lane.lag_events)), 0);
}

function waiting(events, none = "nothing") {
  return events ? counted(events, "event waits", "events wait") : `${none} waits`;
}

function total(lanes, name) {
  return lanes.reduce((sum, lane) => sum + lane[name], 0);
}

function groups(items, key) {
  const found = new Map();
  for (const item of items) {
    const name = key(item);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(item);
  }
  return [...found.values()];
}

function inTrouble(part) {
  return ["held", "paused", "waiting"].includes(part.state);
}

// Everything that a person should know of, the worst first. Lanes of one sink with one reason are one problem.
function problems(status) {
  const lanes = status.lanes;
  const found = [
    ...status.sources.filter(inTrouble).map(sourceTrouble),
    ...groups(lanes.filter(inTrouble), (lane) => `${lane.sink} ${lane.state} ${lane.reason}`).map((group) => sinkTrouble(group, lanes)),
    ...status.sources.filter((source) => isShort(source) && !inTrouble(source)).map(headroom),
    ...groups(lanes.filter(late), (lane) => lane.sink).map(behind),
    ...groups(lanes.filter((lane) => lane.dead_letters > 0), (lane) => lane.sink).map(deadLetters),
    ...groups(lanes.filter((lane) => lane.state === "disabled" && lane.lag_events > 0), (lane) => lane.sink).map(leftBehind),
    ...status.sources.filter((source) => source.last_retention_gap && source.last_retention_gap.until > status.at - RECENT_GAP_MS).map(gap),
    ...status.sources.filter((source) => source.state === "running" && !lanes.some((lane) => lane.source === source.source && lane.state !== "disabled")).map(unread),
    ...(status.reload_refused ? [refused()] : []),
  ];
  return found.sort((one, other) => LEVELS.indexOf(one.level) - LEVELS.indexOf(other.level));
}

function sourceTrouble(source) {
  const headroomSecs = source.retention_headroom_seconds;
  const facts = [counted(source.failures, "failure", "failures")];
  if (headroomSecs !== null) facts.unshift(headroomSecs > 0 ? `in ${span(headroomSecs)} the tenant begins to delete what was not read` : "the tenant may be deleting what was not read");
  return {
    key: `source ${source.source}`, phrase: PHRASES[source.state], level: isShort(source) ? "held" : source.state, word: source.state, name: source.source, kind: "source",
    overdue: source.for_seconds >= PATIENCE_SECS && (source.lag_seconds === null || source.lag_seconds > BEHIND_SECS),
    reason: source.reason, secs: source.for_seconds, where: source.tenant, facts, notes: [source.note], todo: source.do,
    command: source.state === "paused" ? "" : `shipper retry ${source.source}`, target: source.source,
  };
}

function sinkTrouble(group, lanes) {
  const [first] = group;
  const all = lanes.filter((lane) => lane.sink === first.sink && lane.state !== "disabled").length;
  const longest = Math.max(...group.map((lane) => lane.for_seconds));
  const names = group.map((lane) => lane.source);
  return {
    key: `sink ${first.sink} ${first.state} ${first.reason}`, phrase: PHRASES[first.state], level: first.state, word: first.state, name: first.sink, kind: "sink",
    reason: first.reason, secs: longest, overdue: longest >= PATIENCE_SECS && group.some((lane) => lane.lag_events > 0 && lane.lag_seconds > BEHIND_SECS),
    where: all === 1 ? `from ${names[0]}` : `${group.length < all ? `${group.length} of ${all}` : all === 2 ? "both" : `all ${all}`} lanes: ${listed(names)}`,
    facts: [
      `${waiting(total(group, "lag_events"))} in the journal`,
      counted(total(group, "failures"), "failed write", "failed writes"),
    ],
    notes: [...new Set(group.map((lane) => lane.note))], todo: first.do, command: `shipper retry ${first.sink}`, target: first.source,
  };
}

function isShort(source) {
  return source.retention_headroom_seconds !== null && source.retention_headroom_seconds < source.retention_seconds / 2;
}

function headroom(source) {
  const secs = source.retention_headroom_seconds;
  return {
    key: `headroom ${source.source}`, phrase: PHRASES.headroom, level: "held", word: secs > 0 ? `${span(secs)} left` : "too late", name: source.source, kind: "source",
    reason: "retention", secs: null, where: source.tenant,
    facts: [`${span(source.lag_seconds)} behind, of ${span(source.retention_seconds)} that the tenant keeps its events`], notes: [],
    todo: secs > 0 ? "Let it read again before the tenant deletes what was not read; every hour counts."
      : "The tenant may be deleting events that were not read: let it read again at once, and check retention_days.",
    command: "", target: source.source,
  };
}

function late(lane) {
  return lane.state === "running" && lane.lag_events > 0 && lane.lag_seconds !== null && lane.lag_seconds > BEHIND_SECS;
}

function behind(group) {
  return {
    key: `behind ${group[0].sink}`, phrase: PHRASES.behind, level: "waiting", word: "behind", name: group[0].sink, kind: "sink", reason: "", secs: null,
    where: `from ${listed(group.map((lane) => lane.source))}`,
    facts: [`${span(Math.max(...group.map((lane) => lane.lag_seconds)))} behind`, `${counted(total(group, "lag_events"), "event waits", "events wait")}`],
    notes: [], todo: "It delivers, and has a backlog. If that grows, the destination or the way there is too slow.", command: "", target: group[0].source,
  };
}

function deadLetters(group) {
  const reasons = new Map();
  for (const lane of group) {
    for (const [reason, times] of Object.entries(lane.dead_lettered)) reasons.set(reason, (reasons.get(reason) ?? 0) + times);
  }
  const sink = group[0].sink;
  return {
    key: `dead ${sink}`, level: "notice", word: counted(total(group, "dead_letters"), "dead letter", "dead letters"), name: sink, kind: "sink",
    reason: [...reasons.keys()].join(", "), secs: null, where: `from ${listed(group.map((lane) => lane.source))}`,
    facts: [], notes: [], todo: "These events were refused for good, and are kept whole. Look at the reasons, mend the cause, then requeue or purge them.",
    command: `shipper dead list --sink ${sink}`, target: group[0].source,
  };
}

function leftBehind(group) {
  const sink = group[0].sink;
  return {
    key: `left ${sink}`, level: "notice", word: "not in use", name: sink, kind: "sink", reason: "", secs: null,
    where: `from ${listed(group.map((lane) => lane.source))}`, facts: [`${counted(total(group, "lag_events"), "event keeps its", "events keep their")} place`],
    notes: [], todo: "It is not in use, and events wait for it. Put it back into the configuration, or give them up (shipper forget).",
    command: "", target: group[0].source,
  };
}

function gap(source) {
  const { since, until, may_be_empty: maybe } = source.last_retention_gap;
  return {
    key: `gap ${source.source}`, level: "notice", word: "gap", name: source.source, kind: "source", reason: "retention", secs: null,
    where: source.tenant, facts: [`${moment(since)} to ${moment(until)}${maybe ? ", may be empty" : ""}`], notes: [],
    todo: "The tenant deleted this time before it was read. Look for another copy of it, and check retention_days.",
    command: "", target: source.source,
  };
}

function unread(source) {
  return {
    key: `unread ${source.source}`, level: "notice", word: "no sink", name: source.source, kind: "source", reason: "", secs: null,
    where: source.tenant, facts: [], notes: [],
    todo: "No sink that is in use takes what is read here. Name it in a sink's from_sources, or disable it.",
    command: "", target: source.source,
  };
}

function refused() {
  return {
    key: "reload", level: "notice", word: "reload refused", name: "Configuration", kind: "file", reason: "", secs: null,
    where: "what runs is what it said before", facts: [], notes: [],
    todo: "What stands in the file is not in force. Mend what the log names; this says whether it is in force then:",
    command: "shipper reload", target: null,
  };
}

// The one sentence, and the one below it.
function verdict(status, found) {
  const lanes = status.lanes.filter((lane) => lane.state !== "disabled");
  if (!lanes.length) return { level: "disabled", headline: "Nothing is delivered", subline: "No lane is in use: no enabled sink takes from an enabled source." };
  const known = lanes.some((lane) => lane.lag_seconds !== null);
  if (!known && !found.length) return { level: "notice", headline: "Nothing was read yet", subline: "It has started, and waits for the tenants' first answers." };
  const level = worst([...found.map((problem) => problem.level), "running"]);
  return { level, headline: headline(level, found), subline: subline(level, status.sources, lanes, found) };
}

function headline(level, found) {
  if (level === "running") return "Everything runs";
  if (level === "notice") return `Everything runs; ${found.length === 1 ? "one thing wants" : `${found.length} things want`} a look`;
  const { phrase } = found[0];
  const alike = found.filter((problem) => problem.level === level && problem.phrase === phrase);
  const [names, many] = named(alike);
  return `${names} ${phrase[many ? 1 : 0]}`;
}

// The names of one or two, of more how many; and whether they are more than one.
function named(some) {
  const of = (kind) => [...new Set(some.filter((problem) => problem.kind === kind).map((problem) => problem.name))];
  const [sources, sinks] = [of("source"), of("sink")];
  if (sources.length + sinks.length < 3) return [listed([...sources, ...sinks]), sources.length + sinks.length > 1];
  const parts = [sources.length ? counted(sources.length, "source", "sources") : "", sinks.length ? counted(sinks.length, "sink", "sinks") : ""];
  return [listed(parts.filter(Boolean)), true];
}

function subline(level, sources, lanes, found) {
  const known = lanes.map((lane) => lane.lag_seconds).filter((secs) => secs !== null);
  const running = lanes.filter((lane) => lane.state === "running");
  const most = known.length ? `, at most ${span(Math.max(...known))} behind` : "";
  if (!found.some(({ level: one }) => one !== "notice")) return known.length ? `${counted(lanes.length, "lane delivers", "lanes deliver")}${most}.` : "Nothing was read yet.";
  const stopped = level === "paused" ? [] : sources.filter(inTrouble).map((source) => source.source);
  const rest = !running.length ? "No lane delivers." : running.length === lanes.length ? "All lanes deliver." : `${count(running.length)} of ${counted(lanes.length, "lane", "lanes")} go on.`;
  const overdue = found.some((problem) => problem.level === level && problem.overdue);
  const first = {
    held: "Someone has to act.", paused: "Reading stands still until there is room.",
    waiting: overdue ? "It has lasted too long: someone should look." : "Nobody has to act yet.",
  }[level];
  const source = stopped.length ? ` Nothing new comes from ${listed(stopped, 3)}.` : "";
  const more = level === "held" && found.some((problem) => problem.word === "waiting") ? " Others wait and try again by themselves." : "";
  return `${first}${source} ${rest}${more} ${waiting(waitingEvents(lanes), "Nothing")} in the journal.`;
}
