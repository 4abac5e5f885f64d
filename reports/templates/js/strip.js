/* The strip: moving between rows, filtering, and its other views. The rows were drawn when the page was made. */
(() => {
  const chart = document.getElementById("chart");
  if (!chart) return;
  const items = [...chart.querySelectorAll("li[data-id]")];
  const links = items.map((item) => item.firstElementChild);
  const visible = () => links.filter((link) => link.offsetParent !== null);

  links.forEach((link, i) => link.setAttribute("tabindex", i ? "-1" : "0"));
  function moveTo(link) {
    if (!link) return;
    for (const other of links) other.setAttribute("tabindex", other === link ? "0" : "-1");
    link.focus();
  }
  kt.focusRow = (id) => moveTo(items.find((item) => item.dataset.id === id)?.firstElementChild);

  chart.addEventListener("keydown", (event) => {
    const at = visible().indexOf(event.target);
    if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const shown = visible();
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    moveTo(shown[Math.max(0, Math.min(shown.length - 1, to))]);
  });
  chart.addEventListener("click", (event) => {
    const item = event.target.closest("li[data-id]");
    if (!item || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    kt.open(item.dataset.id, item.firstElementChild);
  });

  kt.filterStrip = (ids, filtered) => {
    for (const item of items) item.hidden = !ids.has(item.dataset.id);
    for (const fold of chart.querySelectorAll(".fold")) fold.hidden = filtered;
    for (const group of chart.querySelectorAll(".group")) {
      group.hidden = ![...group.querySelectorAll("li")].some((item) => !item.hidden);
    }
    const shown = visible();
    if (shown.length && !shown.some((link) => link.tabIndex === 0)) {
      for (const link of links) link.setAttribute("tabindex", link === shown[0] ? "0" : "-1");
    }
  };

  const more = document.getElementById("more-safe");
  if (more) {
    chart.classList.add("fold-safe");
    more.addEventListener("click", () => {
      chart.classList.remove("fold-safe");
      more.hidden = true;
    });
  }

  /* Scales: each shape carries its time, so another scale only moves it. */
  const { low, high } = kt.about.scale || {};
  const shapes = items.flatMap((item) => [...item.querySelectorAll("[data-t]")].map((node) => ({
    node,
    zero: item.dataset.z === undefined ? null : Number(item.dataset.z),
    t: Number(node.dataset.t),
    e: node.dataset.e === undefined ? null : Number(node.dataset.e),
  })));
  for (const fold of chart.querySelectorAll(".fold [data-t]")) {
    shapes.push({ node: fold, zero: null, fold: true, t: Number(fold.dataset.t), e: fold.dataset.e === undefined ? null : Number(fold.dataset.e) });
  }

  const clamp = (value, from, to) => Math.max(from, Math.min(to, value));
  function logScale(reach) {
    const half = (t, width, far) => t <= low ? 7 * t / low
      : 7 + (width - 7) * Math.log10(Math.min(t, far) / low) / Math.log10(far / low);
    const powers = [];
    for (let v = low; v <= high * 1.001; v *= 10) powers.push(v);
    if (!reach.before) {
      return { at: (t) => t <= 0 ? 0 : half(t, 99, high), ticks: [0, ...powers] };
    }
    const right = Math.max(reach.after, low * 10);
    const left = Math.max(reach.before, low * 10);
    const zero = 45;
    return {
      at: (t) => t < 0 ? zero - half(-t, 52, left) * (zero / 52) : zero + half(t, 54, right),
      ticks: [...powers.filter((v) => v <= left).map((v) => -v).reverse(), 0, ...powers.filter((v) => v <= right)],
    };
  }

  function linearScale(reach) {
    const from = -reach.before;
    const broken = reach.after > reach.setup * 1.15;
    const to = broken ? reach.setup : reach.after;
    const width = broken ? 88 : 99;
    const at = (t) => t <= to ? clamp(width * (t - from) / (to - from || 1), 0, width)
      : 91 + 8 * clamp((t - to) / (reach.after - to || 1), 0, 1);
    const ticks = vendor.ticks(from, to, 6).filter((t) => t >= from && t <= to);
    return { at, ticks: broken ? [...ticks, reach.after] : ticks, cut: broken ? 89.5 : null };
  }

  function reachOf(fromUp) {
    const setup = [];
    let before = 0, after = 0;
    for (const { node, zero, t, e, fold } of shapes) {
      if (fold || (fromUp && zero === null)) continue;
      const shift = fromUp ? zero : 0;
      before = Math.max(before, shift - Math.max(t, 0));
      after = Math.max(after, (e ?? t) - shift);
      if (node.tagName === "svg") setup.push(t - shift);
    }
    setup.sort((a, b) => a - b);
    const p95 = setup[Math.min(setup.length - 1, Math.round(0.95 * (setup.length - 1)))] || 1;
    return { before: fromUp ? before : 0, after: Math.max(after, 1), setup: Math.max(p95, 1) };
  }

  function place({ node, zero, t, e, fold }, scale, fromUp) {
    const none = fromUp && zero === null;
    node.classList.toggle("nowhere", none);
    if (none || (fold && fromUp)) return;
    const shift = fromUp ? zero : 0;
    const x = scale.at(t - shift);
    const end = e === null ? x : scale.at(e - shift);
    const percent = (value) => `${value.toFixed(2)}%`;
    if (node.tagName === "line") {
      node.setAttribute("x1", percent(x));
      node.setAttribute("x2", percent(end));
    } else {
      node.setAttribute("x", percent(x));
      if (node.tagName === "rect") node.setAttribute("width", percent(Math.max(0, end - x)));
    }
  }

  kt.rescale = (zero, time) => {
    if (kt.about.byOrder) return;
    const fromUp = zero === "est";
    const reach = reachOf(fromUp);
    const scale = time === "lin" ? linearScale(reach) : logScale(reach);
    for (const shape of shapes) place(shape, scale, fromUp);
    const axis = chart.querySelector(".ax");
    axis.replaceChildren(...scale.ticks.map((t, i) => kt.svg("g", { class: `k${i % 2}${i === 1 && time !== "lin" && !fromUp ? " low" : ""}` },
      kt.svg("text", { x: `${scale.at(t)}%`, y: 14 }, fromUp && t > 0 ? `+${kt.tick(t)}` : kt.tick(t)),
      kt.svg("line", { x1: `${scale.at(t)}%`, x2: `${scale.at(t)}%`, y1: 24, y2: 30 }))));
    if (scale.cut) axis.append(kt.svg("text", { x: `${scale.cut}%`, y: 28 }, "//"));
    const lines = scale.ticks.filter((t) => fromUp || t !== 0);
    const root = document.documentElement.style;
    root.setProperty("--grid-lines", lines.map((t) => t === 0
      ? "linear-gradient(var(--ink3),var(--ink3))" : "linear-gradient(var(--line),var(--line))").join(",") || "none");
    root.setProperty("--grid-places", lines.map((t) => `${scale.at(t)}% 0`).join(",") || "0 0");
  };
})();
