// the cells as the page holds them; the matrix and the list are both made of this
const cells = (() => {
  const source = document.getElementById("cells-data");
  if (!source) return null;
  const data = JSON.parse(source.textContent);
  const [INSTANCE, MODEL, VERDICT, RESOLVED, EXIT, PAGE_THERE, COST, CALLS, SECONDS, FLAGS] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const { columns, flags } = data;
  const of = (column, k) => (Array.isArray(column) ? column[k] : column);
  const width = data.models.length;
  data.rows = Array.from({ length: data.cells }, (_, k) => [
    columns.instance === null ? Math.floor(k / width) : columns.instance[k], columns.model === null ? k % width : columns.model[k],
    ...["verdict", "resolved", "exit", "has_page", "cost", "calls", "seconds"].map((name) => of(columns[name], k)),
    ...(k in flags ? [flags[k]] : []),
  ]);
  const at = { INSTANCE, MODEL, VERDICT, RESOLVED, EXIT, PAGE_THERE, COST, CALLS, SECONDS, FLAGS };
  const solved = new Int32Array(data.instances.length);
  const judged = new Int32Array(data.instances.length);
  for (const row of data.rows) {
    if (row[RESOLVED] >= 0) judged[row[INSTANCE]] += 1;
    if (row[RESOLVED] === 1) solved[row[INSTANCE]] += 1;
  }
  const name = (row) => data.instances[row[INSTANCE]];
  const model = (row) => data.models[row[MODEL]];
  const money = (value) => (value === null ? "–" : value === 0 ? "$0" : value >= 1 ? `$${value.toFixed(2)}` : `$${value.toPrecision(3)}`);
  const link = (instance, of) => `#${new URLSearchParams(of === undefined ? { cell: instance } : { cell: instance, model: of })}`;
  return { data, at, solved, judged, name, model, money, moneyKind: data.money_kind, link };
})();
