// The page: head, sections in their order, permanent links, light and dark.
function head() {
  const fact = (count, one, many) => make("span", {}, make("b", {}, count.toLocaleString("en")), " ", count === 1 ? one : many);
  const all = (key) => new Set(data.runs.map((run) => run[key])).size;
  const turn = () => {
    const dark = document.documentElement.dataset.theme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    changed();
  };
  fill(document.getElementById("top"), make("div", { class: "grow" }, make("h1", {}, data.about.title),
    make("div", { class: "facts" }, fact(data.runs.length, "run done", "runs done"), fact(all("method"), "method", "methods"), fact(all("backbone"), "backbone", "backbones"), fact(all("task"), "task", "tasks"),
      ["running", "waiting", "skipped"].map((state) => data.counts[state] ? make("span", {}, `${data.counts[state].toLocaleString("en")} ${state}`) : null),
      data.failed.length ? make("span", { class: "defect" }, `${data.failed.length} failed`) : null, make("span", {}, `made ${data.about.made} by Pegbox ${data.about.version}`))),
  make("button", { id: "theme", onclick: turn, "aria-label": "Light or dark" }, "◐"));
}

function drawPublished(body) {
  const own = new Set(data.boards.map((each) => each.suite));
  const tables = grouped(data.published, (number) => `${number.source}\0${number.table}`);
  const told = Object.entries(data.certainties).map(([name, text]) => `${name}: ${text}`).join("; ");
  const ordered = tables.sort((a, b) => (b[0].suite === board()?.suite) - (a[0].suite === board()?.suite));
  fill(body, make("p", { class: "say" }, told + "."), ordered.map((numbers) => publishedTable(numbers, own.has(numbers[0].suite))));
}

function publishedTable(numbers, open) {
  const first = numbers[0], key = (number) => `${number.task} \0${number.metric}`;
  const columns = [...new Map(numbers.map((number) => [key(number), number])).values()];
  const rows = grouped(numbers, (number) => `${number.backbone}\0${number.method}`);
  const faults = new Set(numbers.filter((number) => number.defect).map((number) => number.defect));
  const find = (row, column) => row.find((number) => key(number) === key(column));
  const shown = [
    { key: "backbone", name: "backbone", text: true, value: (row) => row[0].backbone },
    { key: "method", name: "method", text: true, value: (row) => row[0].method, show: (row) => [row[0].method, row[0].defect ? make("span", { class: "extra" }, make("span", { class: "defect" }, "defect: " + row[0].defect)) : null] },
    ...columns.map((column) => ({ key: key(column), name: column.task, small: [column.metric, column.unit].filter(Boolean).join(", "), up: false, value: (row) => find(row, column)?.value, show: (row) => publishedValue(find(row, column)) })),
    numbers.some((number) => known(number.trained)) && { key: "trained", name: "trained", value: (row) => row[0].trained, show: (row) => whole(row[0].trained) },
    { key: "certainty", name: "certainty", text: true, value: (row) => row[0].certainty, show: (row) => make("span", { class: "tag" }, row[0].certainty) },
  ].filter(Boolean);
  const notes = [...new Set(numbers.map((number) => number.note).filter(Boolean))].join("; ");
  return make("details", { open }, make("summary", {}, make("b", {}, first.table), make("span", { class: "none" }, ` ${first.source}, ${first.reference} `), faults.size ? make("span", { class: "defect" }, "known defects") : null),
    notes ? make("p", { class: "say" }, notes + ".") : null, grid(shown, rows, { step: 40, row: (row, all) => publishedRow(row, all) }));
}

function publishedValue(number) {
  if (!number) return none();
  return make("span", { class: number.defect ? "struck" : null }, `${number.value}${known(number.deviation) ? " ± " + number.deviation : ""}`);
}

function publishedRow(row, columns) {
  const drawn = plainRow(row, columns);
  if (row[0].defect) drawn.classList.add("faulty");
  return drawn;
}

