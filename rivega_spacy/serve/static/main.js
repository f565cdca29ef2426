// The page: a post at a time, own or of the queue, looked at and corrected.

import { Problem, ask, askJSON, form } from "./client.js";
import { drawList, drawText, element, selectedPlace } from "./words.js";
import { Picture } from "./picture.js";
import * as entities from "./entities.js";

const $ = (id) => document.getElementById(id);
const LATER = 350;
const UNDO = 100;

let session = null;
let mode = "own";
// What is on the page. Of the queue: `number` and `revision`; `dirty` where something is not saved.
let work = null;
// Posts of the queue with changes that are not saved, by number.
const drafts = new Map();
let own = null;
let selected = null;
let drawing = false;
let givenPicture = null;
const timers = new Map();
const requests = new Map();

const picture = new Picture($("frame"), { select, hover, begin, drawn, boxed, removeBox });
const actions = { select, retype, judge, moveEdge, useSelection, remove, explain, draw, look, removeBox };

// --- what is shown ---

function view() {
  return { signs: work.signs, ents: work.ents, palette: session.palette, labels: session.labels, picture: Boolean(work.picture), selected, drawing };
}

function redraw() {
  if (!work) return;
  const focus = focused();
  const now = view();
  drawText($("text"), now, actions);
  drawList($("ents"), now, actions);
  picture.draw(now);
  $("none").hidden = work.ents.length > 0;
  $("undo").disabled = !work.history.length;
  $("nophoto").hidden = Boolean(work.picture);
  $("state").textContent = work.dirty ? "not saved" : work.saved ? "saved" : "";
  $("state").className = `badge ${work.dirty ? "open" : work.saved ? "done" : ""}`;
  $("save").disabled = Boolean(work.fault);
  const names = work.ents.filter((ent) => entities.stateOf(ent) === entities.SHOWN).map((ent) => ent.text);
  $("picture").alt = names.length ? `Picture of the post; shown: ${names.join(", ")}` : "Picture of the post";
  refocus(focus);
}

// The control that has the focus, so that it has it again once it is drawn anew.
function focused() {
  const active = document.activeElement;
  const key = active?.closest?.("[data-key]")?.dataset.key;
  if (!key || active.closest("g.box")) return null;
  const list = Boolean(active.closest("#ents"));
  return { key, list, does: active.dataset.do, field: active.dataset.field, name: active.classList.contains("name") };
}

function refocus(focus) {
  if (!focus) return;
  const root = focus.list ? $("ents").querySelector(`li[data-key="${focus.key}"]`) : $("text");
  const what = focus.does ? `[data-do="${focus.does}"]` : focus.field ? `[data-field="${focus.field}"]` : focus.name ? "button.name" : `mark[data-key="${focus.key}"]`;
  (root?.querySelector(what) ?? root?.querySelector("button.name"))?.focus({ preventScroll: true });
}

function hover(key) {
  for (const each of document.querySelectorAll("#work .hot")) each.classList.remove("hot");
  $("work").classList.toggle("linked", key !== null);
  if (key === null) return;
  for (const each of document.querySelectorAll(`#work [data-key="${key}"]`)) each.classList.add("hot");
}

for (const kind of ["pointerover", "focusin"]) {
  $("work").addEventListener(kind, (event) => {
    const found = event.target.closest("[data-key]");
    if (found) hover(Number(found.dataset.key));
    else if (!event.target.closest("#marks")) hover(null);
  });
}
for (const kind of ["pointerleave", "focusout"]) $("work").addEventListener(kind, () => hover(null));

function tell(text) {
  $("status").textContent = text;
}

function show(error, retry = null) {
  if (error.name === "AbortError") return;
  const problem = error instanceof Problem ? error : new Problem("The page failed", String(error));
  if (!(error instanceof Problem)) console.error(error);
  const close = () => ($("problem").hidden = true);
  const buttons = [element("button", { type: "button", onclick: close }, "Close")];
  if (retry) buttons.unshift(element("button", { type: "button", id: "again", onclick: () => (close(), retry()) }, "Try again"));
  $("problem").replaceChildren(
    element("strong", {}, problem.title), element("p", {}, problem.detail),
    ...(problem.notes.length ? [element("ul", {}, ...problem.notes.map((note) => element("li", {}, note)))] : []),
    element("div", { class: "row" }, ...buttons),
  );
  $("problem").hidden = false;
  tell("");
}

