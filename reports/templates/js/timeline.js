/* One connection's timeline: lanes for the TCP state, the kTLS setup and each thread, and the calls as a table. */
(() => {
  /* Quiet stretches are cut, but never inside the margin: that length is the finding. */
  function scaleFor(connection, rows, width) {
    const apart = 5400 / width;
    const stops = new Set([0]);
    for (const row of rows) {
      stops.add(row.at);
      if (row.took) stops.add(row.at + row.took);
    }
    if (connection.byOrder) stops.add(rows.length);
    for (const t of [connection.attempt, connection.established, connection.told]) if (t !== null) stops.add(t);
    const times = [...stops].sort((a, b) => a - b);
    const pieces = times.slice(1).map((end, i) => ({ start: times[i], end, cut: false }));
    if (connection.byOrder) return piecewise(pieces, rows.length, apart);
    const setup = [0, connection.attempt, connection.established, connection.told]
      .concat(rows.filter((row) => /SOL_TLS|TCP_ULP/.test(row.text)).map((row) => row.at)).filter((t) => t !== null);
    const margin = [connection.attempt, connection.established].filter((t) => t !== null).sort((a, b) => a - b);
    const inMargin = (p) => margin.length === 2 && p.end > margin[0] && p.start < margin[1];
    const window = Math.max(Math.max(...margin, 0) - Math.min(...margin, 0), 0.3 * Math.max(...setup)) || times[times.length - 1];
    const quiet = pieces.filter((p) => !inMargin(p) && p.end - p.start > 0.6 * window && p.end > 0)
      .sort((a, b) => b.end - b.start - (a.end - a.start));
    if (pieces.length > 3) for (const piece of quiet.slice(0, 4)) piece.cut = true;
    return piecewise(pieces, times[times.length - 1], apart);
  }

  function piecewise(pieces, last, apart) {
    const cuts = pieces.filter((p) => p.cut).length;
    const total = pieces.filter((p) => !p.cut).reduce((sum, p) => sum + p.end - p.start, 0) || 1;
    const unit = (98 - 3 * cuts) / total;
    let x = 1;
    for (const piece of pieces) {
      piece.x = x;
      piece.w = piece.cut ? 3 : unit * (piece.end - piece.start);
      x += piece.w;
    }
    const at = (t) => {
      const piece = pieces.find((p) => t <= p.end) || pieces[pieces.length - 1];
      if (!piece) return 1;
      const part = (Math.max(t, piece.start) - piece.start) / (piece.end - piece.start || 1);
      return piece.x + piece.w * Math.min(part, 1);
    };
    return { at, cuts: pieces.filter((p) => p.cut), last, ticks: ticksOf(pieces, at, apart) };
  }

  /* Ticks of each stretch between cuts, kept apart from each other. */
  function ticksOf(pieces, at, apart) {
    const found = [];
    let from = 0;
    while (from < pieces.length) {
      let to = from;
      while (to < pieces.length && !pieces[to].cut) to++;
      if (to > from) {
        const start = pieces[from].start, end = pieces[to - 1].end;
        const room = at(end) - at(start);
        const wanted = vendor.ticks(start, end, Math.max(1, Math.round(room / (1.6 * apart))));
        for (const t of wanted.length ? wanted : [start]) {
          if (!found.some((other) => Math.abs(at(other) - at(t)) < apart)) found.push(t);
        }
      }
      from = to + 1;
    }
    return found;
  }

  const percent = (value) => `${value.toFixed(2)}%`;
  const isRefused = (row) => /TCP_ULP|SOL_TLS/.test(row.text) && row.result !== null && !/^(ok|EEXIST|\d+)$/.test(row.result);

  function stateLane(connection, scale, y) {
    const nodes = [];
    for (const span of connection.spans()) {
      const x = scale.at(span.start), w = scale.at(span.end) - x;
      const high = span.state === "ESTABLISHED" ? 13 : 9;
      nodes.push(kt.svg("rect", { class: kt.looks(span.state, span.inferred), x: percent(x), width: percent(w), y: y - high / 2, height: high }));
      if (w > 12) {
        const mid = Math.min(x + w / 2, x + 24);
        nodes.push(kt.svg("text", { class: "st", x: percent(mid), y: y - 9 }, span.state));
      }
    }
    if (connection.established !== null && connection.outcome !== "not-connected") {
      const x = percent(scale.at(connection.established));
      nodes.push(kt.svg("line", { class: "t-up", x1: x, x2: x, y1: y - 9, y2: y + 9 }));
    }
    return nodes;
  }

  function setupLane(connection, rows, scale, y) {
    const nodes = [];
    const at = (t) => scale.at(t);
    const { attempt, established, told } = connection;
    if (connection.group === "raced" && attempt !== null) nodes.push(...raceBar(connection, scale, y));
    if (connection.group === "latent" && attempt !== null && told !== null && told > attempt) {
      nodes.push(kt.svg("line", { class: "dark", x1: percent(at(attempt)), x2: percent(at(told)), y1: y, y2: y }));
    }
    if (told !== null && (connection.group === "latent" || connection.group === "raced")) nodes.push(mark("told", at(told), y));
    let attached = false;
    for (const row of rows) {
      if (/SOL_TLS/.test(row.text)) {
        const kind = /TLS_RX/.test(row.text) ? "rx" : /TLS_TX/.test(row.text) ? "tx" : null;
        if (kind) nodes.push(mark(row.result === "ok" ? kind : `no${kind}`, at(row.at), y));
      } else if (/TCP_ULP/.test(row.text)) {
        nodes.push(mark(attemptLook(connection, row, attached), at(row.at), y));
        attached = attached || row.result === "ok";
      }
    }
    return nodes;
  }

  function raceBar(connection, scale, y) {
    const { attempt, established, margin } = connection;
    const up = established !== null && established > attempt;
    const x = scale.at(attempt), end = scale.at(up ? established : scale.last);
    const bar = up ? kt.svg("rect", { class: "race", x: percent(x), width: percent(Math.max(end - x, 0)), y: y - 3, height: 6 })
      : kt.svg("line", { class: "race-open", x1: percent(x), x2: percent(end), y1: y, y2: y });
    const words = up && margin !== null && !connection.byOrder
      ? `${connection.bound ? "at most " : ""}${kt.duration(margin)} too early` : "too early";
    const label = kt.svg("text", { class: "early", x: percent(Math.min(Math.max((x + end) / 2, 8), 92)), y: y + 18 }, words);
    return [bar, label];
  }

  function attemptLook(connection, row, attached) {
    if (row.result === "EEXIST" && attached) return "late";
    if (row.result === "ok") return connection.group === "latent" && row.at === connection.attempt ? "luck" : "ok";
    if (row.result === null) return "cut";
    return { late: "late", unconnected: "square", latent: "noluck" }[connection.group] || "x";
  }

  const mark = (name, x, y) => kt.svg("svg", { x: percent(x), y }, kt.svg("use", { href: `#g-${name}` }));

  function threadLane(rows, scale, y, width, bars) {
    const nodes = [], labels = [];
    for (const row of rows) {
      const x = scale.at(row.at), w = row.took ? scale.at(row.at + row.took) - x : 0;
      const bar = kt.svg("rect", { class: isRefused(row) ? "call bad" : "call", x: percent(x), y: y - 8, height: 14, "data-row": row.n,
        width: w * width / 100 < 3 ? 3 : percent(w) }, kt.svg("title", {}, `${row.text} = ${row.result ?? "?"}`));
      bars.set(row.n, bar);
      nodes.push(bar);
      const [rank, text] = labelOf(row);
      const half = text.length * 3.5 * 100 / width;
      if (text) labels.push({ rank, text, half, mid: Math.min(Math.max(x + w / 2, half), 100 - half) });
    }
    return [...nodes, ...placed(labels).map(({ text, mid }) => kt.svg("text", { x: percent(mid), y: y + 19 }, text))];
  }

  /* Labels never touch; the kTLS calls have the first choice. */
  function placed(labels) {
    const kept = [];
    for (const label of labels.sort((a, b) => a.rank - b.rank)) {
      if (kept.every((other) => Math.abs(other.mid - label.mid) > other.half + label.half + 0.6)) kept.push(label);
    }
    return kept;
  }

  function labelOf(row) {
    if (/TCP_ULP/.test(row.text)) return [0, `TCP_ULP${row.result === "ok" ? "" : ` = ${row.result ?? "?"}`}`];
    if (/SOL_TLS/.test(row.text)) return [1, /TLS_RX/.test(row.text) ? "TLS_RX" : "TLS_TX"];
    if (/^(connect|accept4?)$/.test(row.call)) return [2, row.call];
    if (/OUT\b/.test(row.text) && /wait|select|^p?poll/.test(row.call)) return [3, row.call];
    return row.call === "close" ? [4, row.call] : [9, ""];
  }

  function drawing(connection, rows, bars) {
    const narrow = matchMedia("(max-width: 760px)").matches;
    const width = narrow ? Math.max(260, innerWidth - 60) : Math.min(960, innerWidth - 240);
    const scale = scaleFor(connection, rows, width);
    const threads = [...new Set(rows.filter((r) => r.tid !== null).map((r) => r.tid))].slice(0, 8);
    const spans = connection.spans();
    const basis = spans.some((s) => s.inferred) ? (spans.some((s) => !s.inferred) ? "in part inferred" : "inferred") : "observed";
    const names = [`TCP state, ${basis}`, "kTLS setup", ...threads.map((tid) => `thread ${tid} calls`)];
    const step = narrow ? 54 : 42;
    const middle = names.map((_, i) => (narrow ? 62 : 44) + i * step);
    const height = middle[middle.length - 1] + 28;
    const picture = kt.svg("svg", { class: "tl", height, role: "img", "aria-label": `Timeline of ${connection.id}; the calls are in the table below` });
    for (const t of scale.ticks) {
      const x = percent(scale.at(t));
      if (connection.byOrder && (!Number.isInteger(t) || t >= rows.length)) continue;
      const label = connection.byOrder ? String(t + 1) : kt.tick(t);
      picture.append(kt.svg("line", { class: "grid", x1: x, x2: x, y1: 18, y2: height }), kt.svg("text", { class: scale.at(t) > 94 ? "axis-t last" : "axis-t", x, y: 13 }, label));
    }
    const lanes = [...stateLane(connection, scale, middle[0]), ...setupLane(connection, rows, scale, middle[1])];
    threads.forEach((tid, i) => lanes.push(...threadLane(rows.filter((r) => r.tid === tid), scale, middle[i + 2], width, bars)));
    /* text stays readable over a cut */
    picture.append(...lanes.filter((node) => node.tagName !== "text"));
    for (const cut of scale.cuts) picture.append(...cutMarks(cut, height));
    picture.append(...lanes.filter((node) => node.tagName === "text"));
    if (narrow) names.forEach((name, i) => picture.append(kt.svg("svg", { x: 0 }, kt.svg("text", { x: 0, y: middle[i] - 24, class: "axis-t lane" }, name))));
    const labels = kt.el("div", { class: "tl-names" }, ...names.map((name) => kt.el("span", {}, name)));
    labels.querySelectorAll("span").forEach((span, i) => {
      span.style.height = `${step}px`;
      span.style.lineHeight = `${step}px`;
      if (!i) span.style.marginTop = `${44 - step / 2}px`;
    });
    return kt.el("div", { class: "tl-wrap" }, labels, picture);
  }

  function cutMarks(cut, height) {
    const left = cut.x + cut.w * 0.3, right = cut.x + cut.w * 0.7;
    const line = (x) => kt.svg("line", { class: "cutline", x1: percent(x), x2: percent(x), y1: 18, y2: height });
    return [kt.svg("rect", { class: "cutground", x: percent(left), width: percent(right - left), y: 18, height: height - 18 }), line(left), line(right)];
  }

  function callsTable(connection, rows) {
    const lined = rows.some((row) => row.line !== null);
    const heads = [...(lined ? [["line", "num"]] : []), ["time", "num"], ["thread", "num"], ["call", ""], ["result", ""], ["took", "num"], ["TCP state after", ""]];
    const body = kt.el("tbody");
    const gap = gapAfter(connection, rows);
    rows.forEach((row, i) => {
      body.append(callRow(connection, row, lined));
      if (i === gap) {
        const n = connection.omitted;
        body.append(kt.el("tr", { class: "gap" }, kt.el("td", { colspan: lined ? 3 : 2 }), kt.el("td", { colspan: 4 }, `${n.toLocaleString("en-US")} data call${n === 1 ? "" : "s"} left out`)));
      }
    });
    return kt.el("table", { class: lined ? "calls took" : "calls took unlined" },
      kt.el("caption", { class: "hidden" }, `Calls of ${connection.id}`),
      kt.el("thead", {}, kt.el("tr", {}, ...heads.map(([name, cls]) => kt.el("th", { scope: "col", class: cls || null }, name)))), body);
  }

  /* Where the calls left out belong: the longest pause after the setup. */
  function gapAfter(connection, rows) {
    if (!connection.omitted || rows.length < 2) return -1;
    const last = Math.max(...[connection.attempt, connection.told, 0].filter((t) => t !== null));
    let best = rows.length - 2, pause = -1;
    for (let i = 0; i < rows.length - 1; i++) {
      const length = rows[i + 1].at - rows[i].at;
      if (rows[i + 1].at > last && length > pause) [best, pause] = [i, length];
    }
    return best;
  }

  function callRow(connection, row, lined) {
    const refused = isRefused(row) && row.result !== null;
    const time = connection.byOrder ? `call ${row.at + 1}` : kt.signed(row.at);
    const swatch = kt.svg("svg", { class: "swatch", "aria-hidden": "true" });
    const look = kt.looks(row.state, row.inferred);
    const high = look.startsWith("s-up") ? 9 : 5;
    swatch.append(kt.svg("rect", { class: look, x: 0.5, y: high === 9 ? 0.5 : 2.5, width: 13, height: high }));
    return kt.el("tr", { class: refused ? "marked" : null, "data-row": row.n },
      lined ? kt.el("td", { class: "num ln" }, row.line === null ? "" : String(row.line)) : "",
      kt.el("td", { class: "num tm" }, time),
      kt.el("td", { class: "num th" }, row.tid === null ? "\u2013" : String(row.tid)),
      kt.el("td", { class: "cl" }, kt.el("bdi", {}, row.text)),
      kt.el("td", { class: refused ? "rs bad" : "rs" }, row.result ?? ""),
      kt.el("td", { class: "num tk" }, row.took === null ? "" : kt.duration(row.took)),
      kt.el("td", { class: "st" }, swatch, ` ${row.state}`));
  }

  /* Hovering a bar marks its row in the table, and the other way round. */
  function join(box, bars) {
    const rows = new Map([...box.querySelectorAll("tr[data-row]")].map((tr) => [Number(tr.dataset.row), tr]));
    const light = (event, on) => {
      const n = event.target.closest?.("[data-row]")?.dataset.row;
      if (n === undefined) return;
      bars.get(Number(n))?.classList.toggle("hot", on);
      rows.get(Number(n))?.classList.toggle("hot", on);
    };
    box.addEventListener("pointerover", (event) => light(event, true));
    box.addEventListener("pointerout", (event) => light(event, false));
  }

  kt.timeline = (connection) => {
    const rows = connection.rows().map((row, n) => ({ ...row, n }));
    const bars = new Map();
    const about = `${connection.id}, ${connection.role}, ${connection.process}, fd ${connection.fd}, ${connection.peer}: ${connection.outcomeText}`;
    const box = kt.el("div", { class: "opened" }, kt.el("p", { class: "about" }, about));
    if (rows.length) box.append(drawing(connection, rows, bars), callsTable(connection, rows));
    else box.append(kt.el("p", { class: "sub" }, "No calls of this connection are in the report."));
    join(box, bars);
    return box;
  };
})();
