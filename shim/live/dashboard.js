// Keeps the dashboard up to date from GET /health?live=1. What comes from there is put into the
// page as text only, so that no name of a model or session can become markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 800, HEIGHT = 180, EVERY = 1000, PATIENCE = 5000;
const PARTS = { full: "full price", cached: "cached", output: "output", saved: "left out" };
const TABLES = ["totals", "under_way", "sessions", "turns", "chain"];
const by = (id) => document.getElementById(id);
const count = (value) => Math.round(value).toLocaleString("en-US");
let paused = false, drawn = "";

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

function offer(names) {
  const list = by("session"), chosen = list.value;
  if (chosen && !names.includes(chosen)) names = [chosen, ...names];
  const there = [...list.options].slice(1).map((option) => option.value);
  if (JSON.stringify(there) === JSON.stringify(names)) return;
  list.replaceChildren(list.options[0], ...names.map((name) => new Option(name, name)));
  list.value = chosen;
}

function shape(kind, attributes, said) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.appendChild(document.createElementNS(SVG, "title")).textContent = said;
  return made;
}

function plot(rows) {
  const key = JSON.stringify(rows);
  if (key === drawn) return;
  drawn = key;
  const parts = Object.keys(PARTS);
  const most = Math.max(1, ...rows.map((row) => parts.reduce((sum, part) => sum + row[part], 0)));
  const step = WIDTH / Math.max(rows.length, 12), shapes = [];
  rows.forEach((row, at) => {
    let y = HEIGHT;
    for (const part of parts.filter((part) => row[part] > 0)) {
      const height = (row[part] / most) * HEIGHT;
      y -= height;
      const place = { x: at * step + step * 0.1, y, width: step * 0.8, height, class: part };
      shapes.push(shape("rect", place, `turn ${row.turn}: ${count(row[part])} ${PARTS[part]}`));
    }
  });
  by("bars").replaceChildren(...shapes);
  const [first, last] = [rows[0], rows[rows.length - 1]];
  put(by("most"), first ? `${count(most)} tokens` : "no turn yet");
  put(by("first"), first ? `turn ${first.turn}` : "");
  put(by("last"), first && rows.length > 1 ? `to turn ${last.turn}` : "");
  put(by("plot-says"), first
    ? `Turns ${first.turn} to ${last.turn}; the largest has ${count(most)} tokens. ` +
      "The table below has the same numbers."
    : "No turn of this session has ended yet.");
}

// Spoken by a screen reader whenever it changes: so nothing in it changes by the second.
function said({ totals, chain }) {
  const unwell = chain.filter(({ what }) => what.startsWith("provider "));
  const wrong = chain.filter(({ what, says }) => what === "recording" && says.startsWith("failing"));
  const parts = [`Turns: ${count(totals.turns)}, errors: ${count(totals.errors)}`];
  for (const { what, says } of [...wrong, ...unwell]) parts.push(`${what} ${says}`);
  return parts.join("; ") + ".";
}

function show(page) {
  const { live } = page;
  const rows = { ...live, totals: [live.totals], under_way: page.under_way, turns: live.turns.rows };
  for (const name of TABLES) fill(name, rows[name]);
  offer(live.sessions.map(({ session }) => session));
  plot(live.turns.rows);
  put(by("said"), said(live));
}

async function look() {
  try {
    const session = encodeURIComponent(by("session").value);
    const signal = AbortSignal.timeout(PATIENCE);
    const answer = await fetch(`health?live=1&session=${session}`, { cache: "no-store", signal });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.json());
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
by("pause").addEventListener("click", () => {
  paused = !paused;
  by("pause").setAttribute("aria-pressed", String(paused));
});
keepLooking();
