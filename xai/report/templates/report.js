"use strict";
// Filters, sorting and toggles of the report. Everything is readable without this script.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Sorting: cells carry their value in data-v; what is unknown stays last in both directions.
  const valueOf = (row, column, numeric) => {
    const cell = row.cells[column];
    const text = numeric ? cell.dataset.v ?? "" : cell.textContent.trim();
    return numeric ? (text === "" ? null : Number(text.replace("inf", "Infinity"))) : text;
  };
  const sortBy = (table, column, head) => {
    const numeric = head.classList.contains("num");
    const before = head.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : head.dataset.sort === "desc";
    const sign = descending ? -1 : 1;
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => [valueOf(row, column, numeric), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? (a > b) - (a < b) : a.localeCompare(b, undefined, { numeric: true }));
    });
    all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...keyed.map(([, row]) => row));
  };
  for (const table of all("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sortBy(table, column, head));
    });
  }

  // Filters of the gallery and of the table below it.
  const form = document.querySelector("form.filters");
  const items = all("#gallery [data-cause]");
  const choices = form ? all("select", form) : [];
  const apply = () => {
    const wanted = choices.filter((choice) => choice.value !== "");
    let shown = 0;
    for (const item of items) {
      const fits = wanted.every((choice) => item.dataset[choice.dataset.filter] === choice.value);
      item.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown.toLocaleString("en")} of ${items.length.toLocaleString("en")} shown`;
    document.querySelector("#gallery .none").hidden = shown > 0;
  };
  if (form) {
    form.hidden = false;
    form.addEventListener("change", apply);
    form.addEventListener("reset", () => setTimeout(apply));
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
  for (const link of all("[data-show-cause]")) {
    link.addEventListener("click", () => {
      if (!form) return;
      form.reset();
      choices.find((choice) => choice.dataset.filter === "cause").value = link.dataset.showCause;
      apply();
    });
  }

  // Close look and heat map of a card.
  for (const tools of all(".tools")) tools.hidden = false;
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    const picture = button.closest(".photo").querySelector("svg");
    if (button.dataset.do === "heat") {
      picture.querySelector(".heat").setAttribute("visibility", on ? "visible" : "hidden");
    } else {
      picture.dataset.full ??= picture.getAttribute("viewBox");
      picture.setAttribute("viewBox", on ? picture.dataset.close : picture.dataset.full);
      button.textContent = on ? "Whole photo" : "Zoom in";
    }
  });

  // A link to one miss must reach it whatever the filters say.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const closed = target?.closest("details:not([open])");
    if (!target || !(target.hidden || closed)) return;
    if (closed) closed.open = true;
    if (target.hidden) {
      form.reset();
      apply();
    }
    target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
