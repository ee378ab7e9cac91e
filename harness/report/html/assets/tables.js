// tables that sort by any column; every heading is a button, so the keyboard works
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const first = head.classList.contains("num") ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? (first === "ascending" ? "descending" : "ascending") : first;
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].dataset.v, row]);
      rows.sort(([a], [b]) => (a === "" || b === "" ? (a === "") - (b === "") : sign * compare(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
function compare(a, b) {
  return isNaN(a) || isNaN(b) ? String(a).localeCompare(String(b)) : a - b;
}

// text for a CSV: quoted where needed, and nothing that a spreadsheet would calculate
function csvCell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && (/^ *[=+\-@\t\r]/.test(text) || text.startsWith("'"))) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
function saveCsv(name, rows) {
  const link = document.createElement("a");
  const text = rows.map((row) => `${row.map(csvCell).join(",")}\n`).join("");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
for (const button of document.querySelectorAll("button[data-csv]")) {
  const table = button.closest("section").querySelector("table.sortable");
  const number = (value) => (value === "" || isNaN(value) ? value : Number(value));
  button.hidden = false;
  button.addEventListener("click", () => saveCsv(button.dataset.csv, [...table.rows].map((row) =>
    [...row.cells].map((cell) => ("v" in cell.dataset ? number(cell.dataset.v) : cell.textContent.trim())))));
}
