// the cells: filtered in memory, a page of them in the document; text only ever becomes text, never markup
(() => {
  if (!cells) return;
  const { data, solved, judged, money } = cells;
  const { INSTANCE, MODEL, VERDICT, RESOLVED, EXIT, PAGE_THERE, COST, CALLS, SECONDS, FLAGS } = cells.at;
  const form = document.getElementById("filters");
  const table = document.getElementById("cells-table");
  const pager = document.getElementById("pager");
  const summary = document.getElementById("summary");
  const all = document.getElementById("all-cells");
  const PAGE = 60;
  let only = null;

  const disagree = (row) => solved[row[INSTANCE]] > 0 && solved[row[INSTANCE]] < judged[row[INSTANCE]];
  const searched = data.rows.map((row) =>
    `${data.instances[row[INSTANCE]]} ${data.models[row[MODEL]]} ${data.verdicts[row[VERDICT]]} ${data.exits[row[EXIT]]} ${row[FLAGS] ?? ""}`.toLowerCase());

  const columns = [
    ["instance", (row) => data.instances[row[INSTANCE]], (row) => data.instances[row[INSTANCE]]],
    ["model", (row) => data.models[row[MODEL]], (row) => data.models[row[MODEL]]],
    ["verdict", (row) => data.verdicts[row[VERDICT]], (row) => data.verdicts[row[VERDICT]]],
    [`${cells.moneyKind}cost`, (row) => row[COST], (row) => money(row[COST]), true],
    ["calls", (row) => row[CALLS], (row) => text(row[CALLS]), true],
    ["time", (row) => row[SECONDS], (row) => duration(row[SECONDS]), true],
    ["resolved by", (row) => solved[row[INSTANCE]], (row) => `${solved[row[INSTANCE]]} of ${judged[row[INSTANCE]]}`, true],
    ["exit", (row) => data.exits[row[EXIT]], (row) => data.exits[row[EXIT]]],
    ["flags", (row) => row[FLAGS] ?? "", (row) => row[FLAGS] ?? ""],
  ].filter(([name, value]) => ["instance", "model"].includes(name) || data.rows.some((row) => value(row) !== null && value(row) !== ""));
  const order = { column: null, sign: 1 };
  let shown = [];
  let page = 0;

  const text = (value) => (value === null ? "–" : String(value));
  function duration(value) {
    if (value === null) return "–";
    if (value < 59.95) return `${value.toFixed(1)} s`;
    const seconds = Math.round(value), minutes = Math.floor(seconds / 60), rest = (n) => String(n).padStart(2, "0");
    return minutes < 60 ? `${minutes} min ${rest(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${rest(minutes % 60)} min`;
  }

  function choices(name, labels) {
    const select = form.elements[name];
    if (!labels || labels.length < 2) { select.closest("label").remove(); return; }
    for (const [value, label] of labels) select.append(new Option(label, value));
  }
  const numbered = (names) => names.map((name, k) => [k, name]);
  choices("model", numbered(data.models));
  choices("verdict", numbered(data.verdicts));
  choices("repository", numbered(data.repositories));
  choices("cluster", data.of_cluster && [...new Set(data.of_cluster)].filter((k) => k >= 0).sort((a, b) => a - b).map((k) => [k, k]));

  columns.forEach(([name, , , numeric], k) => {
    const head = document.createElement("th");
    const button = document.createElement("button");
    head.scope = "col";
    head.className = numeric ? "num" : "";
    head.setAttribute("aria-sort", "none");
    button.type = "button";
    button.textContent = name;
    head.append(button);
    button.addEventListener("click", () => {
      order.sign = order.column === k ? -order.sign : numeric ? -1 : 1;
      order.column = k;
      for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order.sign > 0 ? "ascending" : "descending");
      update();
    });
    table.tHead.rows[0].append(head);
  });
  if (data.folders) {
    const head = document.createElement("th");
    head.scope = "col";
    head.textContent = "open";
    table.tHead.rows[0].append(head);
  }

  function update() {
    const value = (name) => form.elements[name]?.value ?? "";
    const words = value("text").toLowerCase().split(/\s+/).filter(Boolean);
    const is = (name, actual) => value(name) === "" || Number(value(name)) === actual;
    shown = [];
    data.rows.forEach((row, k) => {
      if (only && (cells.name(row) !== only.cell || (only.model !== null && cells.model(row) !== only.model))) return;
      if (is("model", row[MODEL]) && is("verdict", row[VERDICT]) && is("repository", data.of_repository[row[INSTANCE]])
        && is("cluster", data.of_cluster ? data.of_cluster[row[INSTANCE]] : -1)
        && (!form.elements.disagree.checked || disagree(row)) && words.every((word) => searched[k].includes(word))) shown.push(row);
    });
    if (order.column !== null) {
      const of = columns[order.column][1];
      shown.sort((a, b) => (of(a) === null || of(b) === null ? (of(a) === null) - (of(b) === null) : order.sign * compare(of(a), of(b))));
    } else if (data.disagreements_first) {
      shown.sort((a, b) => disagree(b) - disagree(a));
    }
    page = 0;
    draw();
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const resolved = shown.filter((row) => row[RESOLVED] === 1).length;
    all.hidden = !only;
    summary.textContent = `${shown.length.toLocaleString("en")} of ${data.rows.length.toLocaleString("en")} cells, ${resolved.toLocaleString("en")} resolved`
      + (data.clipped ? `; ${data.clipped.toLocaleString("en")} more are only in outcomes.csv` : "");
    table.tBodies[0].replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(drawn));
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `page ${page + 1} of ${pages}`;
    pager.firstElementChild.disabled = page === 0;
    pager.lastElementChild.disabled = page === pages - 1;
  }

  function drawn(row) {
    const line = document.createElement("tr");
    for (const [name, , label, numeric] of columns) {
      const cell = line.insertCell();
      if (["instance", "model"].includes(name)) {
        const link = document.createElement("a");
        link.href = name === "model" ? cells.link(cells.name(row), cells.model(row)) : cells.link(cells.name(row));
        link.textContent = label(row);
        cell.append(link);
      } else cell.textContent = label(row);
      if (numeric) cell.className = "num";
      if (!["instance", "model", "verdict"].includes(name)) cell.dataset.name = name;
      if (name === "flags") cell.className = "unknown";
      if (name === "verdict") cell.className = ["unknown", "bad", "good"][row[RESOLVED] + 1];
    }
    if (data.folders) {
      const cell = line.insertCell();
      cell.className = "files";
      if (row[PAGE_THERE]) {
        const instance = data.folders.instances[row[INSTANCE]] ?? data.instances[row[INSTANCE]];
        const place = `${data.folders.root}${encodeURIComponent(instance)}/${encodeURIComponent(data.folders.models[row[MODEL]])}/cell.html`;
        for (const [part, name] of [["issue", "issue"], ["patch", "patch"], ["tests", "tests"], ["trajectory", "steps"]]) {
          const link = document.createElement("a");
          link.href = `${place}#${part}`;
          link.textContent = name;
          cell.append(link);
        }
      }
    }
    return line;
  }

  for (const button of document.querySelectorAll("[data-cluster]")) {
    if (!form.elements.cluster) break;
    button.addEventListener("click", () => {
      only = null;
      form.reset();
      form.elements.cluster.value = button.dataset.cluster;
      update();
      document.getElementById("list").scrollIntoView();
    });
  }
  // an address like #cell=<instance>&model=<name> leads to these cells
  function follow(scroll) {
    const wanted = new URLSearchParams(location.hash.slice(1));
    if (!wanted.has("cell")) return;
    only = { cell: wanted.get("cell"), model: wanted.get("model") };
    form.reset();
    update();
    document.querySelector("#cells > details").open = true;
    if (scroll) document.getElementById("list").scrollIntoView();
  }
  addEventListener("hashchange", () => follow(true));
  all.addEventListener("click", () => {
    only = null;
    history.replaceState(null, "", "#cells");
    update();
  });
  const csv = document.getElementById("cells-csv");
  csv.hidden = false;
  csv.addEventListener("click", () => {
    const known = (value) => (value < 0 ? null : value);
    const repository = (row) => data.repositories[data.of_repository[row[INSTANCE]]] ?? "";
    saveCsv("cells.csv", [
      ["instance_id", "model", "resolved", "cost_usd", "api_calls", "seconds", "verdict", "exit_status", "flags", "repository"],
      ...shown.map((row) => [cells.name(row), cells.model(row), known(row[RESOLVED]), row[COST], row[CALLS], row[SECONDS],
        data.verdicts[row[VERDICT]], data.exits[row[EXIT]], row[FLAGS] ?? "", repository(row)]),
    ]);
  });
  pager.addEventListener("click", (event) => {
    const step = Number(event.target.dataset.step);
    if (step) { page += step; draw(); }
  });
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  table.hidden = false;
  update();
  follow(true);
})();
