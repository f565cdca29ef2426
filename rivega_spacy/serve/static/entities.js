// The entities of a post as a person changes them. Places are counted in characters as Python counts them: by code points.

export const SHOWN = "shown";
export const ABSENT = "not shown";
export const UNJUDGED = "not judged";
export const STATES = [SHOWN, ABSENT, UNJUDGED];

let keys = 0;

export function withKey(ent) {
  return { ...ent, boxes: (ent.boxes ?? []).map((box) => [...box]), key: ent.key ?? ++keys };
}

export function stateOf(ent) {
  if (ent.groundable || ent.boxes.length || ent.mask_rle) return SHOWN;
  return ent.groundable === false ? ABSENT : UNJUDGED;
}

export function colours(ents, palette) {
  const found = new Map();
  for (const ent of ents) if (stateOf(ent) === SHOWN) found.set(ent.key, palette[found.size % palette.length]);
  return found;
}

export function numbers(ents) {
  const found = new Map();
  for (const ent of ents) if (stateOf(ent) === SHOWN) found.set(ent.key, found.size + 1);
  return found;
}

const isBlank = (sign) => sign === undefined || /\s/u.test(sign);

export function trimmed(signs, start, end) {
  while (start < end && isBlank(signs[start])) start++;
  while (end > start && isBlank(signs[end - 1])) end--;
  return [start, end];
}

export function overlapping(ents, start, end, except = null) {
  return ents.find((ent) => ent !== except && ent.start < end && start < ent.end) ?? null;
}

export function firstFreeWord(signs, ents) {
  let start = 0;
  while (start < signs.length) {
    while (start < signs.length && isBlank(signs[start])) start++;
    let end = start;
    while (end < signs.length && !isBlank(signs[end])) end++;
    if (end > start && !overlapping(ents, start, end)) return [start, end];
    start = end;
  }
  return null;
}

// Where an edge goes when it is moved by a word (or, with `fine`, a character).
export function movedEdge(signs, place, step, fine) {
  if (fine) return Math.max(0, Math.min(signs.length, place + step));
  const seen = (at) => !isBlank(signs[at]);
  if (step > 0) {
    while (place < signs.length && !seen(place)) place++;
    while (place < signs.length && seen(place)) place++;
  } else {
    while (place > 0 && !seen(place - 1)) place--;
    while (place > 0 && seen(place - 1)) place--;
  }
  return place;
}

export function respan(ent, signs, start, end) {
  ent.start = start;
  ent.end = end;
  ent.text = signs.slice(start, end).join("");
  ent.score = null;
}

export function judge(ent, state) {
  ent.groundable = state === UNJUDGED ? null : state === SHOWN;
  ent.groundable_score = null;
  if (state === SHOWN) {
    if (ent.former) Object.assign(ent, ent.former);
    ent.former = null;
  } else if (ent.boxes.length || ent.mask_rle) {
    ent.former = { boxes: ent.boxes, box: ent.box, box_score: ent.box_score, mask_rle: ent.mask_rle, mask_score: ent.mask_score, masks: ent.masks };
    setBoxes(ent, []);
  }
}

export function setBoxes(ent, boxes) {
  ent.boxes = boxes;
  ent.box = null;
  ent.box_score = null;
  ent.mask_rle = null;
  ent.mask_score = null;
  delete ent.masks;
  if (boxes.length) {
    if (!ent.groundable) ent.groundable_score = null;
    ent.groundable = true;
    ent.box = boxes.reduce((best, box) => (size(box) > size(best) ? box : best));
  }
}

const size = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

// What is sent and saved: without what only the page needs.
export function plain(ents) {
  return [...ents]
    .sort((a, b) => a.start - b.start)
    .map(({ key, former, waiting, ...ent }) => ent);
}
