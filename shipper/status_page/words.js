// How figures are written. "–" is what is not known.

const WHOLE = new Intl.NumberFormat("en");

function count(number) {
  return number === null || number === undefined ? "–" : WHOLE.format(number);
}

function counted(number, one, many) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

function span(secs) {
  if (secs === null || secs === undefined) return "–";
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (secs >= 2 * size) {
      const value = secs / size;
      return `${value >= 10 ? Math.round(value) : Math.round(value * 10) / 10} ${unit}`;
    }
  }
  return secs >= 10 ? `${Math.round(secs)} s` : `${Math.round(secs * 10) / 10} s`;
}

// For how long, and since when: what was changed at that time is the first question.
function lasting(secs, at) {
  const began = at - 1000 * secs;
  return `${span(secs)}, since ${secs < 86400 ? clock(began, false) : moment(began)}`;
}

function left(secs) {
  return secs > 0 ? span(secs) : "none";
}

function rate(perSecond) {
  if (perSecond === null) return "–";
  return `${perSecond > 0 && perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond))}/s`;
}

function bytes(number) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (number >= size) return `${(number / size).toFixed(1)} ${unit}`;
  }
  return `${count(number)} B`;
}

function share(part, whole) {
  const percent = whole > 0 ? (100 * part) / whole : 0;
  return percent > 0 && percent < 1 ? "under 1 %" : `${Math.floor(percent)} %`;
}

function clock(at, seconds = true) {
  const text = new Date(at).toISOString();
  return text.slice(11, seconds ? 19 : 16);
}

function moment(at) {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? `${at} ms` : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

// "a, b and c"; of many, the first few and how many more.
function listed(names, most = 6) {
  if (names.length > most) return `${names.slice(0, most).join(", ")} and ${names.length - most} more`;
  if (names.length < 2) return names.join("");
  return `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
}
