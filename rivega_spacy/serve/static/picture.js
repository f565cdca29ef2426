// The picture with masks and boxes. Boxes are moved, resized and drawn with pointer or keys; places are pixels of the picture.

import { paint } from "./masks.js";
import { colours, numbers } from "./entities.js";

const SVG = "http://www.w3.org/2000/svg";
const HANDLES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];
const LEAST = 2;

const size = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Names of boxes that begin in one place stand below each other; the first ones keep theirs.
function apart(labels, step) {
  const taken = [];
  for (const label of labels) {
    const { x, y, width, height } = label.getBBox();
    const free = (top) => taken.every((other) => x >= other.right || x + width <= other.x || top >= other.bottom || top + height <= other.y);
    let down = 0;
    while (!free(y + down)) down += step;
    if (down) label.setAttribute("y", String(Number(label.getAttribute("y")) + down));
    taken.push({ x, y: y + down, right: x + width, bottom: y + down + height });
  }
}

export class Picture {
  constructor(frame, actions) {
    this.frame = frame;
    this.actions = actions;
    this.image = frame.querySelector("img");
    this.layers = frame.querySelector("#layers");
    this.marks = frame.querySelector("svg");
    this.canvases = new Map();
    this.drag = null;
    this.marks.addEventListener("pointerdown", (event) => this.down(event));
    this.marks.addEventListener("pointermove", (event) => this.move(event));
    this.marks.addEventListener("pointerup", (event) => this.up(event));
    this.marks.addEventListener("pointercancel", () => this.cancel());
    this.marks.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.view && this.drawBoxes()).observe(frame);
  }

  get size() {
    return [this.image.naturalWidth, this.image.naturalHeight];
  }

  draw(view) {
    this.view = view;
    this.frame.hidden = !view.picture;
    if (!view.picture) return;
    const [width, height] = this.size;
    this.frame.style.setProperty("--ratio", String(width / height));
    this.marks.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.marks.classList.toggle("drawing", view.drawing);
    this.drawMasks();
    this.drawBoxes();
  }

  drawMasks() {
    const colour = colours(this.view.ents, this.view.palette);
    const wanted = new Map();
    for (const ent of this.view.ents) {
      if (ent.mask_rle && ent.boxes !== null) wanted.set(ent.key, `${colour.get(ent.key)}${ent.mask_rle.counts}`);
    }
    for (const [key, held] of this.canvases) {
      if (wanted.get(key) === held.what) continue;
      held.canvas.remove();
      this.canvases.delete(key);
    }
    for (const ent of this.view.ents) {
      if (!wanted.has(ent.key) || this.canvases.has(ent.key)) continue;
      const canvas = document.createElement("canvas");
      canvas.className = "mask";
      canvas.dataset.key = ent.key;
      paint(canvas, ent.mask_rle, colour.get(ent.key) ?? "#9aa4b8");
      this.canvases.set(ent.key, { canvas, what: wanted.get(ent.key) });
      this.layers.append(canvas);
    }
  }

  drawBoxes() {
    const [width] = this.size;
    const focused = document.activeElement?.closest?.("g.box");
    const refocus = focused ? [focused.dataset.key, focused.dataset.place] : null;
    const scale = width / Math.max(1, this.marks.clientWidth);
    const colour = colours(this.view.ents, this.view.palette);
    const number = numbers(this.view.ents);
    this.marks.replaceChildren();
    const labels = [];
    // Large ones first: what lies within them can still be reached.
    const sorted = this.view.ents
      .flatMap((ent) => ent.boxes.map((box, place) => ({ ent, box, place, top: ent.key === this.view.selected })))
      .sort((a, b) => a.top - b.top || size(b.box) - size(a.box));
    for (const { ent, box, place } of sorted) {
      const group = svg("g", {
        class: `box shown${ent.key === this.view.selected ? " selected" : ""}`, tabindex: 0, role: "button", "data-key": ent.key, "data-place": place,
        "aria-label": `Box ${place + 1} of ${ent.text}`, "aria-pressed": String(ent.key === this.view.selected),
      });
      group.style.setProperty("--c", colour.get(ent.key) ?? "#9aa4b8");
      const [x1, y1, x2, y2] = box;
      const at = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1) };
      group.append(svg("rect", { class: "under", ...at }), svg("rect", { class: "over", ...at }));
      const label = svg("text", { x: x1 + 5 * scale, y: y1 > 22 * scale ? y1 - 6 * scale : y1 + 16 * scale, "font-size": 13 * scale });
      label.textContent = `${number.get(ent.key) ?? ""} ${ent.text}`.trim().slice(0, 40);
      group.append(label);
      if (ent.key === this.view.selected && !this.view.drawing) {
        HANDLES.forEach(([across, down], which) => {
          const side = 11 * scale;
          const x = x1 + across * (x2 - x1) - side / 2;
          const y = y1 + down * (y2 - y1) - side / 2;
          group.append(svg("rect", { class: `handle h${which}`, "data-handle": which, x, y, width: side, height: side }));
        });
      }
      this.marks.append(group);
      labels.push(label);
    }
    apart(labels.reverse(), 17 * scale);
    if (this.drag?.kind === "draw" && this.drag.box) {
      const [x1, y1, x2, y2] = this.drag.box;
      this.marks.append(svg("rect", { class: "rubber", x: x1, y: y1, width: x2 - x1, height: y2 - y1 }));
    }
    if (refocus) this.focusBox(...refocus);
  }

  // Key of the entity whose mask is at a place; the last drawn lies on top.
  maskAt([x, y]) {
    const [width, height] = this.size;
    for (const [key, { canvas }] of [...this.canvases].reverse()) {
      const place = [Math.floor((x / width) * canvas.width), Math.floor((y / height) * canvas.height)];
      if (canvas.getContext("2d").getImageData(...place, 1, 1).data[3]) return key;
    }
    return null;
  }

  focusBox(key, place) {
    this.marks.querySelector(`g.box[data-key="${key}"][data-place="${place}"]`)?.focus();
  }

  at(event) {
    const rect = this.marks.getBoundingClientRect();
    const [width, height] = this.size;
    const clamp = (value, most) => Math.max(0, Math.min(most, value));
    return [clamp(((event.clientX - rect.left) / rect.width) * width, width), clamp(((event.clientY - rect.top) / rect.height) * height, height)];
  }

  down(event) {
    if (event.button !== 0 || !this.view) return;
    const point = this.at(event);
    if (this.view.drawing) {
      this.drag = { kind: "draw", from: point, box: null };
    } else {
      const group = event.target.closest("g.box");
      if (!group) {
        this.actions.select(this.maskAt(point));
        return;
      }
      const key = Number(group.dataset.key);
      const place = Number(group.dataset.place);
      const handle = event.target.dataset.handle;
      const ent = this.view.ents.find((each) => each.key === key);
      this.drag = { kind: handle === undefined ? "move" : "resize", key, place, handle: HANDLES[handle], from: point, start: [...ent.boxes[place]], moved: false, chosen: key === this.view.selected };
      if (key !== this.view.selected) this.actions.select(key);
      this.focusBox(key, place);
    }
    event.preventDefault();
    this.marks.setPointerCapture(event.pointerId);
  }

  move(event) {
    if (!this.drag) {
      if (this.view && !event.target.closest("g.box")) this.actions.hover(this.maskAt(this.at(event)));
      return;
    }
    const [x, y] = this.at(event);
    const { from, kind } = this.drag;
    if (kind === "draw") {
      this.drag.box = [Math.min(from[0], x), Math.min(from[1], y), Math.max(from[0], x), Math.max(from[1], y)];
    } else {
      const [dx, dy] = [x - from[0], y - from[1]];
      const nearer = Math.hypot(dx, dy) < 3 * (this.size[0] / Math.max(1, this.marks.clientWidth));
      if (!this.drag.moved && nearer) return;
      if (!this.drag.moved) this.actions.begin();
      this.drag.moved = true;
      this.place(this.drag.key, this.drag.place, kind === "move" ? this.shifted(this.drag.start, dx, dy) : this.resized(this.drag.start, this.drag.handle, dx, dy));
    }
    this.drawBoxes();
  }

  up() {
    const drag = this.drag;
    this.drag = null;
    if (!drag) return;
    if (drag.kind === "draw") {
      const box = drag.box;
      if (box && box[2] - box[0] >= LEAST && box[3] - box[1] >= LEAST) this.actions.drawn(box);
      else this.drawBoxes();
    } else if (drag.moved) {
      this.actions.boxed(drag.key);
    } else if (drag.kind === "move") {
      const [x, y] = drag.from;
      const within = this.view.ents
        .flatMap((ent) => ent.boxes.map((box) => ({ key: ent.key, box })))
        .filter(({ box: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2)
        .sort((a, b) => size(a.box) - size(b.box));
      if (drag.chosen && within.length) this.actions.select(within[0].key);
    }
  }

  cancel() {
    const drag = this.drag;
    this.drag = null;
    if (drag?.moved) this.place(drag.key, drag.place, drag.start);
    this.drawBoxes();
  }

  place(key, place, box) {
    this.view.ents.find((ent) => ent.key === key).boxes[place] = box;
  }

  shifted([x1, y1, x2, y2], dx, dy) {
    const [width, height] = this.size;
    dx = Math.max(-x1, Math.min(width - x2, dx));
    dy = Math.max(-y1, Math.min(height - y2, dy));
    return [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
  }

  resized([x1, y1, x2, y2], [across, down], dx, dy) {
    const [width, height] = this.size;
    if (across === 0) x1 = Math.max(0, Math.min(x2 - LEAST, x1 + dx));
    if (across === 1) x2 = Math.min(width, Math.max(x1 + LEAST, x2 + dx));
    if (down === 0) y1 = Math.max(0, Math.min(y2 - LEAST, y1 + dy));
    if (down === 1) y2 = Math.min(height, Math.max(y1 + LEAST, y2 + dy));
    return [x1, y1, x2, y2];
  }

  key(event) {
    const group = event.target.closest("g.box");
    if (!group) return;
    const key = Number(group.dataset.key);
    const place = Number(group.dataset.place);
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Enter" || event.key === " ") {
      this.actions.select(key);
      this.focusBox(key, place);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.actions.removeBox(key, place);
    } else if (steps[event.key]) {
      // A step is a hundredth of the picture; with Shift a pixel.
      const step = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(...this.size) / 100));
      const [dx, dy] = steps[event.key].map((side) => side * step);
      const box = this.view.ents.find((ent) => ent.key === key).boxes[place];
      this.actions.begin();
      this.place(key, place, event.altKey ? this.resized(box, [1, 1], dx, dy) : this.shifted(box, dx, dy));
      this.drawBoxes();
      this.actions.boxed(key);
    } else {
      return;
    }
    event.preventDefault();
  }
}