// Runs something that asks the server; the button that began it waits.
async function busy(button, text, action, retry = null) {
  button?.setAttribute("aria-busy", "true");
  if (button) button.disabled = true;
  tell(text);
  $("problem").hidden = true;
  try {
    const result = await action();
    if ($("status").textContent === text) tell("");
    return result;
  } catch (error) {
    show(error, retry);
    return null;
  } finally {
    button?.removeAttribute("aria-busy");
    if (button) button.disabled = false;
  }
}

// --- a post comes onto the page ---

function makeWork(post, more) {
  return { post, signs: [...(post.text ?? "")], ents: post.ents.map(entities.withKey), history: [], dirty: false, saved: false, fault: null, picture: null, ...more };
}

async function open(next) {
  cancelDrawing();
  work = next;
  selected = null;
  hover(null);
  $("work").hidden = !work;
  if (!work) return;
  $("post-name").textContent = work.number ? `Post ${work.number}${work.post.id ? `: ${work.post.id}` : ""}` : work.post.id || "Post";
  $("errors").replaceChildren(...[...(work.fault ? [{ component: "post", message: work.fault }] : []), ...(work.post.errors ?? [])].map((note) => element("li", {}, element("b", {}, note.component), ` ${note.message}`)));
  $("errors").hidden = !$("errors").childElementCount;
  const context = ["caption", "description", "knowledge"].filter((name) => work.post[name]);
  $("context").replaceChildren(...context.flatMap((name) => [element("dt", {}, name), element("dd", { dir: "auto" }, work.post[name])]));
  $("more").hidden = !context.length;
  await showPicture();
  redraw();
}

async function showPicture() {
  $("nophoto").textContent = work.noPicture ?? "no picture";
  $("caption").textContent = "";
  $("frame").hidden = true;
  if (!work.picture) return;
  const now = work;
  try {
    await load(work.picture.url);
  } catch {
    try {
      const answer = await ask("/preview", form(pictureFields()));
      now.picture.url = URL.createObjectURL(await answer.blob());
      await load(now.picture.url);
    } catch (error) {
      now.picture = null;
      now.noPicture = "the picture cannot be read";
      if (work === now) {
        $("nophoto").textContent = now.noPicture;
        show(error);
      }
      return;
    }
  }
  if (work === now) $("caption").textContent = `${now.picture.name ? `${now.picture.name}, ` : ""}${$("picture").naturalWidth} × ${$("picture").naturalHeight}`;
}

async function load(url) {
  $("picture").src = url;
  await $("picture").decode();
}

function pictureFields() {
  return work.number ? { number: work.number } : { image: work.picture?.blob ?? null };
}

// --- a post of one's own ---

function take(file) {
  givenPicture = file;
  $("drop-hint").textContent = file ? `${file.name || "pasted picture"}, ${(file.size / 1e6).toFixed(2)} MB` : "Choose one, drop it here, or paste it.";
  $("without-picture").hidden = !file;
  if (file && file.size > session.limits.bytes) show(new Problem("The picture is too large", `It has ${file.size} bytes, the server takes ${session.limits.bytes}. Scale it down.`));
}

$("given-picture").addEventListener("change", (event) => take(event.target.files[0] ?? null));
$("without-picture").addEventListener("click", () => {
  $("given-picture").value = "";
  take(null);
});
for (const kind of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" ? [...(event.dataTransfer?.files ?? [])].find((each) => each.type.startsWith("image/") || !each.type) : null;
    if (!file) return;
    if (mode !== "own") setMode("own");
    take(file);
  });
}
document.addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])].find((each) => each.type.startsWith("image/"));
  if (file && mode === "own") take(file);
});

async function annotateOwn() {
  const text = $("given-text").value;
  const file = givenPicture;
  await busy($("annotate"), "Looking at the post…", async () => {
    const post = await askJSON("/annotate", form({ text, image: file }));
    if (own?.picture?.url) URL.revokeObjectURL(own.picture.url);
    own = makeWork(post, { picture: file ? { blob: file, name: file.name, url: URL.createObjectURL(file) } : null });
    if (mode === "own") await open(own);
    $("work").scrollIntoView({ block: "nearest" });
    $("work").focus({ preventScroll: true });
  }, annotateOwn);
}

$("give").addEventListener("submit", (event) => {
  event.preventDefault();
  annotateOwn();
});

// --- the queue ---

