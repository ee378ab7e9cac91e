// every instance × every model as squares, in as many bands as the width needs; where models disagree comes first
(() => {
  const place = document.getElementById("matrix");
  if (!cells || !place || cells.data.models.length < 2) return;
  const { data, at, solved, judged } = cells;
  const box = place.querySelector(".matrix");
  const told = place.querySelector(".told");
  const hint = told.textContent;
  const LEAST = 8, MOST = 22, GAP = 10, SCREEN = 620, LONGEST = 2400, NAMES = 170, NUMBERS = 20;
  const NS = "http://www.w3.org/2000/svg";

  const resolvedBy = data.models.map(() => 0);
  const row = new Map();
  data.rows.forEach((cell) => {
    row.set(cell[at.INSTANCE] * data.models.length + cell[at.MODEL], cell);
    if (cell[at.RESOLVED] === 1) resolvedBy[cell[at.MODEL]] += 1;
  });
  const models = data.models.map((_, k) => k).sort((a, b) => resolvedBy[b] - resolvedBy[a] || a - b);
  const split = (k) => Math.min(solved[k], judged[k] - solved[k]);
  const instances = data.instances.map((_, k) => k).sort((a, b) => split(b) - split(a) || solved[b] - solved[a] || a - b);
  let size, columns, left, shown, cursor = null, svg, mark, width = 0;

  const element = (name, attributes, text) => {
    const made = document.createElementNS(NS, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  const band = () => models.length * size + GAP;

  function draw() {
    width = box.clientWidth;
    left = width > 700 ? NAMES : NUMBERS;
    for (size = MOST; size > LEAST; size -= 1) {
      columns = Math.floor((width - left) / size);
      if (Math.ceil(instances.length / columns) * band() <= SCREEN) break;
    }
    columns = Math.min(instances.length, Math.floor((width - left) / size));
    shown = Math.min(instances.length, Math.max(1, Math.floor(LONGEST / band())) * columns);
    const bands = Math.ceil(shown / columns);
    const side = size - 1;
    const squares = { good: "", bad: "", none: "" }, marks = { good: "", bad: "", none: "" };
    for (let k = 0; k < shown; k += 1) {
      models.forEach((model, line) => {
        const cell = row.get(instances[k] * data.models.length + model);
        const state = !cell || cell[at.RESOLVED] < 0 ? "none" : cell[at.RESOLVED] ? "good" : "bad";
        const x = left + (k % columns) * size, y = Math.floor(k / columns) * band() + line * size;
        const to = (dx, dy) => `${(x + dx * side).toFixed(1)} ${(y + dy * side).toFixed(1)}`;
        squares[state] += `M${x} ${y}h${side}v${side}h${-side}z`;
        marks[state] += state === "good" ? `M${to(0.24, 0.54)}L${to(0.43, 0.74)}L${to(0.77, 0.27)}`
          : state === "bad" ? `M${to(0.3, 0.3)}L${to(0.7, 0.7)}M${to(0.7, 0.3)}L${to(0.3, 0.7)}`
          : `M${to(0.25, 0.75)}L${to(0.75, 0.25)}`;
      });
    }
    const height = bands * band() - GAP + 2;
    svg = element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
    for (const state of ["good", "bad", "none"]) {
      svg.append(element("path", { class: state, d: squares[state] }), element("path", { class: `mark ${state}`, d: marks[state] }));
    }
    for (let k = 0; k < bands; k += 1) {
      models.forEach((model, line) => {
        const name = left === NAMES ? `${model + 1}  ${data.models[model]}` : String(model + 1);
        const long = Math.floor(NAMES / (Math.min(12, size) * 0.56));
        const text = name.length > long ? `${name.slice(0, long - 1)}…` : name;
        const y = k * band() + line * size + size * 0.78;
        svg.append(element("text", { x: left - 6, y, "text-anchor": "end", "font-size": Math.min(12, size) }, text));
      });
    }
    mark = element("rect", { class: "cursor", width: size + 1, height: size + 1, visibility: "hidden" });
    svg.append(mark);
    box.replaceChildren(svg);
    place.querySelector(".left-out").textContent = shown < instances.length
      ? `The first ${shown.toLocaleString("en")} of ${instances.length.toLocaleString("en")} instances; the list below has all.` : "";
    place.querySelector(".names").textContent = left === NAMES ? ""
      : models.map((model) => `${model + 1} ${data.models[model]}`).join(" · ");
    if (cursor) show(cursor.column, cursor.line);
  }

  function show(column, line) {
    cursor = { column, line };
    mark.setAttribute("x", left + (column % columns) * size - 1);
    mark.setAttribute("y", Math.floor(column / columns) * band() + line * size - 1);
    mark.setAttribute("visibility", "visible");
    const instance = instances[column], model = models[line];
    const cell = row.get(instance * data.models.length + model);
    const verdict = cell ? data.verdicts[cell[at.VERDICT]] : "no cell";
    const cost = cell && cell[at.COST] !== null ? `, ${cells.moneyKind}${cells.money(cell[at.COST])}` : "";
    told.textContent = `${data.instances[instance]} · ${model + 1} ${data.models[model]}: ${verdict}${cost} · resolved by ${solved[instance]} of ${judged[instance]}`;
  }

  function under(event) {
    const frame = svg.getBoundingClientRect(), scale = width / frame.width;
    const x = (event.clientX - frame.left) * scale - left, y = (event.clientY - frame.top) * scale;
    const inBand = y % band(), column = Math.floor(y / band()) * columns + Math.floor(x / size);
    if (x < 0 || x >= columns * size || inBand >= models.length * size || column < 0 || column >= shown) return null;
    return { column, line: Math.floor(inBand / size) };
  }

  box.addEventListener("pointermove", (event) => {
    const found = under(event);
    if (found) show(found.column, found.line);
  });
  box.addEventListener("click", (event) => {
    const found = under(event);
    if (found) location.hash = cells.link(data.instances[instances[found.column]]);
  });
  box.addEventListener("keydown", (event) => {
    const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    if (event.key === "Enter" && cursor) location.hash = cells.link(data.instances[instances[cursor.column]]);
    if (!across && !down) return;
    event.preventDefault();
    let { column, line } = cursor ?? { column: -across, line: -down };
    column += across;
    line += down;
    if (line < 0 && column >= columns) { line = models.length - 1; column -= columns; }
    if (line >= models.length && column + columns < shown) { line = 0; column += columns; }
    show(Math.max(0, Math.min(shown - 1, column)), Math.max(0, Math.min(models.length - 1, line)));
  });
  box.addEventListener("blur", () => { told.textContent = hint; });
  place.hidden = false;
  new ResizeObserver(() => { if (box.clientWidth && box.clientWidth !== width) draw(); }).observe(box);
})();
