// Paint on masks, one for each garment: what is added and what is erased are strokes of their own, laid over the mask
// that was found, so they stay when another mask is found, and go without the photo. Runs once, when the component is
// there.
const MOST = 1024, PAINTED = [225, 29, 72, 150], STRIPES = [[30, 64, 175, 200], [255, 255, 255, 150]];
const box = element.querySelector(".mask-editor"), canvas = box.querySelector("canvas");
const picture = box.querySelector("img"), size = box.querySelector("input"), pen = canvas.getContext("2d");
const names = box.querySelector(".mask-of"), places = []; // a garment's: strokes, what was found, what can be undone
let photo = null, at = 0, tool = "paint", last = null, cursor = null, asked = false;
const here = () => places[at];

function place_of(number) {
  while (places.length <= number) {
    const strokes = document.createElement("canvas");
    strokes.width = canvas.width;
    strokes.height = canvas.height;
    const marks = strokes.getContext("2d", { willReadFrequently: true });
    places.push({ strokes, marks, undone: [], sent: null, found: null, name: "" });
  }
  return places[number];
}

async function loaded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

async function show() {
  const value = props.value;
  box.hidden = !value || !value.photo;
  if (box.hidden) { photo = null; return; }
  const image = await loaded(value.photo);
  if (value.photo !== photo) {
    const scale = Math.min(1, MOST / Math.max(image.naturalWidth, image.naturalHeight));
    const small = Math.max(1, 480 / Math.max(image.naturalWidth, image.naturalHeight)); // little photos: finer strokes
    canvas.width = Math.round(image.naturalWidth * (scale < 1 ? scale : small));
    canvas.height = Math.round(image.naturalHeight * (scale < 1 ? scale : small));
    picture.src = value.photo;
    canvas.style.aspectRatio = picture.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    places.length = 0;
    at = 0;
    cursor = null;
    photo = value.photo;
  }
  for (const [number, mask] of value.masks.entries()) {
    const place = place_of(number), strokes = value.strokes?.[number];
    place.name = mask?.name ?? "";
    place.found = mask && await read(mask.found);
    if (!strokes || strokes === place.sent) continue; // those of a picture that was dropped on the page
    place.marks.clearRect(0, 0, canvas.width, canvas.height);
    place.marks.drawImage(await loaded(strokes), 0, 0, canvas.width, canvas.height);
    place.sent = strokes;
  }
  if (!here().found) at = 0;
  offer();
  tell();
  draw();
}

async function read(address) {
  const plane = document.createElement("canvas"), mask = await loaded(address);
  plane.width = canvas.width;
  plane.height = canvas.height;
  const flat = plane.getContext("2d");
  flat.imageSmoothingEnabled = false;
  flat.drawImage(mask, 0, 0, canvas.width, canvas.height);
  return flat.getImageData(0, 0, canvas.width, canvas.height).data;
}

function offer() {
  const there = places.map((place, number) => [place, number]).filter(([place]) => place.found);
  names.hidden = there.length < 2;
  names.replaceChildren(...(names.hidden ? [] : there).map(([place, number]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = place.name;
    button.dataset.place = number;
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", number === at);
    button.tabIndex = number === at ? 0 : -1;
    return button;
  }));
}

function turn_to(number) {
  at = number;
  offer();
  tell();
}

function draw() {
  asked = false;
  const { width, height } = canvas, over = here().marks.getImageData(0, 0, width, height).data;
  const { found } = here(), picture = pen.createImageData(width, height), pixels = picture.data;
  for (let at = 0, x = 0, y = 0; at < pixels.length; at += 4) {
    const touched = over[at + 3] > 127, added = touched && over[at] > over[at + 2], was = found[at] > 127;
    const colour = touched ? (added ? PAINTED : was ? STRIPES[(x + y) >> 2 & 1] : null) : was ? PAINTED : null;
    if (colour) pixels.set(colour, at);
    if (++x === width) { x = 0; y += 1; }
  }
  pen.putImageData(picture, 0, 0);
  if (!cursor) return;
  pen.lineWidth = Math.max(1, width / 300);
  for (const [colour, more] of [["#fff", 0], ["#111", pen.lineWidth]]) {
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.arc(cursor[0], cursor[1], radius() + more, 0, 7);
    pen.stroke();
  }
}