async function goTo(number) {
  await busy(null, `Loading post ${number}…`, async () => {
    await finishMasks();
    keepDraft();
    const draft = drafts.get(number);
    const item = draft ? null : await askJSON(`/queue/${number}`);
    const next = draft ?? fromItem(item);
    drafts.delete(number);
    $("number").value = number;
    await open(next);
    history.replaceState(null, "", `#${number}`);
    // The next one is annotated while this one is looked at.
    if (number < session.queue.total && !drafts.has(number + 1)) ask(`/queue/${number + 1}`).catch(() => {});
  }, () => goTo(number));
  drawQueue();
}

function fromItem(item) {
  const name = typeof item.post.image === "string" ? item.post.image.replace(/^data:.*/, "picture").split(/[\\/]/).pop() : null;
  return makeWork(item.post, { number: item.number, revision: item.revision, saved: item.saved, fault: item.fault, picture: item.picture ? { url: `/queue/${item.number}/picture`, name } : null });
}

function keepDraft() {
  if (work?.number && work.dirty) drafts.set(work.number, work);
}

function drawQueue() {
  const { queue } = session;
  if (!queue) return;
  $("of").textContent = `of ${queue.total}`;
  $("number").max = queue.total;
  $("progress").max = queue.total;
  $("progress").value = queue.saved;
  const unsaved = drafts.size + (work?.number && work.dirty ? 1 : 0);
  $("saved").textContent = `${queue.saved} of ${queue.total} saved${unsaved ? `, ${unsaved} changed and not saved` : ""}`;
  $("saved-file").hidden = !queue.saved;
  $("previous").disabled = !work?.number || work.number <= 1;
  $("next").disabled = !work?.number || work.number >= queue.total;
  $("open").disabled = queue.next === null;
}

async function save() {
  const now = work;
  if (!now?.number) return;
  const done = await busy($("save"), "Saving…", async () => {
    await finishMasks();
    const sent = JSON.stringify({ ents: entities.plain(now.ents), revision: now.revision });
    const item = await askJSON(`/queue/${now.number}`, { method: "PUT", headers: { "content-type": "application/json" }, body: sent });
    Object.assign(now, { revision: item.revision, saved: true, dirty: false });
    session.queue = await askJSON("/queue");
    return true;
  }, save);
  if (!done) return;
  drawQueue();
  redraw();
  const next = nextOpen(now.number);
  if (next === null) tell(`All ${session.queue.total} posts are saved in ${session.queue.file}.`);
  else {
    await goTo(next);
    tell(`Post ${now.number} is saved.`);
  }
}

function nextOpen(after) {
  const { next, total, saved } = session.queue;
  if (next === null) return null;
  // The server knows the first that is open; behind a post that was saved out of turn one goes on in order.
  return next > after || saved === total ? next : after < total ? after + 1 : next;
}

$("save").addEventListener("click", save);
$("previous").addEventListener("click", () => goTo(work.number - 1));
$("next").addEventListener("click", () => goTo(work.number + 1));
$("open").addEventListener("click", async () => {
  session.queue = (await busy($("open"), "", () => askJSON("/queue"))) ?? session.queue;
  if (session.queue.next !== null) await goTo(session.queue.next);
});
$("jump").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = Math.max(1, Math.min(session.queue.total, Number($("number").value) || 1));
  goTo(number);
});
$("number").addEventListener("change", () => $("jump").requestSubmit());

// --- changes ---

function begin() {
  work.history.push(structuredClone(work.ents));
  if (work.history.length > UNDO) work.history.shift();
  work.dirty = true;
}

function changed() {
  redraw();
  drawQueue();
}

const find = (key) => work.ents.find((ent) => ent.key === key);

function select(key, fromList = false) {
  if (key === selected) return;
  cancelDrawing();
  selected = key;
  redraw();
  if (key !== null) {
    hover(key);
    // Never under a box that is being dragged.
    if (!fromList && !picture.drag) $("ents").querySelector(`li[data-key="${key}"]`)?.scrollIntoView({ block: "nearest" });
  }
}

function retype(key, label) {
  begin();
  Object.assign(find(key), { label, score: null });
  changed();
}

function judge(key, state) {
  begin();
  entities.judge(find(key), state);
  changed();
}

function explain(key, text) {
  begin();
  find(key).expansion = text.trim() || null;
  changed();
}

function moveEdge(key, side, step, fine) {
  const ent = find(key);
  const place = entities.movedEdge(work.signs, ent[side], step, fine);
  respan(ent, side === "start" ? place : ent.start, side === "end" ? place : ent.end);
}

