// Masks as COCO's compressed run lengths, painted on a canvas no larger than it is shown.

const LONGEST = 1000;

export function runs(counts) {
  const found = [];
  let place = 0;
  while (place < counts.length) {
    let value = 0;
    let shift = 0;
    let more = true;
    while (more) {
      const bits = counts.charCodeAt(place++) - 48;
      value += (bits & 31) * 2 ** (5 * shift++);
      more = (bits & 32) !== 0;
      if (!more && bits & 16) value -= 2 ** (5 * shift);
    }
    if (found.length > 2) value += found[found.length - 2];
    found.push(value);
  }
  return found;
}

export function area(rle) {
  return runs(rle.counts).reduce((sum, run, place) => sum + (place % 2 ? run : 0), 0);
}

export function paint(canvas, rle, colour) {
  const [height, width] = rle.size;
  const scale = Math.min(1, LONGEST / Math.max(height, width));
  const w = Math.max(1, Math.round(width * scale));
  const h = Math.max(1, Math.round(height * scale));
  const inside = new Uint8Array(w * h);
  const lengths = runs(rle.counts);
  let run = 0;
  let end = lengths[0] ?? 0;
  for (let x = 0; x < w; x++) {
    const column = Math.min(width - 1, Math.floor((x + 0.5) / scale));
    for (let y = 0; y < h; y++) {
      const place = column * height + Math.min(height - 1, Math.floor((y + 0.5) / scale));
      while (place >= end && run < lengths.length - 1) end += lengths[++run];
      inside[y * w + x] = run % 2;
    }
  }
  canvas.width = w;
  canvas.height = h;
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const picture = canvas.getContext("2d", { willReadFrequently: true }).createImageData(w, h);
  const line = Math.max(1, Math.round(Math.max(w, h) / 400));
  const at = (x, y) => x >= 0 && y >= 0 && x < w && y < h && inside[y * w + x];
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      if (!inside[y * w + x]) continue;
      const rim = !(at(x - line, y) && at(x + line, y) && at(x, y - line) && at(x, y + line));
      picture.data.set([red, green, blue, rim ? 255 : 107], (y * w + x) * 4);
    }
  }
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