const redraw = () => { if (!asked && here()?.found) { asked = true; requestAnimationFrame(draw); } };
const radius = () => size.value / 200 * canvas.width / 2;

function keep() {
  const { marks, strokes } = here(), pixels = marks.getImageData(0, 0, canvas.width, canvas.height).data;
  const any = pixels.some((value, index) => index % 4 === 3 && value > 127);
  here().sent = any ? strokes.toDataURL("image/png") : null;
  tell();
}

function tell() {
  props.value = { ...props.value, strokes: places.map((place) => place.sent) };
  box.querySelector("[data-do=undo]").disabled = !here().undone.length;
  box.querySelector("[data-do=found]").disabled = !here().sent;
}

function remember() {
  const { marks, undone } = here();
  undone.push(marks.getImageData(0, 0, canvas.width, canvas.height));
  if (undone.length > 12) undone.shift();
}

function line(from, to) {
  const { marks } = here();
  marks.strokeStyle = tool === "paint" ? "#f00" : "#00f";
  marks.lineCap = "round";
  marks.lineWidth = 2 * radius();
  marks.beginPath();
  marks.moveTo(...from);
  marks.lineTo(to[0] + 0.01, to[1]);
  marks.stroke();
}

function point(event) {
  const frame = canvas.getBoundingClientRect();
  return [(event.clientX - frame.left) * canvas.width / frame.width,
    (event.clientY - frame.top) * canvas.height / frame.height];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button || !here()?.found) return;
  canvas.setPointerCapture(event.pointerId);
  remember();
  last = cursor = point(event);
  line(last, last);
  redraw();
});
canvas.addEventListener("pointermove", (event) => {
  cursor = point(event);
  if (last) {
    line(last, cursor);
    last = cursor;
  }
  redraw();
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (last) { last = null; keep(); } });
canvas.addEventListener("pointerleave", () => { if (!last) { cursor = null; redraw(); } });

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const { key } = event, step = Math.max(2, radius() / (event.shiftKey ? 8 : 1));
  cursor = cursor ?? [canvas.width / 2, canvas.height / 2];
  if (MOVES[key]) {
    cursor = [Math.min(canvas.width, Math.max(0, cursor[0] + MOVES[key][0] * step)),
      Math.min(canvas.height, Math.max(0, cursor[1] + MOVES[key][1] * step))];
  } else if (key === " " || key === "Enter") {
    remember();
    line(cursor, cursor);
    keep();
  } else if (key === "b" || key === "e") {
    choose(key === "b" ? "paint" : "erase");
  } else if (key === "z" && (event.ctrlKey || event.metaKey)) {
    undo();
  } else return;
  event.preventDefault();
  redraw();
});

function choose(name) {
  tool = name;
  for (const one of box.querySelectorAll("[data-tool]")) one.setAttribute("aria-pressed", one.dataset.tool === name);
}

function undo() {
  const { marks, undone } = here();
  if (!undone.length) return;
  marks.putImageData(undone.pop(), 0, 0);
  keep();
}

box.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button || !here()?.found) return;
  if (button.dataset.place) turn_to(Number(button.dataset.place));
  if (button.dataset.tool) choose(button.dataset.tool);
  if (button.dataset.do === "undo") undo();
  if (button.dataset.do === "found") {
    remember();
    here().marks.clearRect(0, 0, canvas.width, canvas.height);
    keep();
  }
  redraw();
});
names.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!step) return;
  const there = [...names.children].map((one) => Number(one.dataset.place));
  turn_to(there.at((there.indexOf(at) + step) % there.length));
  names.querySelector("[aria-checked=true]").focus();
  event.preventDefault();
  redraw();
});
size.addEventListener("input", redraw);
watch("value", show);
show();
