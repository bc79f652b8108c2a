// What one cell or run is made of: scores, recipe, the command that runs it again, curve, layers, confusions, clips.
const dialog = document.getElementById("dialog");

function openCell(row, task) {
  const cell = row.cells[task];
  show(`${row.backbone} · ${label(row)}`, `${task}: ${cell.runs.length} run${cell.runs.length > 1 ? "s" : ""}`, cell.runs, cell.runs[0]);
}

function openRun(place) {
  const run = data.runs[place];
  show(`${run.backbone} · ${run.method}`, run.task, [place], place);
}

function show(title, below, runs, first) {
  const body = make("div", {});
  const pick = (place) => { history.replaceState(null, "", "#run=" + encodeURIComponent(data.runs[place].name)); drawRun(body, data.runs[place]); };
  const picker = runs.length > 1 ? make("div", { class: "bar" }, choice("run", runs.map((place) => [place, runName(data.runs[place])]), first, (place) => pick(Number(place)))) : null;
  fill(dialog, make("div", { class: "head" }, make("div", {}, make("h2", {}, title), make("span", { class: "none" }, below), picker),
    make("button", { onclick: () => dialog.close(), "aria-label": "Close" }, "Close")), body);
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  pick(first);
}

dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function runName(run) {
  return `seed ${run.seed}${run.fold === null ? "" : `, fold ${run.fold}`}: ${score(run.score)}`;
}

function list(pairs) {
  return make("div", { class: "list" }, pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => make("div", {}, make("span", {}, name), make("span", {}, value))));
}

function drawRun(body, run) {
  const counts = run.parameters, facts = run.facts;
  const scores = Object.entries(run.scores).flatMap(([split, found]) => Object.entries(found).map(([name, value]) => [`${split} ${name}`, score(value)]));
  const parts = [
    make("h3", {}, run.name), list(scores),
    make("h3", {}, "Cost"),
    list([["trained in the backbone", `${whole(counts.delta)} (${percent(counts.share)})`], ["head", whole(counts.head)], ["layer weights", whole(counts.layers)], ["backbone", whole(counts.backbone)],
      ["artefact", size(run.kb)], ["wall time", time(run.wall)], ...Object.entries(run.seconds).map(([name, value]) => [`  ${name}`, time(value)]),
      ["steps", whole(facts.steps)], ["chosen step", whole(facts.best_step)], ["stopped", facts.stopped], ["role", run.role], ["rate", run.rate],
      ...Object.entries(facts.clips || {}).map(([name, value]) => [`clips, ${name}`, whole(value)])]),
    make("h3", {}, "Run it again"), copied(run.again),
    make("h3", {}, "Recipe"), copied(run.recipe),
  ];
  fill(body, parts);
  const later = [[run.curve.length, "Learning curve", runCurve], [run.layers.length, "Weights of the layer sum", runLayers], [run.confusion.length, "Confusions: rows true, columns said", runConfusion]];
  const charts = make("div", { class: "pair" });
  body.insertBefore(charts, body.children[4]);
  const boxes = later.filter(([there]) => there).map(([, title, draw]) => [draw, make("div", {}, make("h3", {}, title), make("div", { class: "chart low" }))]);
  charts.append(...boxes.map(([, box]) => box)); // all of them first: a chart takes the width that it finds
  for (const [draw, box] of boxes) draw(box.lastChild, run);
  if (run.samples.length) body.append(make("div", {}, make("h3", {}, "What it says"), sayMissing(), spokenTable(run.samples.map((sample) => [run, sample]), false)));
  if (run.worst.length) body.append(make("h3", {}, "Worst clips"), worstTable(run));
  if (Object.keys(run.importance).length) {
    const [box, draw] = importanceCharts(Object.entries(run.importance));
    body.append(box);
    draw();
  }
}

function copied(text) {
  const button = make("button", { onclick: () => navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }) }, "Copy");
  return make("div", {}, make("pre", {}, text), button);
}

function runCurve(chart, run) {
  const x = run.curve.map((point) => point[0]), at = (place) => run.curve.map((point) => point[place]);
  const best = run.curve.find((point) => point[0] === run.facts.best_step);
  const traces = [{ name: "training loss", x, y: at(1), mode: "lines", line: { color: "#8a8378" } }, { name: "validation loss", x, y: at(2), mode: "lines", line: { color: "#2b7a8b" } },
    { name: plain(`validation ${run.metric}`), x, y: at(3), mode: "lines+markers", yaxis: "y2", line: { color: "#9a4f1c" }, marker: { size: 4 } }];
  if (best) traces.push({ name: "chosen", x: [best[0]], y: [best[3]], mode: "markers", yaxis: "y2", marker: { symbol: "star", size: 13, color: "#9a4f1c" }, showlegend: false });
  plot(chart, traces, { margin: { l: 46, r: 46, t: 8, b: 40 }, xaxis: { title: { text: "step" } }, yaxis: { title: { text: "loss" } }, yaxis2: { overlaying: "y", side: "right", showgrid: false, automargin: true } });
}