function useSelection(key) {
  const place = selectedPlace($("text"));
  if (!place) return tell("Select the words in the text first.");
  respan(find(key), ...place);
}

function respan(ent, from, to) {
  const [start, end] = entities.trimmed(work.signs, from, to);
  const other = entities.overlapping(work.ents, start, end, ent);
  if (end <= start) return tell("An entity has at least one character.");
  if (other) return tell(`That overlaps “${other.text}”. Entities do not overlap: change that one first.`);
  if (start === ent.start && end === ent.end) return;
  begin();
  entities.respan(ent, work.signs, start, end);
  tell("");
  changed();
}

function add() {
  const place = selectedPlace($("text")) ?? entities.firstFreeWord(work.signs, work.ents);
  const [start, end] = place ? entities.trimmed(work.signs, ...place) : [0, 0];
  if (end <= start) return tell("There is no word left that is not in an entity.");
  const other = entities.overlapping(work.ents, start, end);
  if (other) return tell(`That overlaps “${other.text}”. Entities do not overlap: change that one first.`);
  begin();
  const ent = entities.withKey({
    start, end, label: session.labels[0], text: work.signs.slice(start, end).join(""), score: null, expansion: null, groundable: null, groundable_score: null,
    boxes: [], box: null, box_score: null, mask_rle: null, mask_score: null,
  });
  work.ents.push(ent);
  selected = ent.key;
  window.getSelection()?.removeAllRanges();
  tell(`“${ent.text}” was added. Choose its type.`);
  changed();
  $("ents").querySelector(`li[data-key="${ent.key}"] [data-field="type"]`)?.focus();
}

function remove(key) {
  begin();
  const { text } = find(key);
  work.ents = work.ents.filter((ent) => ent.key !== key);
  if (selected === key) selected = null;
  tell(`“${text}” was deleted.`);
  changed();
  $("add").focus();
}

function undo() {
  if (!work?.history.length) return;
  for (const stop of requests.values()) stop.abort();
  for (const timer of timers.values()) clearTimeout(timer);
  timers.clear();
  work.ents = work.history.pop();
  for (const ent of work.ents) ent.waiting = false;
  if (!find(selected)) selected = null;
  work.dirty = work.history.length > 0 || !work.saved;
  changed();
}

// --- boxes and their masks ---

function draw(key) {
  drawing = !drawing;
  selected = key;
  redraw();
  if (!drawing) return tell("");
  tell("Drag over the picture. Enter puts a box into its middle, Escape ends it.");
  $("frame").scrollIntoView({ block: "nearest" });
}

function cancelDrawing() {
  if (!drawing) return;
  drawing = false;
  tell("");
  redraw();
}

function drawn(box) {
  const ent = find(selected);
  drawing = false;
  tell("");
  begin();
  entities.setBoxes(ent, [...ent.boxes, box]);
  changed();
  picture.focusBox(ent.key, ent.boxes.length - 1);
  askMask(ent);
}

function boxed(key) {
  const ent = find(key);
  entities.setBoxes(ent, ent.boxes);
  // Keys move a box in many small steps: its mask follows when they stop.
  ent.waiting = session.segmenter;
  changed();
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(() => (timers.delete(key), askMask(ent)), LATER));
}

function removeBox(key, place) {
  const ent = find(key);
  begin();
  entities.setBoxes(ent, ent.boxes.filter((_, at) => at !== place));
  changed();
  $("ents").querySelector(`li[data-key="${key}"] button.name`)?.focus();
  if (ent.boxes.length) askMask(ent);
}

async function askMask(ent) {
  if (!session.segmenter) return;
  const now = work;
  requests.get(ent.key)?.abort();
  const stop = new AbortController();
  requests.set(ent.key, stop);
  ent.waiting = true;
  if (work === now) redraw();
  try {
    const found = await askJSON("/masks", { ...form({ ...pictureFields(), boxes: ent.boxes }), signal: stop.signal });
    ent.mask_rle = found.mask_rle;
    ent.mask_score = found.mask_score;
    ent.waiting = false;
    if (found.errors.length) show(new Problem("No mask for the box", found.errors[0].message));
  } catch (error) {
    if (error.name === "AbortError") return;
    ent.waiting = false;
    show(error, () => askMask(ent));
  } finally {
    if (requests.get(ent.key) === stop) requests.delete(ent.key);
  }
  if (work === now) redraw();
}

