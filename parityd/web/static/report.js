// Sorts a table by the column whose heading is pressed: numbers as numbers, everything else as text.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const value = (row, i) => { const t = row.cells[i].textContent.trim(), n = parseFloat(t.replace(/,/g, "").replace("\u2212", "-")); return Number.isNaN(n) || /^\d{4}-\d\d-/.test(t) ? t : n; };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => {
      const button = document.createElement("button");
      button.type = "button"; button.textContent = head.textContent; head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows].map((r) => [value(r, i), r]);
        rows.sort(([a], [b]) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1) * (up ? 1 : -1));
        table.tBodies[0].append(...rows.map(([, r]) => r));
      });
    });
  }
});
