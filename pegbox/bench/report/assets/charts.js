// Charts by plotly: trade-offs, learning curves, layer weights, importance.
const COLOURS = ["#9a4f1c", "#2b7a8b", "#6b8e23", "#8b4a8b", "#c99a1b", "#3f5fa8", "#b5485a", "#4f8f6f", "#7a6a5a", "#d07f4a"];
const SIGNS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "x", "pentagon", "hexagon", "bowtie"];
const plain = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, linecolor: line, zeroline: false, automargin: true, tickfont: { color: soft }, title: { font: { color: soft } } };
  const merged = { font: { family: "system-ui, sans-serif", size: 12, color: ink }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 12, t: 12, b: 46 }, colorway: COLOURS, hoverlabel: { align: "left" }, legend: { orientation: "h", x: 0, y: 1.03, yanchor: "bottom", maxheight: 0.3 }, ...more };
  merged.xaxis = { ...axis, ...more.xaxis };
  merged.yaxis = { ...axis, ...more.yaxis };
  return merged;
}

function plot(element, traces, more, click) {
  Plotly.react(element, traces, layout(more), { displaylogo: false, responsive: true, modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d"] });
  if (click && !element.listens) {
    element.listens = true;
    element.on("plotly_click", (event) => click(event.points[0]));
  }
}

const COSTS = [["trained", "numbers trained in the backbone"], ["seconds", "wall time of a run, seconds"], ["kb", "artefact, kB"]];
const tradeoff = { task: null, cost: "trained" };

function drawTradeoffs(body) {
  const columns = columnsShown();
  if (!columns.length) { fill(body, make("p", { class: "say" }, "No task is chosen.")); return; }
  const column = columns.find((each) => each.task === tradeoff.task) || columns[0];
  const chart = make("div", { class: "chart", id: "tradeoff" });
  const turn = (key) => (value) => { tradeoff[key] = value; drawTradeoffs(body); };
  fill(body, make("div", { class: "bar" }, choice("task", columns.map((each) => [each.task, each.task]), column.task, turn("task")),
    choice("against", COSTS, tradeoff.cost, turn("cost"))), chart);
  const points = rowsShown().filter((row) => known(row.cells[column.task]?.mean)).map((row) => ({ row, x: costOf(row, column), y: row.cells[column.task].mean, cell: row.cells[column.task] }));
  const ticks = spread(points);
  const methods = [...new Set(points.map((point) => label(point.row)))];
  const backbones = [...new Set(points.map((point) => point.row.backbone))];
  const traces = methods.map((method, place) => methodTrace(method, points.filter((point) => label(point.row) === method), place, backbones));
  traces.unshift(front(points, column.better));
  const title = COSTS.find(([key]) => key === tradeoff.cost)[1];
  plot(chart, traces, { xaxis: { type: "log", title: { text: title }, ...ticks }, yaxis: { title: { text: plain(`${column.split} ${column.metric}`) }, autorange: column.better === "min" ? "reversed" : true } },
    (point) => { if (point.customdata) openCell(board().rows[point.customdata[0]], column.task); });
}

// A logarithmic axis has no zero: what costs nothing stands a decade left of all others, and its tick says 0.
function spread(points) {
  const positive = points.map((point) => point.x).filter((x) => x > 0);
  const low = positive.length ? Math.floor(Math.log10(Math.min(...positive))) : 1, high = positive.length ? Math.ceil(Math.log10(Math.max(...positive))) : 1;
  const free = points.some((point) => !(point.x > 0));
  for (const point of points) if (!(point.x > 0)) point.x = 10 ** (low - 1);
  if (high - low < 2 && !free) return {};
  const steps = high - low > 2 ? [1] : [1, 2, 5];
  const values = [...Array(high - low + 1).keys()].flatMap((place) => steps.map((step) => step * 10 ** (low + place)));
  return { tickvals: [...(free ? [10 ** (low - 1)] : []), ...values], ticktext: [...(free ? ["0"] : []), ...values.map(decimal)] };
}

function decimal(value) {
  for (const [unit, name] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) if (value >= unit) return +(value / unit).toPrecision(2) + name;
  return String(+value.toPrecision(2));
}

function costOf(row, column) {
  return tradeoff.cost === "seconds" ? row.cells[column.task].seconds : row[tradeoff.cost];
}

function methodTrace(method, points, place, backbones) {
  const up = points.map(({ cell, y }) => known(cell.high) ? cell.high - y : 0), down = points.map(({ cell, y }) => known(cell.low) ? y - cell.low : 0);
  return { name: plain(method), mode: "markers", x: points.map((point) => point.x), y: points.map((point) => point.y),
    customdata: points.map(({ row }) => [board().rows.indexOf(row)]),
    text: points.map(({ row, cell }) => plain(`${row.backbone}, ${label(row)}`) + `<br>${score(cell.mean)} · ${whole(row.trained)} trained · ${time(row.seconds)}`),
    hovertemplate: "%{text}<extra></extra>", error_y: { type: "data", symmetric: false, array: up, arrayminus: down, thickness: 1, width: 2, color: COLOURS[place % COLOURS.length] + "66" },
    marker: { size: 11, color: COLOURS[place % COLOURS.length], symbol: points.map(({ row }) => SIGNS[backbones.indexOf(row.backbone) % SIGNS.length]) } };
}

// What no other point beats in both cost and score.
function front(points, better) {
  const sign = better === "max" ? 1 : -1;
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || sign * (b.y - a.y)))
    if (!kept.length || sign * (point.y - kept[kept.length - 1].y) > 0) kept.push(point);
  return { name: "Pareto front", mode: "lines", x: kept.map((point) => point.x), y: kept.map((point) => point.y), hoverinfo: "skip", line: { shape: "hv", width: 1.5, dash: "dot", color: "#8a8378" } };
}

