// The text with its entities marked, and the list of entities with what can be done to each.

import { area } from "./masks.js";
import { SHOWN, ABSENT, STATES, colours, numbers, stateOf } from "./entities.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const CLASSES = { [SHOWN]: "shown", [ABSENT]: "absent" };
const classOf = (ent) => CLASSES[stateOf(ent)] ?? "unjudged";

function coloured(made, colour) {
  if (colour) made.style.setProperty("--c", colour);
  return made;
}

// Of a text longer than this the browser lays out what is seen of it alone, a block at a time: a million characters at once keep it busy for seconds.
const LONG = 20000;
const BLOCK = 2000;
// So many entities are listed at a time.
const LISTED = 200;

function blocks(signs, sorted) {
  const found = [];
  let start = 0;
  let place = 0;
  for (let end = signs.length > LONG ? BLOCK : signs.length; end < signs.length; end++) {
    while (place < sorted.length && sorted[place].end <= end) place++;
    const within = place < sorted.length && sorted[place].start < end;
    // Between two words, but for one that goes on for ever.
    if (within || (/\S/u.test(signs[end - 1]) && end < start + 2 * BLOCK)) continue;
    found.push([start, end]);
    start = end;
    end += BLOCK - 1;
  }
  return [...found, [start, signs.length]];
}

export function drawText(place, view, actions) {
  const { signs, ents } = view;
  const colour = colours(ents, view.palette);
  const sorted = [...ents].sort((a, b) => a.start - b.start);
  const cut = blocks(signs, sorted);
  const parts = cut.map(() => (cut.length > 1 ? element("span", { class: "block" }) : place));
  place.replaceChildren(...(cut.length > 1 ? parts : []));
  let next = 0;
  cut.forEach(([start, end], number) => {
    const inside = [];
    while (next < sorted.length && sorted[next].start < end) inside.push(sorted[next++]);
    drawPart(parts[number], signs, start, end, inside, view, actions, colour);
  });
  place.classList.toggle("none", !signs.length);
  if (!signs.length) place.textContent = "no text";
}

function drawPart(place, signs, start, end, ents, view, actions, colour) {
  let at = start;
  for (const ent of ents) {
    piece(place, signs, at, ent.start);
    const mark = element("mark", {
      class: classOf(ent), "data-key": ent.key, tabindex: 0, role: "button", dir: "auto",
      "aria-label": `${ent.text}, ${ent.label}, ${stateOf(ent)}`, "aria-pressed": String(ent.key === view.selected),
      onclick: () => actions.select(ent.key), onkeydown: (event) => pressed(event, () => actions.select(ent.key, true)),
    });
    piece(mark, signs, ent.start, ent.end);
    mark.append(element("small", { "aria-hidden": "true" }, ent.label));
    place.append(coloured(mark, colour.get(ent.key)));
    at = ent.end;
  }
  piece(place, signs, at, end);
}

function piece(place, signs, start, end) {
  if (end <= start) return;
  const made = element("span", { "data-start": start }, signs.slice(start, end).join(""));
  place.append(made);
}

function pressed(event, action) {
  if (event.key !== "Enter" && event.key !== " ") return;
  event.preventDefault();
  action();
}

// Start and end of the selected words, in code points; null where nothing in the text is selected.
export function selectedPlace(place) {
  const selection = window.getSelection();
  if (!selection || selection.isCollapsed || !selection.rangeCount) return null;
  const range = selection.getRangeAt(0);
  if (!range.intersectsNode(place)) return null;
  let first = null;
  let last = null;
  for (const span of place.querySelectorAll("span[data-start]")) {
    const node = span.firstChild;
    if (!node || !range.intersectsNode(node)) continue;
    const base = Number(span.dataset.start);
    const from = range.startContainer === node ? range.startOffset : 0;
    const to = range.endContainer === node ? range.endOffset : node.data.length;
    const start = base + [...node.data.slice(0, from)].length;
    const end = base + [...node.data.slice(0, to)].length;
    if (end <= start) continue;
    first = first ?? start;
    last = end;
  }
  return first === null ? null : [first, last];
}

const score = (value) => (value === null || value === undefined ? "" : ` ${value.toFixed(2)}`);

export function drawList(place, view, actions) {
  const colour = colours(view.ents, view.palette);
  const number = numbers(view.ents);
  const sorted = [...view.ents].sort((a, b) => a.start - b.start);
  // Around the one that is selected, which may be in the middle of thousands.
  const first = Math.max(0, Math.min(sorted.findIndex((ent) => ent.key === view.selected) - LISTED / 2, sorted.length - LISTED));
  const listed = sorted.slice(first, first + LISTED);
  place.replaceChildren(...listed.map((ent) => row(ent, view, actions, colour.get(ent.key), number.get(ent.key))));
  if (listed.length < sorted.length) {
    place.append(element("li", { class: "soft" }, `${first + 1} to ${first + listed.length} of ${sorted.length} entities: select another one in the text.`));
  }
}

