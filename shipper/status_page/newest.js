// What the newest events of each source tell of: an outcome's share as a bar, and in words. Those that fail most come first.

const OUTCOMES = [["success", "succeeded"], ["failure", "failed"], ["other", "neither"], ["untold", "not told by the type"]];
const MOST_SOURCES = 8;

function drawNewest(status) {
  const found = (status.newest ?? []).filter((source) => source.events);
  const shown = [...found].sort((one, other) => other.outcomes.failure / other.events - one.outcomes.failure / one.events).slice(0, MOST_SOURCES);
  show(document.getElementById("newest"), found.length > 0);
  keep(document.getElementById("newest-list"), shown, (source) => source.source, makeNewest, (row, source) => {
    write(part(row, "name"), source.source);
    write(part(row, "of"), counted(source.events, "event", "events"));
    const told = OUTCOMES.filter(([outcome]) => source.outcomes[outcome]);
    for (const [outcome] of OUTCOMES) part(row, outcome).style.width = `${(100 * source.outcomes[outcome]) / source.events}%`;
    write(part(row, "words"), told.map(([outcome, word]) => `${count(source.outcomes[outcome])} ${word}`).join(" · "));
    write(part(row, "mostly"), `mostly ${listed(source.categories.map(({ category, events }) => `${category} (${count(events)})`))}`);
  });
  write(document.getElementById("newest-more"), found.length > shown.length ? `and ${counted(found.length - shown.length, "more source", "more sources")}, where a smaller part fails` : "");
}

function makeNewest() {
  return element("li", { class: "newest" },
    element("div", {}, element("b", { "data-part": "name" }), " ", element("span", { class: "quiet", "data-part": "of" })),
    element("div", { class: "outcomes", "aria-hidden": "true" }, ...OUTCOMES.map(([outcome]) => element("span", { class: outcome, "data-part": outcome }))),
    element("div", {}, element("div", { "data-part": "words" }), element("div", { class: "quiet", "data-part": "mostly" })));
}
