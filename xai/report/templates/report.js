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

  // What the filters ask of each miss comes first, in columns. The misses and their photos follow at the end of the page
  // as text, the first of them in noscript elements, the others compressed; they become elements when they are shown.
  const PAGE = 24;
  const list = gallery.querySelector(".cards");
  const none = gallery.querySelector(".none");
  const more = gallery.querySelector(".more");
  const printed = gallery.querySelector(".printed");
  const output = form.querySelector("output");
  const fields = all("[data-filter]", form);
  const columns = JSON.parse(document.querySelector("#index").content.textContent);
  const items = columns.error_id.map((name, place) => place);
  const texts = new Map();
  const photos = new Map();
  const placed = new Set();
  const made = new Map();
  let fitting = items;
  let shown = 0;
  let begun = false;
  const loaded = () => document.readyState !== "loading";

  const parsed = (kept) => {
    const holder = document.createElement("template");
    holder.innerHTML = kept.textContent.trim();
    return holder.content.firstElementChild;
  };
  // While the page is still being read, the last element may be there with half of its text.
  const gather = (selector, key, into) => {
    for (const kept of all(selector)) if (loaded() || kept.nextElementSibling) into.set(kept.dataset[key], kept);
  };
  const nextPart = () =>
    new Promise((done) => {
      setTimeout(done, 20);
      document.addEventListener("DOMContentLoaded", done);
    });
  const unpack = async (block) => {
    const names = block.dataset.misses.split(" ");
    const told = (name) => `<article class="card"><p class="text">Miss ${name} cannot be shown: the browser is too old, or the page incomplete.</p></article>`;
    let cards = names.map(told);
    try {
      const bytes = Uint8Array.from(atob(block.content.textContent), (letter) => letter.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      cards = (await new Response(stream).text()).split(/(?=<article class="card")/);
    } catch (error) {
      console.error(error);
    }
    names.forEach((name, place) => texts.set(name, { textContent: cards[place] }));
    block.remove();
  };
  // Returns nothing where the texts are here, else a promise of them.
  const fetched = (chosen) => {
    const missing = () => chosen.map((place) => columns.error_id[place]).filter((name) => !texts.has(name));
    if (!missing().length) return null;
    gather("noscript[data-miss]", "miss", texts);
    const names = new Set(missing());
    if (!names.size) return null;
    const holds = (block) => block.dataset.misses.split(" ").some((name) => names.has(name));
    const whole = (block) => loaded() || block.nextElementSibling;
    const blocks = all("template[data-misses]").filter((block) => holds(block) && whole(block));
    if (blocks.length) return Promise.all(blocks.map(unpack)).then(() => fetched(chosen));
    if (!loaded()) return nextPart().then(() => fetched(chosen));
    return null;
  };
  const showPhotos = () => {
    for (const use of all("use", list)) {
      const key = use.getAttribute("href").slice("#photo-".length);
      if (placed.has(key)) continue;
      if (!photos.has(key)) gather("noscript[data-photo]", "photo", photos);
      if (!photos.has(key)) continue;
      gallery.append(parsed(photos.get(key)));
      placed.add(key);
      photos.get(key).remove();
    }
  };
  const cardOf = (place) => {
    let card = made.get(place);
    if (!card) {
      card = parsed(texts.get(columns.error_id[place]));
      made.set(place, card);
      const tools = card.querySelector(".tools");
      if (tools) tools.hidden = false;
    }
    return card;
  };
  const showMore = () => {
    const chosen = fitting;
    const next = chosen.slice(shown, shown + PAGE);
    const append = () => {
      if (fitting !== chosen || next[0] !== chosen[shown]) return;
      list.append(...next.map(cardOf));
      showPhotos();
      shown += next.length;
      more.hidden = shown >= chosen.length;
      printed.textContent = `On paper stand ${counted(shown)} of ${counted(items.length)} misses, those that the page showed when it was printed; more are shown before printing by “Show more misses” or by a filter.`;
      more.firstElementChild.textContent = `Show ${Math.min(PAGE, chosen.length - shown)} more`;
    };
    const waiting = fetched(next);
    return waiting ? waiting.then(append) : append();
  };
  const counted = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ",");
  const show = (chosen) => {
    begun = true;
    fitting = chosen;
    shown = 0;
    list.replaceChildren();
    none.hidden = chosen.length > 0;
    output.textContent = `${counted(chosen.length)} of ${counted(items.length)} misses`;
    return showMore();
  };

  // Filters; what is chosen stands in the address, so that it can be passed on.
  const searched = new Map();
  const causes = new Map(all("[data-filter=cause] option", form).map((option) => [option.value, option.textContent]));
  const textOf = (place) => {
    if (!searched.has(place)) {
      const { error_id, image_id, label, cause, text } = columns;
      const parts = [error_id[place], image_id[place], label[place], causes.get(cause[place]), text[place]];
      searched.set(place, parts.join(" ").toLowerCase());
    }
    return searched.get(place);
  };
  const fits = {
    q: (place, value) => value.toLowerCase().split(/\s+/).every((word) => textOf(place).includes(word)),
    slice: (place, value, field) => columns.slices[place].includes(Number(field.selectedOptions[0].dataset.place)),
  };
  const chosenFields = () => fields.filter((field) => field.value.trim() !== "");
  const apply = () => {
    const wanted = chosenFields();
    const test = ({ dataset: { filter } }) => fits[filter] ?? ((place, value) => columns[filter][place] === value);
    const tests = wanted.map((field) => [test(field), field.value.trim(), field]);
    return show(items.filter((place) => tests.every(([fit, value, field]) => fit(place, value, field))));
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
  more.addEventListener("click", async () => {
    const next = fitting[shown];
    const waiting = showMore();
    if (waiting) await waiting;
    made.get(next)?.focus({ preventScroll: true });
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
      const forward = event.key === "ArrowRight";
      const step = () => (forward ? card.nextElementSibling : card.previousElementSibling)?.focus();
      const waiting = forward && !card.nextElementSibling && !more.hidden ? showMore() : null;
      if (waiting) waiting.then(step);
      else step();
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
  const follow = async () => {
    const [target, query] = location.hash.slice(1).split("?");
    if (target === "gallery" && query !== undefined) {
      const asked = new URLSearchParams(query);
      for (const field of fields) {
        field.value = asked.get(field.dataset.filter) ?? "";
        if (field.selectedIndex === -1) field.value = "";
      }
      apply();
      gallery.scrollIntoView();
      return;
    }
    const place = columns.error_id.indexOf(target.replace(/^miss-/, ""));
    if (place === -1) return;
    if (!made.get(place)?.isConnected) {
      for (const field of fields) field.value = "";
      const waiting = show([place, ...items.filter((other) => other !== place)]);
      if (waiting) await waiting;
    }
    const card = made.get(place);
    card?.scrollIntoView({ block: "center" });
    card?.focus({ preventScroll: true });
  };
  addEventListener("hashchange", follow);
  follow();
  document.addEventListener("DOMContentLoaded", () => {
    if (!begun) apply();
  });
  performance.mark("ready");
})();