async function finishMasks() {
  for (const [key, timer] of timers) {
    clearTimeout(timer);
    timers.delete(key);
    const ent = work && find(key);
    if (ent) askMask(ent);
  }
  while (requests.size) await new Promise((done) => setTimeout(done, 30));
}

async function look(key) {
  const ent = find(key);
  const now = work;
  await busy(null, `Looking for “${ent.text}” in the picture…`, async () => {
    const asked = { text: work.post.text, ents: [{ start: ent.start, end: ent.end, label: ent.label, text: ent.text, expansion: ent.expansion }], image: await pictureBlob() };
    for (const name of ["caption", "description", "knowledge"]) if (work.post[name]) asked[name] = work.post[name];
    const [found] = (await askJSON("/annotate", form(asked))).ents;
    if (work !== now || !found) return;
    begin();
    const { groundable, groundable_score, boxes, box, box_score, mask_rle, mask_score } = found;
    Object.assign(ent, { groundable, groundable_score, boxes, box, box_score, mask_rle, mask_score, former: null });
    delete ent.masks;
    changed();
  }, () => look(key));
}

async function pictureBlob() {
  if (work.picture.blob) return work.picture.blob;
  return (await ask(work.picture.url)).blob();
}

// --- downloads ---

async function save_as() {
  const wanted = $("form").value;
  await busy(null, "Making the file…", async () => {
    await finishMasks();
    const post = { ...work.post, ents: entities.plain(work.ents), errors: [] };
    const name = work.picture?.name ?? "picture";
    if (!work.number && work.picture) post.image = name;
    if (wanted === "json") return offer(new Blob([`${JSON.stringify(post)}\n`], { type: "application/json" }), `${post.id ?? "post"}.json`);
    const answer = await ask(`/export/${wanted}`, form({ ...(work.picture ? pictureFields() : {}), post, name }));
    const stated = /filename\*=UTF-8''([^;]+)/.exec(answer.headers.get("content-disposition") ?? "");
    offer(await answer.blob(), stated ? decodeURIComponent(stated[1]) : `post.${wanted}`);
  }, save_as);
}

function offer(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  tell(`${name} was downloaded.`);
}

$("downloads").addEventListener("submit", (event) => {
  event.preventDefault();
  save_as();
});

// --- the whole ---

$("add").addEventListener("click", add);
$("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  const typing = event.target.matches?.("input, textarea, select");
  if (event.key === "Escape") cancelDrawing();
  else if (event.key === "Enter" && drawing && !typing) {
    const [width, height] = picture.size;
    event.preventDefault();
    drawn([width / 3, height / 3, (2 * width) / 3, (2 * height) / 3]);
  } else if ((event.ctrlKey || event.metaKey) && event.key === "z" && !typing) {
    event.preventDefault();
    undo();
  } else if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    // The button that has the focus is not meant.
    event.preventDefault();
    if (mode === "queue") save();
    else if (event.target === $("given-text")) annotateOwn();
  }
}, true);
window.addEventListener("beforeunload", (event) => {
  keepDraft();
  if (drafts.size) event.preventDefault();
});

async function setMode(next) {
  if (work?.number) keepDraft();
  mode = next;
  $("give").hidden = mode !== "own";
  $("queue").hidden = mode !== "queue";
  $("mode-queue").setAttribute("aria-pressed", String(mode === "queue"));
  $("mode-own").setAttribute("aria-pressed", String(mode === "own"));
  if (mode === "own") return open(own);
  const asked = Number(location.hash.slice(1));
  await goTo(asked >= 1 && asked <= session.queue.total ? asked : session.queue.next ?? 1);
}

$("mode-queue").addEventListener("click", () => setMode("queue"));
$("mode-own").addEventListener("click", () => setMode("own"));

async function start() {
  session = await busy(null, "Loading…", () => askJSON("/session"), start);
  if (!session) return;
  $("pipeline").textContent = session.pipeline;
  $("form").append(...session.downloads.map((name) => element("option", { value: name }, FORMS[name] ?? name)));
  $("modes").hidden = !session.queue;
  await setMode(session.queue?.total ? "queue" : "own");
  document.body.dataset.ready = "true";
}

const FORMS = { png: "PNG with boxes and masks", coco: "COCO", labelme: "labelme", "label-studio": "Label Studio", prodigy: "Prodigy", "web-annotation": "W3C Web Annotation", csv: "CSV" };

start();