const curves = { task: null, what: 3 };
const MEASURES = [[3, "validation score"], [2, "validation loss"], [1, "training loss"]];

function drawCurves(body) {
  const columns = columnsShown();
  if (!columns.length) { fill(body); return; }
  const column = columns.find((each) => each.task === curves.task) || columns[0];
  const turn = (key) => (value) => { curves[key] = key === "what" ? Number(value) : value; drawCurves(body); };
  const chart = make("div", { class: "chart", id: "curves" });
  const all = rowsShown().filter((row) => row.cells[column.task]);
  const rows = all.slice(0, 15);
  fill(body, make("div", { class: "bar" }, choice("task", columns.map((each) => [each.task, each.task]), column.task, turn("task")), choice("show", MEASURES, curves.what, turn("what"))), chart,
    make("p", { class: "say" }, `A line a run, a colour a row of the leaderboard; the star is the step that was chosen. ${rows.length < all.length ? `The first ${rows.length} of ${all.length} rows: filter to see others.` : ""}`));
  plot(chart, rows.flatMap((row, place) => curveTraces(label(row), row.cells[column.task].runs.slice(0, 10), COLOURS[place % COLOURS.length])),
    { xaxis: { title: { text: "step" } }, yaxis: { title: { text: plain(curves.what === 3 ? `validation ${column.metric}` : MEASURES.find(([key]) => key === curves.what)[1]) } } },
    (point) => openRun(point.customdata));
}

// All runs of a row are one trace, with gaps between them: ten times quicker than a trace a run.
function curveTraces(name, runs, color) {
  const points = runs.flatMap((place) => [...data.runs[place].curve.map((point) => [point[0], point[curves.what], place]), [null, null, place]]);
  const best = points.filter(([step, , place]) => step !== null && step === data.runs[place].facts.best_step);
  const trace = (kept, more) => ({ name: plain(name), legendgroup: plain(name), x: kept.map((point) => point[0]), y: kept.map((point) => point[1]), customdata: kept.map((point) => point[2]),
    text: kept.map((point) => plain(data.runs[point[2]].name)), hovertemplate: "%{text}<br>step %{x}: %{y}<extra></extra>", ...more });
  return [trace(points, { mode: "lines", line: { width: 1.5, color } }), trace(best, { mode: "markers", showlegend: false, marker: { symbol: "star", size: 12, color, line: { width: 0 } } })];
}

function heat(x, y, z, more = {}) {
  const dark = getComputedStyle(document.documentElement).colorScheme.includes("dark") || matchMedia("(prefers-color-scheme: dark)").matches && document.documentElement.dataset.theme !== "light";
  const scale = dark ? [[0, "#26241f"], [0.5, "#9a6a35"], [1, "#f6c58c"]] : [[0, "#faf6ef"], [0.5, "#d99a5b"], [1, "#7c3507"]];
  return { type: "heatmap", x, y, z, colorscale: scale, xgap: 1, ygap: 1, colorbar: { thickness: 10, outlinewidth: 0 }, ...more };
}

