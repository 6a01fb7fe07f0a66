// Keeps the dashboard up to date from GET /health?live=1. What comes from there is put into the
// page as text only, so that no name of a model or session can become markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 800, EVERY = 1000, PATIENCE = 5000, MINUTES = 60;
const TOKENS = { full: "full price", cached: "cached", output: "output", saved: "left out" };
const ENDS = { answered: "full", failed: "cached" };
const TABLES = ["totals", "under_way", "minutes", "sessions", "turns", "chain"];
const by = (id) => document.getElementById(id);
const count = (value) => Math.round(value).toLocaleString("en-US");
const drawn = {};
let paused = false;

function lasting(seconds) {
  const whole = Math.floor(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

function cell(value, form) {
  if (value === null || value === undefined || value === "") return "–";
  if (Array.isArray(value)) return value.join(", ") || "–";
  if (typeof value !== "number") return String(value);
  return { count, money: (v) => v.toFixed(4), time: lasting }[form]?.(value) ?? String(value);
}

// What is as it was stays untouched: a selection, and the place where somebody reads.
function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(name, rows) {
  const table = by(name), body = table.tBodies[0];
  const columns = [...table.tHead.rows[0].cells];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, at) => {
    const line = body.rows[at] ?? body.insertRow();
    columns.forEach(({ dataset: { key, form } }, n) => {
      const made = line.cells[n] ?? line.appendChild(document.createElement(n ? "td" : "th"));
      if (!n) made.scope = "row";
      made.className = form === "text" ? "" : "number";
      put(made, cell(row[key], form));
    });
  });
  table.hidden = rows.length === 0;
  by(`${name}-empty`).hidden = rows.length > 0;
}

// Ids of threads sort by their age.
function offer(names) {
  const list = by("session"), chosen = list.value;
  const all = [...new Set(chosen ? [chosen, ...names] : names)].sort().reverse();
  const there = [...list.options].slice(1).map((option) => option.value);
  if (JSON.stringify(there) === JSON.stringify(all)) return;
  list.replaceChildren(list.options[0], ...all.map((name) => new Option(name, name)));
  list.value = chosen;
}

function shape(kind, attributes, said) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.appendChild(document.createElementNS(SVG, "title")).textContent = said;
  return made;
}

// Bars at their places; each is a list of parts from the bottom up: size, class, what it is.
function bars(id, height, slots, made) {
  const key = JSON.stringify(made);
  if (key === drawn[id]) return;
  drawn[id] = key;
  const most = Math.max(1, ...made.map(({ parts }) => parts.reduce((sum, [size]) => sum + size, 0)));
  const step = WIDTH / slots, shapes = [];
  for (const { at, parts } of made) {
    let top = height;
    for (const [size, part, says] of parts.filter(([size]) => size > 0)) {
      const tall = (size / most) * height;
      top -= tall;
      const place = { x: at * step + step * 0.1, y: top, width: step * 0.8, height: tall };
      shapes.push(shape("rect", { ...place, class: part }, says));
    }
  }
  by(`${id}-bars`).replaceChildren(...shapes);
  return most;
}

function plotMinutes(rows) {
  const made = rows.map((row) => ({
    at: MINUTES - 1 - row.ago,
    parts: Object.entries(ENDS).map(([end, part]) =>
      [row[end], part, `${row.ago} minutes ago: ${count(row[end])} ${end}`]),
  }));
  const most = bars("minutes", 80, MINUTES, made);
  if (most === undefined) return;
  const total = (end) => count(rows.reduce((sum, row) => sum + row[end], 0));
  put(by("minutes-most"), rows.length ? `${count(most)} in a minute` : "none yet");
  put(by("minutes-says"), `${total("answered")} answered, ${total("failed")} failed; ` +
    `at most ${count(most)} in a minute. The table below has the same numbers.`);
}

function plotTurns(rows) {
  const called = ({ session, turn }) => `turn ${turn} of ${session}`;
  const made = rows.map((row, at) => ({
    at,
    parts: Object.entries(TOKENS).map(([part, says]) =>
      [row[part], part, `${called(row)}: ${count(row[part])} ${says}`]),
  }));
  const most = bars("turns", 180, Math.max(rows.length, 12), made);
  if (most === undefined) return;
  const [first, last] = [rows[0], rows[rows.length - 1]];
  put(by("turns-most"), first ? `${count(most)} tokens` : "no turn yet");
  const one = rows.every(({ session }) => session === first.session);
  put(by("turns-told"), !first ? "" : !one ? `the latest ${rows.length} turns`
    : first === last ? `turn ${first.turn}` : `turns ${first.turn} to ${last.turn}`);
  put(by("turns-says"), first
    ? `${rows.length} turns, from ${called(first)} to ${called(last)}; ` +
      `the largest has ${count(most)} tokens. The table below has the same numbers.`
    : "No turn has ended yet.");
}

function show(page) {
  const { live } = page;
  const rows = { ...live, totals: [live.totals], under_way: page.under_way, turns: live.turns.rows };
  for (const name of TABLES) fill(name, rows[name]);
  offer(live.sessions.map(({ session }) => session));
  plotMinutes(live.minutes);
  plotTurns(live.turns.rows);
  put(by("said"), live.said);
}

async function look() {
  const chosen = by("session").value;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const asked = `health?live=1&session=${encodeURIComponent(chosen)}`;
    const answer = await fetch(asked, { cache: "no-store", signal });
    if (answer.status === 401) {
      put(by("said"), "This browser is not signed in any more; load the page again.");
      return;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = await answer.json();
    // Another may have been chosen meanwhile; its numbers are on their way.
    if (chosen === by("session").value) show(page);
  } catch {
    put(by("said"), "No chain answers any more; these are its last numbers. Still trying.");
  }
}

async function keepLooking() {
  if (!paused && !document.hidden) await look();
  setTimeout(keepLooking, EVERY);
}

by("session").addEventListener("change", look);
by("pause").hidden = false;
for (const figure of document.querySelectorAll("figure")) figure.hidden = false;
by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
});
keepLooking();