function drawFailed(body) {
  fill(body, grid([
    { key: "name", name: "run", text: true, wrap: true, value: (failed) => failed.name },
    { key: "kind", name: "kind", text: true, value: (failed) => failed.kind },
    { key: "message", name: "message", text: true, wrap: true, value: (failed) => failed.message },
  ], data.failed));
}

function drawPlanned(body) {
  const order = ["running", "waiting", "skipped"];
  fill(body, grid([
    { key: "state", name: "state", text: true, value: (run) => order.indexOf(run.state), show: (run) => make("span", { class: "tag" }, run.state) },
    ...["suite", "task", "backbone", "method", "role"].map((key) => ({ key, name: key, text: true, value: (run) => run[key] })),
    ...["seed", "fold", "rate"].map((key) => ({ key, name: key, value: (run) => (run.state === "skipped" ? null : run[key]) })),
    { key: "reason", name: "reason", text: true, wrap: true, value: (run) => run.reason },
  ], data.planned, { sort: { key: "state", up: true }, step: 50 }));
}

function drawNotes(body) {
  fill(body, make("ul", {}, data.notes.slice(0, 200).map((note) => make("li", {}, note))),
    data.notes.length > 200 ? make("p", { class: "say" }, `… and ${data.notes.length - 200} more`) : null);
}

function sections() {
  const boards = data.boards.length > 0;
  const sweep = data.about.sweep ? ` ${data.about.sweep} runs of a sweep chose rates on validation and stand only among the runs.` : "";
  const found = [
    boards && ["board", "Leaderboard", "Mean over seeds and folds, ± their deviation; below it the 95 % bootstrap interval over what was tested. Heads sort, a score opens its runs." + sweep, drawBoard],
    boards && ["tradeoffs", "Score against cost", "Up is better. A colour a method, a sign a backbone; nothing beats the dotted front in both.", drawTradeoffs],
    boards && ["learning", "Learning curves", null, drawCurves],
    boards && ["errors", "Clips that are hard", "Clips that most runs have among their worst. A run's own confusions and worst clips open with its score.", drawHard],
    boards && data.runs.some((run) => run.samples.length) && ["spoken", "What was said", "Test clips as synthesis runs say them, each beside its recording.", drawSpoken],
    boards && ["layersum", "Layers", "Softmax weights of the trained layer sum, mean over a cell's runs. State 0 is what enters the first block.", drawLayers],
    boards && data.runs.some((run) => Object.keys(run.importance).length) && ["children", "Child networks", "Where the task's gradient says importance lies, before training.", drawImportance],
    data.runs.length && ["runs", "All runs", null, drawRuns],
    data.planned.length && ["planned", "Not done", "What the matrix of these folders plans and nobody has finished: running now, waiting, or skipped because it cannot be. A rate that is missing has yet to be chosen by a sweep.", drawPlanned],
    data.published.length && ["published", "Published numbers", "Not of these runs: other code, data and hardware. What is known to be wrong with a number is said beside it.", drawPublished],
    data.failed.length && ["failed", "Failed runs", null, drawFailed],
    data.notes.length && ["notes", "Notes", null, drawNotes],
  ].filter(Boolean);
  const main = document.getElementById("main");
  fill(main, found.map(([id, title, say, draw]) => section(id, title, say, draw)), make("footer", {}, "The same tables: report.md, report.tex, leaderboard.csv, runs.csv beside this page."));
  if (boards) document.getElementById("board").lastChild.before(filters());
  fill(document.getElementById("nav"), make("div", {}, found.map(([id, title]) => make("a", { href: "#" + id }, title))));
}

function follow() {
  const name = location.hash.startsWith("#run=") ? decodeURIComponent(location.hash.slice(5)) : null;
  const place = name === null ? -1 : data.runs.findIndex((run) => run.name === name);
  if (place >= 0) openRun(place);
}

head();
sections();
follow();
addEventListener("hashchange", follow);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
