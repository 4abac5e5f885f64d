/* The connections table. Sorting, filtering, searching and paging are table-core's; the markup is ours. */
(() => {
  const body = document.querySelector("#conns tbody");
  if (!body) return;
  const state = { o: new Set(), out: new Set(), peer: new Set(), p: new Set(), q: "", all: false, sort: "", page: 1, c: "", zero: "", t: "" };
  kt.state = state;
  const PAGE = 50;
  const collator = new Intl.Collator("en", { numeric: true });
  const among = (row, id, wanted) => wanted.has(row.getValue(id));
  const byText = (a, b, id) => collator.compare(a.getValue(id), b.getValue(id));
  const byNumber = (a, b, id) => a.getValue(id) - b.getValue(id);
  /* A race that never came up has no figure: it stands last among the races. */
  const marginOf = (c) => c.margin !== null ? c.margin : c.group === "raced" ? -0.001 : undefined;

  const data = [...kt.connections].sort((a, b) => a.rank - b.rank
    || (a.margin === null) - (b.margin === null) || (a.margin ?? 0) - (b.margin ?? 0) || a.number - b.number);
  const column = (id, accessorFn, sortFn = byText, filterFn = among) =>
    ({ id, accessorFn, sortFn, filterFn, sortUndefined: "last", enableGlobalFilter: id === "id" });
  const columns = [
    column("id", (c) => c.number, byNumber), column("process", (c) => c.process), column("peer", (c) => c.peer),
    column("role", (c) => c.role), column("ordering", (c) => c.rank, byNumber),
    column("outcome", (c) => c.outcomeText), column("margin", marginOf, byNumber),
    column("keys", (c) => c.keys), column("crypto", (c) => c.crypto),
    column("o", (c) => c.group ?? "none"), column("out", (c) => c.outcome), column("peerKey", (c) => c.peerKey),
    column("p", (c) => c.comm), column("tried", (c) => c.group !== null, byNumber, (row, id, wanted) => row.getValue(id) === wanted),
  ];
  const v = vendor;
  const table = v.constructTable({
    features: v.tableFeatures({
      coreReactivityFeature: v.storeReactivityBindings(),
      columnFilteringFeature: v.columnFilteringFeature, globalFilteringFeature: v.globalFilteringFeature,
      columnFacetingFeature: v.columnFacetingFeature, rowSortingFeature: v.rowSortingFeature,
      rowPaginationFeature: v.rowPaginationFeature,
      filteredRowModel: v.createFilteredRowModel(), sortedRowModel: v.createSortedRowModel(),
      paginatedRowModel: v.createPaginatedRowModel(), facetedRowModel: v.createFacetedRowModel(),
      facetedUniqueValues: v.createFacetedUniqueValues(),
    }),
    columns, data, getRowId: (c) => c.id, autoResetPageIndex: false,
    globalFilterFn: (row, id, words) => words.every((word) => row.original.search().includes(word)),
    getColumnCanGlobalFilter: (col) => col.id === "id",
    initialState: { pagination: { pageIndex: 0, pageSize: PAGE } },
  });

  const FILTERS = [["o", "o"], ["out", "out"], ["peer", "peerKey"], ["p", "p"]];
  const filtered = () => FILTERS.some(([key]) => state[key].size) || state.q !== "";

  function apply() {
    const filters = FILTERS.filter(([key]) => state[key].size).map(([key, id]) => ({ id, value: new Set(state[key]) }));
    if (!state.all && kt.about.tried) filters.push({ id: "tried", value: true });
    table.setColumnFilters(filters);
    table.setGlobalFilter(state.q.trim() ? state.q.toLowerCase().trim().split(/\s+/) : undefined);
    const id = state.sort.replace(/^-/, "");
    table.setSorting(id ? [{ id, desc: state.sort.startsWith("-") }] : []);
    const pages = Math.max(1, Math.ceil(table.getFilteredRowModel().rows.length / PAGE));
    state.page = Math.min(Math.max(1, state.page), pages);
    table.setPageIndex(state.page - 1);
  }

  kt.update = (keep = false) => {
    apply();
    render();
    const ids = new Set(table.getFilteredRowModel().rows.map((row) => row.id));
    kt.filterStrip?.(ids, filtered());
    controls();
    if (!keep) kt.writeFragment();
  };

  function render() {
    const rows = table.getRowModel().rows;
    body.replaceChildren(...rows.flatMap((row) => rowsOf(row.original)));
    const found = table.getFilteredRowModel().rows.length;
    document.getElementById("shown").textContent = `${found.toLocaleString("en-US")} of ${kt.about.total.toLocaleString("en-US")} shown`;
    document.getElementById("paged").textContent = found ? `${rows.length} of ${found.toLocaleString("en-US")} rows on this page` : "No connection fits these filters.";
    pages(Math.ceil(found / PAGE));
  }

  const WORDS = { keys: "no ULP", late: "late" };
  function rowsOf(c) {
    const open = state.c === c.id;
    const cell = (cls, ...children) => kt.el("td", { class: cls }, ...children);
    const bdi = (text) => kt.el("bdi", {}, text);
    const button = kt.el("button", { type: "button", "aria-expanded": String(open), "aria-controls": open ? `t-${c.id}` : null }, c.id);
    const margin = kt.el("i", {}, c.bound ? "~" : "");
    const row = kt.el("tr", { id: `c=${c.id}`, class: open ? "open" : null, "data-id": c.id },
      cell("id", button), cell("wide pr", bdi(c.process)), cell("pe", bdi(c.peer)), cell("wide", c.role),
      cell("or", c.group ? kt.glyph(kt.GLYPHS[c.group]) : "", kt.el("span", {}, c.group ? WORDS[c.group] ?? c.group : "\u2013")),
      cell("wide", c.outcomeText), cell("num", c.marginText, margin), cell("wide", c.keys), cell("wide cr", c.crypto));
    if (!open) return [row];
    const detail = kt.el("tr", { class: "detail", id: `t-${c.id}` }, kt.el("td", { colspan: shownColumns() }, kt.timeline(c)));
    return [row, detail];
  }

  const shownColumns = () => [...document.querySelectorAll("#conns > thead th")].filter((th) => th.offsetParent !== null).length;

  function pages(many) {
    const nav = document.getElementById("pages");
    const near = [...new Set([1, state.page - 1, state.page, state.page + 1, many])].filter((n) => n >= 1 && n <= many);
    const button = (text, page, label, off) => {
      const node = kt.el("button", { type: "button", "aria-label": label, disabled: off, "aria-current": !off && page === state.page ? "page" : null }, text);
      node.addEventListener("click", () => { state.page = page; kt.update(); });
      return node;
    };
    nav.replaceChildren(...(many < 2 ? [] : [
      button("\u2039", state.page - 1, "Page before", state.page === 1),
      ...near.flatMap((n, i) => [i && n - near[i - 1] > 1 ? kt.el("span", {}, "\u2026") : "", button(String(n), n, `Page ${n}`, false)]).filter(Boolean),
      button("\u203a", state.page + 1, "Page after", state.page === many),
    ]));
  }

  /* Opening: the row is brought onto the page, whatever filters hid it. */
  let opener = null;
  kt.open = (id, from = null, focus = true) => {
    if (!kt.byId.has(id)) return;
    opener = from;
    state.c = id;
    apply();
    if (!indexOf(id)) {
      for (const [key] of FILTERS) state[key].clear();
      state.q = "";
      state.all = kt.byId.get(id).group === null;
      apply();
    }
    state.page = Math.ceil(indexOf(id) / PAGE);
    kt.update();
    const row = document.getElementById(`c=${id}`);
    if (focus) row.querySelector("button").focus({ preventScroll: true });
    row.scrollIntoView({ block: "start" });
  };
  const indexOf = (id) => table.getSortedRowModel().rows.findIndex((row) => row.id === id) + 1;
  kt.close = () => {
    if (!state.c) return false;
    const id = state.c;
    state.c = "";
    kt.update();
    if (opener?.isConnected) {
      const target = opener;
      opener = null;
      if (target.closest("#chart")) kt.focusRow(id);
      else target.focus();
    } else document.getElementById(`c=${id}`)?.querySelector("button").focus();
    return true;
  };

  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-id]");
    if (!row || String(getSelection())) return;
    if (state.c === row.dataset.id) kt.close();
    else {
      const y = row.getBoundingClientRect().top;
      opener = null;
      state.c = row.dataset.id;
      kt.update();
      const now = document.getElementById(`c=${state.c}`);
      now.querySelector("button").focus({ preventScroll: true });
      scrollBy(0, now.getBoundingClientRect().top - y);
    }
  });
  body.addEventListener("keydown", (event) => {
    const buttons = [...body.querySelectorAll("td.id button")];
    const at = buttons.indexOf(event.target);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, to))].focus();
  });

  for (const th of document.querySelectorAll("#conns > thead th")) {
    const button = kt.el("button", { type: "button" }, kt.el("span", {}, th.textContent));
    button.addEventListener("click", () => {
      const key = th.dataset.sort;
      state.sort = state.sort === key ? `-${key}` : state.sort === `-${key}` ? "" : key;
      state.page = 1;
      kt.update();
    });
    th.replaceChildren(button);
  }

  function controls() {
    for (const th of document.querySelectorAll("#conns > thead th")) {
      const key = state.sort.replace(/^-/, "");
      const down = state.sort.startsWith("-");
      const on = th.dataset.sort === key;
      if (on) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
      const button = th.firstElementChild;
      button.querySelector("b")?.remove();
      if (on) button.append(kt.el("b", { "aria-hidden": "true" }, down ? " \u2193" : " \u2191"));
    }
    document.getElementById("tried").setAttribute("aria-pressed", String(!state.all));
    document.getElementById("tried").hidden = !kt.about.tried;
    document.getElementById("clear").hidden = !filtered();
    document.getElementById("q").value = state.q;
    for (const button of document.querySelectorAll("[data-o]")) {
      const key = button.dataset.o;
      button.setAttribute("aria-pressed", String(key ? state.o.has(key) : !state.o.size));
    }
    for (const [key, id] of FILTERS) menu(key, id);
  }

  const OUTWORDS = { o: { latent: "latent (unordered)", keys: "no ULP attempt", none: "no attempt" } };
  function menu(key, id) {
    const box = document.querySelector(`[data-filter="${key}"]`);
    const counts = new Map([...(table.getColumn(id)?.getFacetedUniqueValues() ?? [])].filter(([value]) => value !== ""));
    for (const value of state[key]) if (!counts.has(value)) counts.set(value, 0);
    const values = [...counts].sort((a, b) => key === "o" ? (kt.about.rank[a[0]] ?? 99) - (kt.about.rank[b[0]] ?? 99) : b[1] - a[1] || collator.compare(a[0], b[0]));
    const focused = document.activeElement?.closest?.(`[data-filter="${key}"]`) ? document.activeElement.value : null;
    const labels = values.slice(0, 200).map(([value, n]) => {
      const input = kt.el("input", { type: "checkbox", value, checked: state[key].has(value) });
      input.addEventListener("change", () => {
        if (input.checked) state[key].add(value);
        else state[key].delete(value);
        state.page = 1;
        kt.update();
      });
      return kt.el("label", {}, input, kt.el("bdi", {}, OUTWORDS[key]?.[value] ?? value), kt.el("span", {}, n.toLocaleString("en-US")));
    });
    const fieldset = box.querySelector("fieldset");
    fieldset.replaceChildren(fieldset.firstElementChild, ...labels);
    if (focused !== null) [...fieldset.querySelectorAll("input")].find((i) => i.value === focused)?.focus();
    box.querySelector("summary").classList.toggle("on", state[key].size > 0);
    box.hidden = values.length < 2 && !state[key].size;
  }
  kt.clear = () => {
    for (const [key] of FILTERS) state[key].clear();
    state.q = "";
    state.page = 1;
    kt.update();
  };
})();
