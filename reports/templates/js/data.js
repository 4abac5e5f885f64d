"use strict";
document.documentElement.classList.add("js");
const kt = {};

/* The report's data and small helpers. The packing is described in ktrace/reporters/htmlreport/table.py. */
(() => {
  const raw = JSON.parse(document.getElementById("data").textContent);
  const text = (n) => (n === null || n === undefined ? "" : raw.strings[n]);

  function unpack(c) {
    const [id, process, comm, peer, role, group, outcomeText, outcome, margin, marginText, bound, keys,
      crypto, fd, omitted, byOrder, [attempt, established, told]] = c;
    const connection = {
      id, group, margin, fd, omitted, attempt, established, told,
      number: Number(id.slice(1)) || 0,
      process: text(process), comm: text(comm), peer: text(peer), role: text(role),
      outcomeText: text(outcomeText), outcome: text(outcome), marginText: text(marginText),
      keys: text(keys), crypto: text(crypto), bound: bound === 1, byOrder: byOrder === 1,
      rank: group === null ? 99 : raw.rank[group],
      spans: () => c[17].map(([state, start, end, inferred]) => ({
        state: raw.states[state], start, end, inferred: inferred === 1,
      })),
      rows: () => unpackRows(c[18], String(fd)),
    };
    connection.peerKey = connection.role === "server"
      ? connection.peer.replace(/:\d+$/, "").replace(/^\[|\]$/g, "") : connection.peer;
    return connection;
  }

  /* Lines are steps from the row before, thread 0 is the one of the row before. */
  function unpackRows(rows, fd) {
    let line = 0, thread = null;
    return rows.map(([step, at, tid, what, result, took, state]) => {
      if (step !== null) line += step;
      if (tid !== null && tid !== 0) thread = tid;
      const words = text(what).replaceAll("\ue000", fd);
      return {
        at, took, text: words, call: words.startsWith("state change") ? "state" : words.split("(")[0],
        line: step === null ? null : line, tid: tid === null ? null : thread,
        result: result === null ? null : text(result),
        state: raw.states[state >> 1], inferred: (state & 1) === 1,
      };
    });
  }

  function searchText(c, packed) {
    const results = packed[18].map((row) => text(row[4])).join(" ");
    return [c.id, c.process, c.peer, c.role, `fd ${c.fd}`, c.group, c.outcome, c.keys, c.crypto, results]
      .join(" ").toLowerCase();
  }

  kt.about = raw;
  kt.connections = (raw.connections || []).map((packed) => {
    const connection = unpack(packed);
    let found = null;
    connection.search = () => (found ??= searchText(connection, packed));
    return connection;
  });
  kt.byId = new Map(kt.connections.map((c) => [c.id, c]));
  kt.cards = raw.cards || {};

  kt.el = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  kt.svg = (tag, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null && child !== ""));
    return node;
  }
  kt.GLYPHS = { raced: "x", latent: "luck", late: "late", unconnected: "square", unknown: "unknown", keys: "norx", safe: "ok" };
  kt.glyph = (name) => kt.svg("svg", {
    class: "key", "aria-hidden": "true",
    viewBox: `-8 ${{ tx: -16, notx: -16, rx: 0, norx: 0 }[name] ?? -8} 16 16`,
  }, kt.svg("use", { href: `#g-${name}` }));

  const threeDigits = (value) => {
    const rounded = Number(value.toPrecision(3));
    return rounded >= 100 ? rounded.toLocaleString("en-US", { maximumFractionDigits: 0 })
      : rounded.toFixed(rounded >= 10 ? 1 : 2);
  };
  kt.duration = (us) => {
    const size = Math.abs(us);
    if (size < 0.0005) return "0";
    for (const [limit, unit, name] of [[1e3, 1, "µs"], [1e6, 1e3, "ms"], [120e6, 1e6, "s"], [7.2e9, 60e6, "min"]]) {
      if (Number(size.toPrecision(3)) < limit) return `${threeDigits(size / unit)}\u202f${name}`;
    }
    return `${threeDigits(size / 3.6e9)}\u202fh`;
  };
  kt.signed = (us) => {
    const text = kt.duration(us);
    return text === "0" ? text : (us < 0 ? "\u2212" : "+") + text;
  };
  kt.tick = (us) => {
    if (us === 0) return "0";
    const size = Math.abs(us);
    const [unit, name] = size < 1e3 ? [1, "µs"] : size < 1e6 ? [1e3, "ms"] : [1e6, "s"];
    return `${us < 0 ? "\u2212" : ""}${Number((size / unit).toPrecision(4))}\u202f${name}`;
  };
  kt.looks = (state, inferred) => {
    if (state === "CLOSE" || state === "LISTEN") return "s-none";
    if (state === "UNKNOWN") return "s-unknown";
    const kind = state === "ESTABLISHED" ? "up" : state === "SYN_SENT" || state === "SYN_RECV" ? "conn" : "down";
    return `s-${kind}${inferred ? " hatch" : ""}`;
  };
})();
