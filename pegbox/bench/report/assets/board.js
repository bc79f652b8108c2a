// The leaderboard with its filters, and the table of every run.
function rowsShown() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  return board().rows.filter((row) => (!state.backbone || row.backbone === state.backbone)
    && words.every((word) => `${row.backbone} ${row.method} ${row.extra}`.toLowerCase().includes(word)));
}

const columnsShown = () => board().columns.filter((column) => !state.hidden.has(column.task));
const label = (row) => row.method + (row.extra ? " · " + row.extra : "");

function filters() {
  const bar = make("div", { class: "bar", id: "filters" });
  const draw = () => {
    const backbones = [...new Set(board().rows.map((row) => row.backbone))].sort();
    const search = make("input", { type: "search", placeholder: "Filter backbone or method", "aria-label": "Filter", value: state.words,
      oninput: (event) => { state.words = event.target.value; soon(); } });
    const suites = data.boards.map((each, place) => [place, suiteName(each.suite)]);
    const change = (place) => { state.suite = Number(place); state.hidden.clear(); state.backbone = ""; draw(); changed(); };
    fill(bar, search,
      suites.length > 1 ? choice("suite", suites, state.suite, change) : null,
      backbones.length > 1 ? choice("backbone", [["", "all"], ...backbones.map((name) => [name, name])], state.backbone,
        (name) => { state.backbone = name; changed(); }) : null,
      board().columns.length > 1 ? board().columns.map((column) => chip(column.task)) : null);
  };
  draw();
  return bar;
}

function chip(task) {
  const turn = (event) => {
    state.hidden.has(task) ? state.hidden.delete(task) : state.hidden.add(task);
    event.target.setAttribute("aria-pressed", String(!state.hidden.has(task)));
    changed();
  };
  return make("button", { class: "chip", "aria-pressed": String(!state.hidden.has(task)), onclick: turn }, task);
}

function drawBoard(body) {
  const rows = rowsShown(), columns = columnsShown();
  const ranges = Object.fromEntries(columns.map((column) => [column.task, range(column, rows)]));
  const tasks = columns.map((column) => ({
    key: "task " + column.task, name: column.task, small: `${column.metric} ${column.better === "max" ? "↑" : "↓"}${column.split === "test" ? "" : ", " + column.split}`,
    value: (row) => row.cells[column.task]?.mean, up: column.better === "min", task: column, range: ranges[column.task],
  }));
  const shown = [
    { key: "backbone", name: "backbone", text: true, value: (row) => row.backbone },
    { key: "method", name: "method", text: true, value: label, show: methodCell },
    { key: "rank", name: "rank", small: "mean", value: (row) => row.rank, show: rankCell },
    ...tasks,
    { key: "trained", name: "trained", small: "in the backbone", value: (row) => row.trained,
      show: (row) => [whole(row.trained), make("small", { class: "none" }, ` ${percent(row.share)}`)] },
    { key: "seconds", name: "time", small: "a run", value: (row) => row.seconds, show: (row) => time(row.seconds) },
    { key: "kb", name: "artefact", value: (row) => row.kb, show: (row) => size(row.kb) },
  ];
  fill(body, grid(shown, rows, { sort: state.sort, class: "board", row: boardRow }));
}

function boardRow(row, columns) {
  return make("tr", {}, columns.map((column) => column.task ? scoreCell(row, column)
    : make("td", { class: column.text ? "text" : null }, column.show ? column.show(row) : column.value(row))));
}

const methodCell = (row) => [make("code", {}, row.method), row.extra ? make("span", { class: "extra" }, row.extra) : null];

function rankCell(row) {
  if (!known(row.rank)) return none();
  return [row.rank.toFixed(2), row.ranked < board().columns.length ? make("small", { class: "none" }, ` of ${row.ranked}`) : null];
}

function range(column, rows) {
  const means = rows.map((row) => row.cells[column.task]?.mean).filter(known);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  return { best: column.better === "max" ? high : low, worst: column.better === "max" ? low : high };
}

function scoreCell(row, column) {
  const cell = row.cells[column.task.task];
  if (!cell) return make("td", {}, none());
  const { best, worst } = column.range;
  const share = known(cell.mean) && best !== worst ? (cell.mean - worst) / (best - worst) : known(cell.mean) ? 1 : 0;
  const interval = known(cell.low) ? `95 % interval ${score(cell.low)} to ${score(cell.high)} (${cell.drawn})` : "no interval";
  const title = `${interval}; ${cell.runs.length} run${cell.runs.length > 1 ? "s" : ""}`;
  return make("td", { class: "cell" + (cell.mean === best ? " best" : "") }, make("button", { title, onclick: () => openCell(row, column.task.task) },
    make("span", { class: "fill", style: `width: calc(${(100 * share).toFixed(1)}% - 6px)` }), make("b", {}, score(cell.mean)),
    known(cell.deviation) ? make("small", {}, "±" + score(cell.deviation).replace(/^0/, "")) : null,
    known(cell.low) ? make("small", { style: "display:block" }, `${score(cell.low)} – ${score(cell.high)}`) : null));
}

function drawRuns(body) {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
  const ranked = new Set(data.boards.map((each) => each.suite)); // a suite of sweeps alone has no leaderboard to choose it by
  const rows = data.runs.filter((run) => (run.suite === board()?.suite || !ranked.has(run.suite))
    && (!state.backbone || run.backbone === state.backbone) && words.every((word) => `${run.name} ${run.backbone} ${run.method}`.toLowerCase().includes(word)));
  const columns = [
    { key: "name", name: "run", text: true, value: (run) => run.name,
      show: (run) => make("a", { href: "#run=" + encodeURIComponent(run.name) }, run.name) },
    ...["task", "backbone", "method", "role"].map((key) => ({ key, name: key, text: true, value: (run) => run[key] })),
    { key: "seed", name: "seed", value: (run) => run.seed },
    { key: "fold", name: "fold", value: (run) => run.fold },
    { key: "rate", name: "rate", value: (run) => run.rate },
    { key: "score", name: "score", value: (run) => run.score, up: false, show: (run) => `${score(run.score)} ${run.metric}` },
    { key: "trained", name: "trained", value: (run) => run.parameters.delta, show: (run) => whole(run.parameters.delta) },
    { key: "wall", name: "time", value: (run) => run.wall, show: (run) => time(run.wall) },
    { key: "kb", name: "artefact", value: (run) => run.kb, show: (run) => size(run.kb) },
  ];
  fill(body, make("p", { class: "say" }, `${rows.length.toLocaleString("en")} runs; the filters above hold here too.`), grid(columns, rows, { step: 50 }));
}
