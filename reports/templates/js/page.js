/* What holds the page together: the fragment, keys, buttons. */
(() => {
  const { state } = kt;
  const SETS = ["o", "out", "peer", "p"];

  /* Filters, sort, page, opened row and view live in the fragment, in this order, defaults left out. */
  kt.writeFragment = () => {
    const parts = [];
    const add = (key, value) => value && parts.push(`${key}=${value}`);
    const safe = (text) => encodeURIComponent(text).replaceAll("%3A", ":").replaceAll("%5B", "[").replaceAll("%5D", "]");
    for (const key of SETS) add(key, [...state[key]].map(safe).join(","));
    add("q", safe(state.q));
    if (state.all) add("all", "1");
    add("sort", state.sort);
    if (state.page > 1) add("page", state.page);
    add("c", state.c);
    add("zero", state.zero);
    add("t", state.t);
    const fragment = parts.length ? `#${parts.join("&")}` : location.pathname + location.search;
    if (location.hash || parts.length) history.replaceState(null, "", fragment);
  };

  function readFragment() {
    const hash = location.hash.slice(1);
    if (hash && !hash.includes("=")) return false;
    const found = new Map(hash.split("&").filter(Boolean).map((part) => {
      const at = part.indexOf("=");
      return [part.slice(0, at), part.slice(at + 1)];
    }));
    const decode = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
    for (const key of SETS) state[key] = new Set((found.get(key) ?? "").split(",").filter(Boolean).map(decode));
    if (state.o.delete("unordered")) state.o.add("latent");
    state.q = decode(found.get("q") ?? "");
    state.all = found.get("all") === "1";
    const sort = found.get("sort") ?? "";
    state.sort = /^-?(id|process|peer|role|ordering|outcome|margin|keys|crypto)$/.test(sort) ? sort : "";
    state.page = Math.max(1, parseInt(found.get("page") ?? "1", 10) || 1);
    const id = decode(found.get("c") ?? "");
    state.c = kt.byId.has(id) ? id : "";
    state.zero = found.get("zero") === "est" ? "est" : "";
    state.t = found.get("t") === "lin" ? "lin" : "";
    return true;
  }

  function views() {
    for (const button of document.querySelectorAll("[data-zero]")) button.setAttribute("aria-pressed", String(button.dataset.zero === state.zero));
    for (const button of document.querySelectorAll("[data-time]")) button.setAttribute("aria-pressed", String(button.dataset.time === state.t));
  }

  function show(scroll) {
    views();
    if (state.zero || state.t) kt.rescale?.(state.zero, state.t);
    const id = state.c;
    if (id && scroll) kt.open(id, null, false);
    else kt.update(true);
  }

  if (state) {
    readFragment();
    if (!state.c && kt.about.open) { state.c = kt.about.open; show(false); }
    else show(true);
    addEventListener("hashchange", () => { if (readFragment()) { kt.rescale?.(state.zero, state.t); show(true); } });
    wire();
  }

  function wire() {
    const on = (selector, type, act) => { for (const node of document.querySelectorAll(selector)) node.addEventListener(type, (event) => act(node, event)); };
    on("[data-o]", "click", (node) => {
      const key = node.dataset.o;
      const only = key && state.o.size === 1 && state.o.has(key);
      state.o = new Set(key && !only ? [key] : []);
      state.page = 1;
      kt.update();
    });
    on("[data-zero]", "click", (node) => { state.zero = node.dataset.zero; changeView(); });
    on("[data-time]", "click", (node) => { state.t = node.dataset.time; changeView(); });
    on("#tried", "click", () => { state.all = !state.all; state.page = 1; kt.update(); });
    on("#clear", "click", () => { kt.clear(); document.getElementById("q").focus(); });
    let timer = 0;
    on("#q", "input", (node) => {
      clearTimeout(timer);
      timer = setTimeout(() => { state.q = node.value; state.page = 1; kt.update(); }, kt.connections.length > 500 ? 120 : 0);
    });
    on(".ids a", "click", (node, event) => { event.preventDefault(); kt.open(decodeURIComponent(node.hash.slice(3)), node); });
    on("#keys-open", "click", () => document.getElementById("keys").showModal());
    on(".menu", "toggle", (node) => {
      if (!node.open) return;
      for (const other of document.querySelectorAll(".menu[open]")) if (other !== node) other.open = false;
    });
    document.addEventListener("click", (event) => {
      for (const menu of document.querySelectorAll(".menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    });
  }
  function changeView() {
    views();
    kt.rescale?.(state.zero, state.t);
    kt.writeFragment();
  }

  /* Escape closes one thing at a time, the innermost first. */
  function escape() {
    const menu = document.querySelector(".menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
      return true;
    }
    if (document.activeElement?.id === "q" && state.q) { kt.clear(); return true; }
    return kt.hideCard?.() || kt.close?.();
  }
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const typing = event.target.matches?.("input:not([type=checkbox])");
    if (event.key === "Escape") { if (escape()) event.preventDefault(); return; }
    if (typing) return;
    if (event.key === "/" && document.getElementById("q")) {
      event.preventDefault();
      document.getElementById("q").focus();
    } else if (event.key === "?") {
      document.getElementById("keys")?.showModal();
    }
  });

  /* The clipboard is not there in every browser for a file: fall back to a selection. */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = kt.el("textarea", { class: "hidden" });
      document.body.append(area);
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", async () => {
      await copy(kt.about.texts[Number(button.dataset.copy)]);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy as text"; }, 1500);
    });
  }

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.finding:not([open]),details.glossary:not([open])")];
    for (const node of opened) node.open = true;
  });
  addEventListener("afterprint", () => { for (const node of opened) node.open = false; });
})();
