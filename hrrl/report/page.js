// Sorts tables by a click on a column's title, takes differences to another baseline, and shows where there is more to
// the right. The page reads without it.
"use strict";

const cellValue = (row, column) => {
  const text = row.cells[column].textContent.trim().replace("−", "-");
  const number = parseFloat(text);
  return Number.isFinite(number) ? number : text;
};

const compare = (a, b) =>
  typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));

for (const title of document.querySelectorAll("table thead th")) {
  title.tabIndex = 0;
  title.setAttribute("role", "button");
  const sort = () => {
    const table = title.closest("table"), ascending = title.getAttribute("aria-sort") === "descending";
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    title.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows], column = title.cellIndex;
    rows.sort((a, b) => (ascending ? 1 : -1) * compare(cellValue(a, column), cellValue(b, column)));
    table.tBodies[0].append(...rows);
  };
  title.addEventListener("click", sort);
  title.addEventListener("keydown", event => { if (event.key === "Enter") sort(); });
}

// Student's t, 97.5% quantile, by degrees of freedom: from the page's own data.
const page = JSON.parse(document.getElementById("statistics").textContent);
const signed = value => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

// The paired difference over the seeds that both have, its interval, and whether it is clear.
const difference = (runs, base, sign) => {
  const values = Object.keys(runs).filter(seed => seed in base).map(seed => runs[seed] - base[seed]);
  const n = values.length, mean = values.reduce((a, b) => a + b, 0) / n;
  if (n < 2) return { text: n ? signed(mean) : "", verdict: "" };
  const variance = values.reduce((a, b) => a + (b - mean) ** 2, 0) / (n - 1);
  const half = page.t[n - 1] * Math.sqrt(variance / n), [low, high] = [mean - half, mean + half];
  const clear = n >= page.enough && low * high > 0;
  return { text: `${signed(mean)} [${signed(low)}, ${signed(high)}]`, verdict: clear ? (sign * mean > 0 ? "better" : "worse") : "" };
};

const rebase = baseline => {
  for (const table of document.querySelectorAll("table.scores")) {
    const rows = [...table.tBodies[0].rows], reference = rows.find(row => row.dataset.variant === baseline);
    for (const row of rows) for (const cell of row.querySelectorAll("td[data-runs]")) {
      const small = cell.querySelector("small.difference"), other = reference && reference.cells[cell.cellIndex];
      if (!small) continue;
      const known = other && other.dataset.runs && row !== reference;
      const found = known ? difference(JSON.parse(cell.dataset.runs), JSON.parse(other.dataset.runs), Number(cell.dataset.sign)) : { text: "", verdict: "" };
      small.textContent = found.text;
      small.className = `difference ${found.verdict}`;
    }
  }
  const select = document.getElementById("baseline");
  for (const name of document.querySelectorAll(".baseline-name")) name.textContent = select.selectedOptions[0].textContent;
};

const select = document.getElementById("baseline");
if (select) {
  select.closest("p").hidden = false;
  select.addEventListener("change", () => rebase(select.value));
}

for (const box of document.querySelectorAll(".scroll")) {
  const cue = () => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 2);
  box.addEventListener("scroll", cue, { passive: true });
  new ResizeObserver(cue).observe(box);
}
