// Data, state, and the few ways in which the page makes elements. Texts of runs become text nodes, never markup.
const data = JSON.parse(document.getElementById("data").textContent);
const state = { suite: 0, words: "", backbone: "", hidden: new Set(), sort: { key: "rank", up: true } };
const listeners = [];

function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(9).filter((child) => child !== null && child !== undefined));
  return element;
}

function fill(element, ...children) {
  element.replaceChildren(...children.flat(9).filter((child) => child !== null && child !== undefined));
  return element;
}

const none = () => make("span", { class: "none" }, "–");
const known = (value) => typeof value === "number" && Number.isFinite(value);
const board = () => data.boards[state.suite];
const suiteName = (suite) => suite || "runs without a suite";

function score(value) {
  if (!known(value)) return "nan";
  return Math.abs(value) >= 100 ? value.toFixed(1) : value.toFixed(Math.abs(value) >= 10 ? 2 : 4);
}

function whole(value) {
  return known(value) ? Math.round(value).toLocaleString("en") : "–";
}

function time(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 90) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  return seconds < 5400 ? (seconds / 60).toFixed(1) + " min" : (seconds / 3600).toFixed(1) + " h";
}

function size(kilobytes) {
  if (!known(kilobytes)) return "–";
  return kilobytes < 1000 ? kilobytes.toFixed(kilobytes < 10 ? 1 : 0) + " kB" : (kilobytes / 1000).toFixed(1) + " MB";
}

function percent(share) {
  return known(share) ? (100 * share).toPrecision(3) + " %" : "–";
}

function compare(one, other, up) {
  const missing = (value) => value === null || value === undefined || value === "" || Number.isNaN(value);
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  const order = typeof one === "number" ? one - other : String(one).localeCompare(String(other), "en", { numeric: true });
  return up ? order : -order;
}

function choice(label, options, chosen, change) {
  const list = make("select", { onchange: (event) => change(event.target.value) });
  for (const [value, text] of options) list.append(make("option", { value, selected: String(value) === String(chosen) }, text));
  return make("label", {}, label, list);
}

function changed() {
  for (const listener of listeners) listener();
}

function grouped(items, key) {
  const found = new Map();
  for (const item of items) found.set(key(item), found.get(key(item)) || []).get(key(item)).push(item);
  return [...found.values()];
}

let waiting = 0;
function soon() {
  clearTimeout(waiting);
  waiting = setTimeout(changed, 120);
}

// A table that sorts by its heads and shows as many rows as asked, so that thousands stay quick.
function grid(columns, rows, options = {}) {
  const sort = options.sort || { key: null, up: true };
  let shown = options.step || 100;
  const box = make("div", {});
  const draw = () => {
    const column = columns.find((each) => each.key === sort.key);
    const ordered = column ? [...rows].sort((a, b) => compare(column.value(a), column.value(b), sort.up)) : rows;
    const head = make("tr", {}, columns.map((each) => headCell(each, sort, draw)));
    const body = ordered.slice(0, shown).map((row) => (options.row || plainRow)(row, columns));
    const more = make("button", { onclick: () => { shown += 400; draw(); } }, `Show more of ${ordered.length - shown} others`);
    fill(box, make("div", { class: "scroll" }, make("table", { class: options.class }, make("thead", {}, head), make("tbody", {}, body))),
      ordered.length > shown ? make("p", {}, more) : null,
      ordered.length ? null : make("p", { class: "say" }, "Nothing matches."));
  };
  draw();
  return box;
}

function headCell(column, sort, draw) {
  if (!column.value) return make("th", { class: column.text ? "text" : null }, column.name);
  const turn = () => {
    sort.up = sort.key === column.key ? !sort.up : column.up !== false;
    sort.key = column.key;
    draw();
  };
  const now = sort.key === column.key ? (sort.up ? "ascending" : "descending") : null;
  const press = (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); turn(); } };
  return make("th", { class: "sorts" + (column.text ? " text" : ""), "aria-sort": now, tabindex: 0, title: column.title,
    "data-key": column.key, onclick: turn, onkeydown: press }, column.name, column.small ? make("small", {}, column.small) : null);
}

function plainRow(row, columns) {
  return make("tr", {}, columns.map((column) => make("td", { class: [column.text && "text", column.wrap && "wrap"].filter(Boolean).join(" ") || null },
    column.show ? column.show(row) : String(column.value(row) ?? "–"))));
}

// Draws a section's inside when it first comes near the window, and again when filters change.
const near = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); entry.target.wake(); }
}, { rootMargin: "400px" });

function section(id, title, say, draw, follows = true) {
  const body = make("div", {});
  const box = make("section", { id }, make("h2", {}, title), say ? make("p", { class: "say" }, say) : null, body);
  let awake = false;
  box.wake = () => { awake = true; draw(body); };
  if (follows) listeners.push(() => { if (awake) draw(body); });
  near.observe(box);
  return box;
}
