/* The card with the evidence of a strip row: after a moment of hovering, or at once on focus. */
(() => {
  const card = document.getElementById("card");
  if (!card) return;
  const section = document.getElementById("strip");
  let timer = 0;
  let shownFor = null;

  function fill(connection, packed) {
    const [title, steps, sentence, place] = packed;
    const list = kt.el("dl");
    for (const [when, what, strong] of steps) {
      const cls = { class: strong ? "strong" : null };
      list.append(kt.el("dt", cls, when), kt.el("dd", cls, what));
    }
    card.replaceChildren(
      kt.el("h4", {}, kt.glyph(kt.GLYPHS[connection.group] ?? "ok"), title,
        kt.el("span", {}, `${connection.comm} ${connection.role === "server" ? "\u2190" : "\u2192"} ${connection.peer}`)),
      list,
      kt.el("p", {}, sentence),
      kt.el("footer", {}, place ? kt.el("code", {}, place) : "", kt.el("span", {}, kt.el("kbd", {}, "Enter"), " opens the timeline")),
    );
  }

  function place(row) {
    const box = row.getBoundingClientRect();
    const frame = section.getBoundingClientRect();
    const chart = row.querySelector(".ch").getBoundingClientRect();
    const left = Math.max(0, Math.min(chart.left - frame.left, frame.width - card.offsetWidth));
    const below = box.bottom - frame.top + 6;
    const above = box.top - frame.top - card.offsetHeight - 6;
    const fits = box.bottom + card.offsetHeight + 12 < window.innerHeight || box.top < card.offsetHeight + 40;
    card.style.left = `${left}px`;
    card.style.top = `${fits ? below : above}px`;
  }

  function show(row) {
    const id = row.parentElement.dataset.id;
    if (!id || !kt.cards[id]) return;
    hide();
    fill(kt.byId.get(id), kt.cards[id]);
    card.hidden = false;
    place(row);
    row.setAttribute("aria-describedby", "card");
    shownFor = row;
  }

  function hide() {
    clearTimeout(timer);
    card.hidden = true;
    shownFor?.removeAttribute("aria-describedby");
    shownFor = null;
  }

  const rowOf = (target) => target.closest?.(".rows li[data-id] > .row");
  section.addEventListener("pointerover", (event) => {
    if (card.contains(event.target)) return clearTimeout(timer);
    const row = rowOf(event.target);
    if (event.pointerType === "touch" || !row || row === shownFor) return row && clearTimeout(timer);
    clearTimeout(timer);
    timer = setTimeout(() => show(row), 120);
  });
  section.addEventListener("pointerout", (event) => {
    const to = event.relatedTarget;
    if (to instanceof Node && (card.contains(to) || (shownFor && shownFor.contains(to)))) return;
    clearTimeout(timer);
    if (shownFor !== document.activeElement) timer = setTimeout(hide, 150);
  });
  section.addEventListener("focusin", (event) => {
    const row = rowOf(event.target);
    if (row && row.matches(":focus-visible")) show(row);
  });
  section.addEventListener("focusout", (event) => rowOf(event.target) && hide());
  kt.hideCard = () => {
    const was = !card.hidden;
    hide();
    return was;
  };
})();
