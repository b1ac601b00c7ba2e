"use strict";
// Filters, sorting and toggles of the report. Without this script every table and every miss is there to be read.
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

  const gallery = document.querySelector("#gallery");
  const form = gallery?.querySelector("form.filters");
  if (!form) return;

  // Each miss is text in a noscript element until it is shown; its photo likewise, shared by the misses in it.
  const PAGE = 24;
  const list = gallery.querySelector(".cards");
  const none = gallery.querySelector(".none");
  const more = gallery.querySelector(".more");
  const output = form.querySelector("output");
  const fields = all("[data-filter]", form);
  const photos = new Map(all("noscript[data-photo]", gallery).map((kept) => [kept.dataset.photo, kept]));
  const items = all("noscript[data-miss]", list);
  const byId = new Map(items.map((item) => [item.dataset.miss, item]));
  const made = new Map();
  let fitting = items;
  let shown = 0;

  const parsed = (text) => {
    const holder = document.createElement("template");
    holder.innerHTML = text;
    return holder.content.firstElementChild;
  };
  const cardOf = (item) => {
    let card = made.get(item);
    if (!card) {
      card = parsed(item.textContent.trim());
      made.set(item, card);
      const tools = card.querySelector(".tools");
      if (tools) tools.hidden = false;
      const key = card.querySelector("use")?.getAttribute("href").slice("#photo-".length);
      const kept = photos.get(key);
      if (kept) {
        photos.delete(key);
        gallery.append(parsed(kept.textContent));
        kept.remove();
      }
    }
    return card;
  };
  const showMore = () => {
    list.append(...fitting.slice(shown, shown + PAGE).map(cardOf));
    shown = Math.min(fitting.length, shown + PAGE);
    more.hidden = shown >= fitting.length;
    more.firstElementChild.textContent = `Show ${Math.min(PAGE, fitting.length - shown)} more`;
  };
  const show = (chosen) => {
    fitting = chosen;
    shown = 0;
    list.replaceChildren();
    showMore();
    none.hidden = chosen.length > 0;
    output.textContent = `${chosen.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} misses`;
  };

  // Filters; what is chosen stands in the address, so that it can be passed on.
  const texts = new Map();
  const textOf = (item) => {
    if (!texts.has(item)) texts.set(item, item.dataset.q.toLowerCase());
    return texts.get(item);
  };
  const fits = {
    q: (item, value) => value.toLowerCase().split(/\s+/).every((word) => textOf(item).includes(word)),
    slice: (item, value, field) => item.dataset.slices.split(" ").includes(field.selectedOptions[0].dataset.place),
  };
  const chosenFields = () => fields.filter((field) => field.value.trim() !== "");
  const apply = () => {
    const wanted = chosenFields();
    const test = ({ dataset: { filter } }) => fits[filter] ?? ((item, value) => item.dataset[filter] === value);
    const tests = wanted.map((field) => [test(field), field.value.trim(), field]);
    show(items.filter((item) => tests.every(([fit, value, field]) => fit(item, value, field))));
  };
  const remember = () => {
    const query = chosenFields().map((field) => `${field.dataset.filter}=${encodeURIComponent(field.value.trim())}`);
    history.replaceState(null, "", query.length ? `#gallery?${query.join("&")}` : "#gallery");
  };
  const changed = () => {
    apply();
    remember();
  };
  form.hidden = false;
  gallery.querySelector(".keys").hidden = false;
  form.addEventListener("input", changed);
  form.addEventListener("reset", () => setTimeout(changed));
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    const next = shown;
    showMore();
    cardOf(fitting[next]).focus({ preventScroll: true });
  });
  // Pictures of a card: close look, heat map, and the repaired photo in place of the photo.
  const toggle = (button) => {
    const on = button.getAttribute("aria-pressed") !== "true";
    const box = button.closest(".photo");
    const whole = box.querySelector("svg.whole");
    button.setAttribute("aria-pressed", String(on));
    if (button.dataset.do === "heat") {
      whole.querySelector(".heat").setAttribute("visibility", on ? "visible" : "hidden");
    } else if (button.dataset.do === "close") {
      whole.dataset.full ??= whole.getAttribute("viewBox");
      whole.setAttribute("viewBox", on ? whole.dataset.close : whole.dataset.full);
      button.textContent = on ? "Whole photo" : "Zoom in";
    } else {
      whole.toggleAttribute("hidden", on);
      box.querySelector("svg.repaired").toggleAttribute("hidden", !on);
      box.querySelector(".caption").hidden = !on;
      for (const other of all("button", box)) if (other !== button) other.disabled = on;
      button.textContent = on ? "As it was" : "Repaired";
    }
  };
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-do]");
    if (button) toggle(button);
  });

  // Keys work while a card, or something in it, has the focus.
  const KEYS = { z: "close", h: "heat", r: "repaired" };
  list.addEventListener("keydown", (event) => {
    const card = event.target.closest(".card");
    if (!card || event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      if (event.key === "ArrowRight" && !card.nextElementSibling && !more.hidden) showMore();
      const next = event.key === "ArrowRight" ? card.nextElementSibling : card.previousElementSibling;
      next?.focus();
      event.preventDefault();
    } else if (event.key === "e") {
      const details = card.querySelector("details");
      if (details) details.open = !details.open;
    } else if (KEYS[event.key]) {
      const button = card.querySelector(`button[data-do="${KEYS[event.key]}"]:not([disabled])`);
      if (button) toggle(button);
    }
  });

  // An address may name a filter (#gallery?cause=glare) or one miss (#miss-ID), which is then shown whatever the filters say.
  const follow = () => {
    const [place, query] = location.hash.slice(1).split("?");
    if (place === "gallery" && query !== undefined) {
      const asked = new URLSearchParams(query);
      for (const field of fields) {
        field.value = asked.get(field.dataset.filter) ?? "";
        if (field.selectedIndex === -1) field.value = "";
      }
      apply();
      gallery.scrollIntoView();
      return;
    }
    const item = byId.get(place.replace(/^miss-/, ""));
    if (!item) return;
    if (!cardOf(item).isConnected) {
      for (const field of fields) field.value = "";
      show([item, ...items.filter((other) => other !== item)]);
    }
    const card = cardOf(item);
    card.scrollIntoView({ block: "center" });
    card.focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  apply();
  follow();
})();