const layers = { task: null };

function drawLayers(body) {
  const columns = columnsShown().filter((column) => rowsShown().some((row) => row.cells[column.task]?.runs.some((run) => data.runs[run].layers.length)));
  if (!columns.length) { fill(body, make("p", { class: "say" }, "No run shown here has learnt weights of layers.")); return; }
  const column = columns.find((each) => each.task === layers.task) || columns[0];
  const rows = rowsShown().map((row) => [row, meanLayers(row.cells[column.task])]).filter(([, found]) => found).slice(0, 40).reverse();
  const chart = make("div", { class: "chart", id: "layers", style: `height: ${Math.max(200, 90 + 26 * rows.length)}px` });
  fill(body, make("div", { class: "bar" }, choice("task", columns.map((each) => [each.task, each.task]), column.task, (task) => { layers.task = task; drawLayers(body); })), chart);
  const most = Math.max(...rows.map(([, found]) => found.length));
  const names = rows.map(([row], place) => plain(`${row.backbone} ${label(row)}`).slice(0, 44) + "\u200b".repeat(place));
  plot(chart, [heat([...Array(most).keys()], names, rows.map(([, found]) => found), { hovertemplate: "%{y}<br>layer %{x}: %{z:.3f}<extra></extra>" })],
    { xaxis: { title: { text: "hidden state" }, dtick: 1, showgrid: false }, yaxis: { showgrid: false } });
}

function meanLayers(cell) {
  const found = (cell?.runs || []).map((run) => data.runs[run].layers).filter((each) => each.length);
  return found.length ? found[0].map((_, place) => found.reduce((total, each) => total + each[place], 0) / found.length) : null;
}

const TABLES = [["mass", "part of all importance that the most important entries hold"], ["block", "importance by block"], ["role", "importance by role"]];

function importanceCharts(reports) {
  const boxes = TABLES.map(([key, title]) => [key, make("div", {}, make("h3", {}, title), make("div", { class: "chart low" }))]);
  const draw = () => boxes.forEach(([key, box]) => {
    const traces = reports.filter(([, report]) => report[key]).map(([name, report], place) => importanceTrace(key, plain(name), report[key], place));
    plot(box.lastChild, traces, key === "mass"
      ? { xaxis: { type: "log", dtick: 1, title: { text: "share P of all entries" } }, yaxis: { range: [0, 1.02] } }
      : { xaxis: { rangemode: "tozero" }, yaxis: { type: "category", autorange: "reversed" }, barmode: "group", showlegend: false });
  });
  return [make("div", { class: "pair" }, boxes.map(([, box]) => box)), draw];
}

function importanceTrace(key, name, table, place) {
  const rows = Object.entries(table), colour = COLOURS[place % COLOURS.length];
  if (key === "mass") {
    const points = rows.map(([share, part]) => [Number(share), part]).sort((a, b) => a[0] - b[0]);
    return { name, mode: "lines+markers", x: points.map((each) => each[0]), y: points.map((each) => each[1]), line: { color: colour }, hovertemplate: "P = %{x}: %{y:.3f}<extra></extra>" };
  }
  return { name, type: "bar", orientation: "h", y: rows.map(([part]) => plain(part)), x: rows.map(([, row]) => row[0]), marker: { color: colour },
    customdata: rows.map(([, row]) => [row[2], row[1]]), hovertemplate: "%{y}: %{x:.3f} of the importance, %{customdata[0]} of %{customdata[1]} entries chosen<extra></extra>" };
}

function drawImportance(body) {
  const found = rowsShown().flatMap((row) => columnsShown().flatMap((column) => (row.cells[column.task]?.runs || []).slice(0, 1)
    .flatMap((run) => Object.entries(data.runs[run].importance).map(([method, report]) => [`${column.task}, ${row.backbone}, ${method}`, report])))).slice(0, 8);
  if (!found.length) { fill(body, make("p", { class: "say" }, "No run shown here has measured importance.")); return; }
  const [charts, draw] = importanceCharts(found);
  fill(body, charts);
  draw();
}