function row(ent, view, actions, colour, number) {
  const selected = ent.key === view.selected;
  const name = element(
    "button",
    { type: "button", class: "name", "data-key": ent.key, "aria-expanded": String(selected), onclick: () => actions.select(selected ? null : ent.key, true) },
    element("span", { class: "dot", "aria-hidden": "true" }, number ? String(number) : "–"),
    element("bdi", {}, ent.text),
  );
  const labels = [...new Set([...view.labels, ent.label])];
  const type = element(
    "select",
    { "aria-label": `Type of ${ent.text}`, "data-field": "type", onchange: (event) => actions.retype(ent.key, event.target.value) },
    ...labels.map((label) => element("option", { value: label, selected: label === ent.label }, label)),
  );
  const state = element(
    "select",
    { "aria-label": `Whether the picture shows ${ent.text}`, "data-field": "state", onchange: (event) => actions.judge(ent.key, event.target.value) },
    ...STATES.map((each) => element("option", { value: each, selected: each === stateOf(ent) }, each)),
  );
  const made = element("li", { class: `${classOf(ent)}${selected ? " selected" : ""}`, "data-key": ent.key }, element("div", { class: "line" }, name, type, state), facts(ent, view));
  if (selected) made.append(tools(ent, view, actions));
  return coloured(made, colour);
}

function facts(ent, view) {
  const found = [];
  if (ent.expansion) found.push(element("span", { class: "means" }, ent.expansion));
  if (ent.score !== null && ent.score !== undefined) found.push(`tagger${score(ent.score)}`);
  if (ent.groundable !== null && ent.groundable_score !== null && ent.groundable_score !== undefined) found.push(`shown${score(ent.groundable_score)}`);
  if (ent.boxes.length) found.push(`${ent.boxes.length === 1 ? "box" : `${ent.boxes.length} boxes`}${score(ent.box_score)}`);
  if (ent.waiting) found.push(element("span", { class: "waiting" }, "mask follows…"));
  else if (ent.mask_rle) found.push(`mask${score(ent.mask_score)}, ${((100 * area(ent.mask_rle)) / (ent.mask_rle.size[0] * ent.mask_rle.size[1])).toFixed(1)} % of the picture`);
  if (stateOf(ent) === SHOWN && view.picture && !ent.boxes.length && !ent.mask_rle) found.push("no box yet");
  return element("div", { class: "facts" }, ...found.map((each) => (typeof each === "string" ? element("span", {}, each) : each)));
}

function tools(ent, view, actions) {
  const button = (text, label, action, more = {}) => element("button", { type: "button", "aria-label": label, onclick: action, ...more }, text);
  const edge = (side, text) =>
    element(
      "span", { class: "edge", role: "group", "aria-label": `${text} of ${ent.text}` }, element("span", { class: "soft" }, text),
      button("‹", `${text} one word back`, (event) => actions.moveEdge(ent.key, side, -1, event.altKey), { "data-do": `${side}-back` }),
      button("›", `${text} one word on`, (event) => actions.moveEdge(ent.key, side, 1, event.altKey), { "data-do": `${side}-on` }),
    );
  const words = element(
    "div", { class: "row" }, edge("start", "Start"), edge("end", "End"),
    button("Use selection", "Use the words selected in the text", () => actions.useSelection(ent.key), { "data-do": "use-selection" }),
    button("Delete", `Delete ${ent.text}`, () => actions.remove(ent.key), { class: "danger", "data-do": "delete" }),
  );
  const means = element("label", { class: "row means-edit" }, element("span", { class: "soft" }, "Means"),
    element("input", { type: "text", value: ent.expansion ?? "", placeholder: "what to look for: a person, a football club", "data-field": "expansion", onchange: (event) => actions.explain(ent.key, event.target.value) }));
  const made = element("div", { class: "toolbox" }, words, means);
  if (view.picture) {
    made.append(
      element(
        "div", { class: "row" },
        button(view.drawing ? "Cancel drawing" : "Draw a box", `Draw a box for ${ent.text}`, () => actions.draw(ent.key), { "data-do": "draw", "aria-pressed": String(view.drawing) }),
        button("Look for it", `Let the pipeline look for ${ent.text} in the picture`, () => actions.look(ent.key), { "data-do": "look" }),
        ...ent.boxes.map((_, place) => button(ent.boxes.length > 1 ? `Remove box ${place + 1}` : "Remove box", `Remove box ${place + 1} of ${ent.text}`, () => actions.removeBox(ent.key, place), { "data-do": `remove-box-${place}` })),
      ),
    );
  }
  made.append(element("p", { class: "soft hint" }, "‹ › move by words, with Alt by characters." + (view.picture ? " A focused box moves with the arrow keys, with Alt it is resized, Delete removes it." : "")));
  return made;
}