function runLayers(chart, run) {
  plot(chart, [{ type: "bar", x: run.layers.map((_, place) => place), y: run.layers, marker: { color: "#9a4f1c" }, hovertemplate: "layer %{x}: %{y:.3f}<extra></extra>" }],
    { xaxis: { dtick: 1, title: { text: "hidden state" } }, yaxis: { rangemode: "tozero" } });
}

function runConfusion(chart, run) {
  const z = run.classes.map(() => run.classes.map(() => 0));
  for (const [true_, said, count] of run.confusion) z[true_][said] = count;
  const rows = z.map((row) => row.map((count) => count / Math.max(1, row.reduce((a, b) => a + b, 0))));
  const names = run.classes.map((name, place) => plain(name).slice(0, 18) + "\u200b".repeat(place));
  plot(chart, [heat(names, names, rows, { customdata: z, hovertemplate: "true %{y}, said %{x}: %{customdata} clips, %{z:.0%} of the row<extra></extra>" })],
    { margin: { l: 60, r: 8, t: 8, b: 60 }, xaxis: { showgrid: false, type: "category" }, yaxis: { autorange: "reversed", showgrid: false, type: "category" } });
}

function player(corpus, clip) {
  return played(data.sounds[corpus]?.[clip]);
}

function played(address) {
  return address ? make("audio", { controls: true, preload: "none", src: address }) : null;
}

// What synthesis runs say of test clips, each beside its recording.
function spokenTable(samples, several) {
  const heard = samples.some(([, sample]) => sample[2]);
  return grid([
    { key: "id", name: "clip", text: true, wrap: true, value: ([, sample]) => sample[0] },
    ...(several ? ["task", "backbone", "method", "seed"].map((key) => ({ key, name: key, text: true, value: ([run]) => run[key] })) : []),
    { key: "true", name: "text", text: true, wrap: true, value: ([, sample]) => sample[1] },
    heard && { key: "heard", name: "understood", text: true, wrap: true, value: ([, sample]) => sample[2] },
    { key: "said", name: "as said", text: true, show: ([run, sample]) => played(data.said[run.name]?.[sample[0]]) || none() },
    { key: "recording", name: "recording", text: true, show: ([run, sample]) => player(run.corpus, sample[0]) || none() },
  ].filter(Boolean), samples, { sort: { key: "id", up: true }, step: 30 });
}

function sayMissing() {
  return data.about.audio === "none" ? make("p", { class: "say" }, "This report was made without sounds; the option --audio embed puts them into the page.") : null;
}

function drawSpoken(body) {
  const runs = new Set(rowsShown().flatMap((row) => columnsShown().flatMap((column) => row.cells[column.task]?.runs || [])));
  fill(body, sayMissing(), spokenTable([...runs].flatMap((place) => data.runs[place].samples.map((sample) => [data.runs[place], sample])), true));
}

function worstTable(run) {
  return grid([
    { key: "id", name: "clip", text: true, wrap: true, value: (row) => row[0] },
    { key: "true", name: "true", text: true, wrap: true, value: (row) => row[1] },
    { key: "said", name: "said", text: true, wrap: true, value: (row) => row[2] },
    { key: "wrong", name: "how wrong", value: (row) => row[3], up: false, show: (row) => row[3].toFixed(3) },
    ...(data.sounds[run.corpus] ? [{ key: "sound", name: "sound", text: true, show: (row) => player(run.corpus, row[0]) || none() }] : []),
  ], run.worst);
}

// Clips that stand among the worst of many runs.
function drawHard(body) {
  const rows = rowsShown().flatMap((row) => columnsShown().flatMap((column) => (row.cells[column.task]?.runs || []).map((run) => data.runs[run])));
  const found = new Map();
  for (const run of rows) for (const [id, true_, said] of run.worst) {
    const key = run.corpus + "\0" + id;
    const clip = found.get(key) || { id, task: run.task, corpus: run.corpus, true: true_, said: new Map(), runs: 0 };
    clip.runs += 1;
    clip.said.set(said, (clip.said.get(said) || 0) + 1);
    found.set(key, clip);
  }
  const said = (clip) => [...clip.said].sort((a, b) => b[1] - a[1]).slice(0, 3).map(([text, count]) => (count > 1 ? `${text} (${count}×)` : text)).join(", ");
  const audio = Object.keys(data.sounds).length > 0;
  fill(body, sayMissing(), grid([
    { key: "task", name: "task", text: true, value: (clip) => clip.task },
    { key: "id", name: "clip", text: true, wrap: true, value: (clip) => clip.id },
    { key: "true", name: "true", text: true, wrap: true, value: (clip) => clip.true },
    { key: "said", name: "said most often", text: true, wrap: true, value: said },
    { key: "runs", name: "runs", title: "Runs that have it among their worst", value: (clip) => clip.runs, up: false },
    ...(audio ? [{ key: "sound", name: "sound", text: true, show: (clip) => player(clip.corpus, clip.id) || none() }] : []),
  ], [...found.values()], { sort: { key: "runs", up: false }, step: 12 }));
}
