// The viewer's front end: draws the bytes that cellseg_nb.viewer.view sends, and tells it what was done with the
// mouse and the keys. No library, no build step. A pane shows the slice across one axis: 0 is z, 1 is y, 2 is x.
const PANES = [
  { axis: 0, across: 2, down: 1, name: "xy" },
  { axis: 1, across: 2, down: 0, name: "xz" },
  { axis: 2, across: 0, down: 1, name: "zy" },
];
const TOOLS = [ // name, key, what it does
  ["look", "l", "Look: click to move the cross, drag to pan"],
  ["paint", "b", "Brush: paint the cell in hand"],
  ["erase", "e", "Erase"],
  ["pick", "p", "Pick: take the cell under the mouse in hand"],
  ["fill", "f", "Fill the holes of the cell clicked on"],
  ["split", "s", "Split: click on both halves of a cell"],
  ["merge", "m", "Merge: join the cell clicked on to the cell in hand"],
  ["delete", "d", "Delete the cell clicked on"],
  ["box", "x", "Box: drag out what to crop"],
];
const ACTS = [ // name, button, keys, message, what it does; from "queue" on in a row of their own
  ["new", "New cell", "n", { do: "new" }, "take a number that no cell has, then brush"],
  ["interpolate", "Interpolate", "i", { do: "interpolate", axis: 0 }, "draw the cell in hand in the slices left out"],
  ["undo", "Undo", "ctrl+z", { do: "undo" }, "take the last edit back"],
  ["redo", "Redo", "ctrl+y", { do: "redo" }, "do again what was undone"],
  ["save", "Save", "ctrl+s", { do: "save" }, "write labels, decisions and times now; every minute it is done by itself"],
  ["queue", "Queue", "q", { do: "queue" }, "go to the most doubtful cell that is not decided"],
  ["previous", "◀", "j", { do: "previous" }, "the item before"],
  ["next", "▶", "k", { do: "next" }, "the next item, undecided"],
  ["accepted", "Accept", "a", { do: "decide", state: "accepted" }, "the cell is right as it is; on to the next"],
  ["fixed", "Fixed", "g", { do: "decide", state: "fixed" }, "you have mended it; on to the next"],
  ["wrong", "Wrong", "w", { do: "decide", state: "wrong" }, "the cell is wrong, and stays so for now"],
];
const SILENT = ["go", "sides", "projection", "surface", "box", "status"]; // leave what is said as it is
const GONE = "the kernel has not answered for 20 seconds. If it is gone, run this cell again: the session goes on";
const STILL = "a still picture for now: the kernel is busy, or there is none (then run this cell)";
const KEYS = "PageUp PageDown or the wheel: slice · arrows: move the cross · Ctrl + wheel, + and −: zoom · 0: all "
  + "of it · [ and ]: brush · 3: ball or disc · o: paint over other cells · t: labels as outline, fill, none";

function make(tag, props = {}, parent = null) {
  const node = Object.assign(document.createElement(tag), props);
  if (parent) parent.append(node);
  return node;
}

function render({ model, el }) {
  const state = { tool: "look", radius: 3, flat: true, over: false, show: "outline", alpha: 0.5, heat: true,
                  side: false, zoom: 1, middle: null, at: [0, 0, 0], cell: 0, box: null, corner: "none" };
  const pictures = {}; // `${axis}${kind}`: {index, rows, columns, bytes}
  const times = []; // of every answer: {do, ms, bytes}, for whoever measures
  const me = Math.random().toString(36).slice(2); // two tabs may show one widget
  let setup = null, palette = null, sent = 0, waiting = null, next = null, stroke = null, seeds = [], mouse = null;
  let cloud = null, turn = [0.6, 0.5], near = 1.25, projection = null;

  const root = make("div", { className: "cellseg", tabIndex: 0 }, el);
  root.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys must not act on the notebook
  root.times = times;
  root.state = state;
  const still = make("img", { className: "cellseg-still", alt: "" }, root); // until the kernel answers, if it does
  if (model.get("still")) still.src = `data:image/png;base64,${model.get("still")}`;
  const bar = make("div", { className: "cellseg-bar" }, root);
  const grid = make("div", { className: "cellseg-panes", hidden: true }, root); // until there is something to draw
  const panes = PANES.map((pane) => ({ ...pane, canvas: make("canvas", { className: `cellseg-${pane.name}` }),
                                       sheet: document.createElement("canvas"), stale: true }));
  const corner = make("canvas", { className: "cellseg-corner" });
  grid.append(panes[0].canvas, panes[2].canvas, panes[1].canvas, corner);
  const [foot, deeds, judge] = [0, 1, 2].map(() => make("div", { className: "cellseg-bar" }, root));
  const line = make("div", { className: "cellseg-line" }, root);
  line.setAttribute("role", "status");
  const help = make("div", { className: "cellseg-help", hidden: true }, root);
  const hand = make("span", { className: "cellseg-hand" });
  const review = make("span", { className: "cellseg-review" });

  // ------------------------------------------------------------ messages: one at a time, the latest place wins
  function ask(message, started = performance.now()) {
    if (waiting) {
      if (message.do !== "go" || !next.some((one) => one.message.do === "go")) next.push({ message, started });
      else next[next.findIndex((one) => one.message.do === "go")] = { message, started };
      return;
    }
    const own = { id: `${me}-${++sent}`, do: message.do, started };
    waiting = own;
    next = [];
    setTimeout(() => { root.classList.toggle("cellseg-busy", Boolean(setup) && waiting === own); }, 500);
    setTimeout(() => { if (waiting === own) line.textContent = setup ? GONE : STILL; }, setup ? 20000 : 5000);
    try {
      model.send({ ...message, id: own.id });
    } catch { // the kernel was restarted: this widget is the old one
      waiting = null;
      line.textContent = setup ? GONE : STILL;
    }
  }
  function received(answer, buffers) {
    const bytes = buffers.map((b) => (b instanceof DataView ? new Uint8Array(b.buffer, b.byteOffset, b.byteLength)
                                                            : new Uint8Array(b)));
    if (answer.setup) {
      const first = setup === null;
      setup = answer.setup;
      palette = bytes.at(-1);
      still.remove();
      grid.hidden = false;
      if (first) {
        build();
        if (setup.lazy) ask({ do: "sides" });
        else if (setup.shape.reduce((a, b) => a * b) < 3e7) show("projection");
      }
    }
    (answer.planes || []).forEach((plane, i) => {
      pictures[plane.axis + plane.kind] = { ...plane, bytes: plane.kind === "labels" ? words(bytes[i]) : bytes[i] };
      panes[plane.axis].stale = true;
    });
    if (answer.projection) projection = { rows: answer.projection[0], columns: answer.projection[1], bytes: bytes[0] };
    if (answer.surface !== undefined) {
      cloud = { points: new Float32Array(bytes[0].slice().buffer), numbers: words(bytes[1]) };
    }
    if (answer.cell !== state.cell) panes.forEach((pane) => { pane.stale = true; }); // it is dotted in white
    Object.assign(state, { at: answer.at, cell: answer.cell, box: answer.box });
    tell(answer);
    draw();
    if (waiting && answer.id === waiting.id) {
      const { started, do: done } = waiting, total = bytes.reduce((sum, one) => sum + one.length, 0);
      requestAnimationFrame(() => times.push({ do: done, ms: performance.now() - started, bytes: total }));
      waiting = null;
      root.classList.remove("cellseg-busy");
      const [first, ...rest] = next || [];
      if (first) { ask(first.message, first.started); next = rest; }
    }
  }
  const words = (bytes) => new Uint16Array(bytes.slice().buffer);

  function tell(answer) {
    if (answer.error || answer.trouble) line.textContent = answer.error || answer.trouble;
    else if (answer.say !== undefined) line.textContent = answer.say;
    else if (waiting && !SILENT.includes(waiting.do)) line.textContent = "";
    line.classList.toggle("cellseg-wrong", Boolean(answer.error || answer.trouble));
    const item = answer.item;
    review.textContent = item ? `${item.nth} of ${item.of} · doubt ${item.doubt.toFixed(2)} · `
      + `${item.number ? "cell " + item.number : "no label"}: ${item.why}${item.state ? " · " + item.state : ""}` : "";
    root.dataset.cells = answer.cells ?? "";
    if (setup) update();
    if (setup && setup.edits) keep(answer);
  }
  function keep(answer) { // what is in hand, what can be undone, whether all is saved
    const c = 3 * (((state.cell - 1) % (palette.length / 3 - 1)) + 1);
    hand.textContent = state.cell ? `in hand (dotted): cell ${state.cell}` : "no cell in hand";
    hand.style.borderColor = state.cell ? `rgb(${palette[c]}, ${palette[c + 1]}, ${palette[c + 2]})` : "transparent";
    buttons.undo.disabled = !answer.undo;
    buttons.redo.disabled = !answer.redo;
    buttons.save.textContent = answer.unsaved ? "Save *" : "Save";
  }

  // ------------------------------------------------------------ controls
  const inputs = {}, buttons = {};
  function slider(parent, name, low, high, value, step, act, words, title) {
    const box = make("label", { textContent: words + " ", title }, parent);
    inputs[name] = make("input", { type: "range", min: low, max: high, step, value }, box);
    inputs[name].dataset.name = name;
    const shown = make("output", { textContent: value }, box);
    inputs[name].addEventListener("input", (event) => {
      shown.textContent = inputs[name].value;
      act(Number(inputs[name].value), event);
    });
    inputs[name].shown = shown;
  }
  function tick(parent, name, words, title) {
    const box = make("label", { title }, parent);
    inputs[name] = make("input", { type: "checkbox", checked: state[name] }, box);
    inputs[name].dataset.name = name;
    box.append(words);
    inputs[name].addEventListener("change", () => {
      state[name] = inputs[name].checked;
      if (name === "side") fit();
      stale();
    });
  }
  function button(parent, name, text, title, act) {
    const node = make("button", { type: "button", textContent: text, title }, parent);
    node.dataset.name = name;
    buttons[name] = node;
    node.addEventListener("click", () => { act(); root.focus({ preventScroll: true }); });
    return node;
  }
  function build() {
    for (const axis of [0, 1, 2]) {
      slider(bar, "zyx"[axis], 0, setup.shape[axis] - 1, 0, 1, (v) => {
        const at = [...state.at];
        at[axis] = v;
        ask({ do: "go", at });
      }, "zyx"[axis], `The slice across ${"zyx"[axis]}, in voxels`);
    }
    const contrast = () => ask({ do: "contrast", low: inputs.low.value, high: inputs.high.value });
    const numbers = make("label", { textContent: "contrast, percentiles ", title: "Which percentiles of the grey "
      + "are black and white: 1 and 99.7 leave out hot voxels" }, bar);
    for (const [name, value] of [["low", setup.percentiles[0]], ["high", setup.percentiles[1]]]) {
      inputs[name] = make("input", { type: "number", min: 0, max: 100, step: 0.1, value }, numbers);
      inputs[name].addEventListener("change", contrast);
    }
    if (setup.labelled) {
      const box = make("label", { textContent: "labels ", title: "How labels are drawn (t)" }, bar);
      inputs.show = make("select", {}, box);
      for (const name of ["outline", "fill", "none"]) make("option", { textContent: name, value: name }, inputs.show);
      inputs.show.addEventListener("change", () => { state.show = inputs.show.value; stale(); });
      slider(bar, "alpha", 0, 1, state.alpha, 0.1, (v) => { state.alpha = v; stale(); }, "opacity", "How strong the labels are");
    }
    if (setup.probability) tick(bar, "heat", " probability", "The network's probability of a cell, in orange");
    if (setup.labelled || setup.probability) tick(bar, "side", " side by side", "The volume alone beside the volume with what lies on it");
    button(bar, "projection", "Projection", "The brightest voxel along z", () => show("projection"));
    if (setup.labelled) button(bar, "surface", "3D", "The cells in 3D; drag to turn them, the wheel brings them nearer", () => show("surface"));
    button(bar, "help", "?", "Keys", () => { help.hidden = !help.hidden; });
    if (setup.edits) {
      for (const [name, key, title] of TOOLS) button(foot, name, name, `${title} (${key})`, () => take(name));
      slider(foot, "radius", 0.5, 30, state.radius, 0.5, (v) => { state.radius = v; draw(); }, `radius (${setup.unit})`, "Of brush and eraser ([ and ])");
      let row = deeds;
      for (const [name, text, key, message, title] of ACTS) {
        if (name === "queue") row = judge;
        button(row, name, text, `${text}: ${title} (${key})`, () => act(message));
      }
      tick(deeds, "flat", " only this slice", "A disc in this slice, or a ball in 3D (3)");
      tick(deeds, "over", " over other cells", "The brush takes voxels from other cells, too (o)");
      deeds.append(hand);
      judge.append(review);
    } else button(foot, "box", "box", "Drag out what to crop (x)", () => take(state.tool === "box" ? "look" : "box"));
    help.textContent = [KEYS, ...(setup.edits ? TOOLS.map((t) => `${t[1]}: ${t[2]}`) : []),
                        ...(setup.edits ? ACTS.map((a) => `${a[2]}: ${a[1]}, ${a[4]}`) : [])].join("\n");
    state.middle = setup.shape.map((side, a) => (side * setup.size[a]) / 2);
    fit();
    take("look");
  }
  function update() {
    for (const axis of [0, 1, 2]) {
      inputs["zyx"[axis]].value = state.at[axis];
      inputs["zyx"[axis]].shown.textContent = state.at[axis];
    }
    root.dataset.cell = state.cell;
  }
  function act(message) { ask({ ...message }); }
  function take(tool) {
    state.tool = tool;
    seeds = [];
    for (const node of foot.querySelectorAll("button")) node.classList.toggle("cellseg-on", node.dataset.name === tool);
    if (setup.edits && tool === "split") line.textContent = "click on both halves of a cell";
    draw();
  }
  function show(what) {
    state.corner = state.corner === what ? "none" : what;
    if (state.corner !== "none") ask({ do: what });
    draw();
  }
  const stale = () => { panes.forEach((pane) => { pane.stale = true; }); draw(); };

  // ------------------------------------------------------------ drawing
  function fit() {
    const [z, y, x] = setup.shape.map((side, a) => side * setup.size[a]);
    const wide = Math.max(300, Math.min(900, el.clientWidth || 760) - 8);
    const twice = state.side ? 2 : 1;
    const high = Math.max(360, Math.min(640, 0.6 * screen.availHeight)); // a projector has 768 pixels
    const scale = Math.min((wide - 6) / (twice * x + z), high / (y + z), 560 / Math.max(x, y));
    const sizes = [[twice * x, y], [x, z], [z, y]].map(([a, b]) => [Math.max(90, a * scale), Math.max(90, b * scale)]);
    panes.forEach((pane, i) => { [pane.canvas.width, pane.canvas.height] = sizes[i].map(Math.round); });
    const [xy, xz, zy] = panes.map((pane) => pane.canvas);
    [corner.width, corner.height] = [(state.side ? xz : zy).width, xz.height];
    xy.style.gridColumn = state.side ? "span 2" : "";
    grid.style.gridTemplateColumns = [xz, ...(state.side ? [corner] : []), zy].map((one) => `${one.width}px`).join(" ");
    state.scale = scale;
    state.zoom = 1;
    state.middle = setup.shape.map((side, a) => (side * setup.size[a]) / 2);
  }
  function paintSheet(pane) {
    const grey = pictures[pane.axis + "grey"], labels = pictures[pane.axis + "labels"],
      heat = pictures[pane.axis + "probability"];
    if (!grey) return;
    const { rows, columns } = grey, beside = state.side && pane.axis === 0;
    pane.sheet.width = columns * (beside ? 2 : 1);
    pane.sheet.height = rows;
    const context = pane.sheet.getContext("2d");
    const plain = context.createImageData(columns, rows), mixed = context.createImageData(columns, rows);
    const of = (label) => 3 * (((label - 1) % (palette.length / 3 - 1)) + 1);
    const [out, bare] = [mixed, plain].map((image) => new Uint32Array(image.data.buffer)); // one word a pixel: ABGR
    const hot = heat && state.heat ? heat.bytes : null, ids = labels && state.show !== "none" ? labels.bytes : null;
    const inHand = state.cell ? ((state.cell - 1) % 65535) + 1 : -1; // as the kernel folds numbers
    const fill = state.show === "fill", a = fill ? state.alpha : Math.max(0.85, state.alpha);
    for (let i = 0; i < grey.bytes.length; i++) {
      const g = grey.bytes[i], label = ids ? ids[i] : 0;
      if (beside) bare[i] = 0xff000000 | (g << 16) | (g << 8) | g;
      if (!label && !(hot && hot[i])) {
        out[i] = 0xff000000 | (g << 16) | (g << 8) | g;
        continue;
      }
      let r = g, n = g, b = g;
      if (hot) {
        const h = (0.4 * hot[i]) / 255;
        r = g + (255 - g) * h;
        n = g + (120 - g) * h;
        b = g * (1 - h);
      }
      const column = label ? i % columns : 0;
      if (label && (fill || (column > 0 && ids[i - 1] !== label) || (column < columns - 1 && ids[i + 1] !== label)
        || (i >= columns && ids[i - columns] !== label) || (i + columns < ids.length && ids[i + columns] !== label))) {
        const c = of(label);
        if (label === inHand && !fill && (column + Math.floor(i / columns)) % 2) { out[i] = 0xffffffff; continue; }
        r = r * (1 - a) + palette[c] * a;
        n = n * (1 - a) + palette[c + 1] * a;
        b = b * (1 - a) + palette[c + 2] * a;
      }
      out[i] = 0xff000000 | (b << 16) | (n << 8) | r;
    }
    if (beside) context.putImageData(plain, 0, 0);
    context.putImageData(mixed, beside ? columns : 0, 0);
    pane.stale = false;
  }
  // From voxels to the pixels of a pane, and back.
  const step = (pane) => [setup.size[pane.across], setup.size[pane.down]].map((s) => s * state.scale * state.zoom);
  const half = (pane) => pane.canvas.width / (state.side && pane.axis === 0 ? 2 : 1);
  function origin(pane) {
    const k = state.scale * state.zoom;
    return [half(pane) / 2 - state.middle[pane.across] * k, pane.canvas.height / 2 - state.middle[pane.down] * k];
  }
  function voxel(pane, event) {
    const [w, h] = step(pane), [x, y] = origin(pane), rect = pane.canvas.getBoundingClientRect();
    const px = ((event.clientX - rect.left) * pane.canvas.width) / rect.width % half(pane);
    const py = ((event.clientY - rect.top) * pane.canvas.height) / rect.height;
    const point = [...state.at];
    point[pane.across] = (px - x) / w - 0.5;
    point[pane.down] = (py - y) / h - 0.5;
    return point;
  }
  let asked = false;
  function draw() {
    if (!setup || asked) return;
    asked = true;
    queueMicrotask(() => { asked = false; panes.forEach(drawPane); drawCorner(); });
  }
  function drawPane(pane) {
    if (pane.stale) paintSheet(pane);
    const context = pane.canvas.getContext("2d"), [w, h] = step(pane), [x, y] = origin(pane);
    context.fillStyle = "#111";
    context.fillRect(0, 0, pane.canvas.width, pane.canvas.height);
    context.imageSmoothingEnabled = false;
    const beside = state.side && pane.axis === 0, wide = half(pane);
    const columns = setup.shape[pane.across], rows = setup.shape[pane.down];
    for (const part of beside ? [0, 1] : [0]) {
      context.save();
      context.beginPath();
      context.rect(part * wide, 0, wide, pane.canvas.height);
      context.clip();
      context.translate(part * wide, 0);
      if (pane.sheet.height === rows) context.drawImage(pane.sheet, part * columns, 0, columns, rows, x, y, columns * w, rows * h);
      const place = (p) => [x + (p[pane.across] + 0.5) * w, y + (p[pane.down] + 0.5) * h];
      const [cx, cy] = place(state.at);
      context.strokeStyle = "rgba(86, 180, 233, 0.6)";
      context.strokeRect(-9, cy, wide + 18, 0);
      context.strokeRect(cx, -9, 0, pane.canvas.height + 18);
      if (state.box && state.box.some(([a, b], i) => a > 0 || b < setup.shape[i])) {
        const [a, b] = [state.box[pane.across], state.box[pane.down]];
        context.strokeStyle = "#e69f00";
        context.strokeRect(x + a[0] * w, y + b[0] * h, (a[1] - a[0]) * w, (b[1] - b[0]) * h);
      }
      context.strokeStyle = state.tool === "erase" ? "#d55e00" : "#fff";
      const [rx, ry] = [(state.radius / setup.size[pane.across]) * w, (state.radius / setup.size[pane.down]) * h];
      if (mouse && mouse.pane === pane.axis && ["paint", "erase"].includes(state.tool)) ring(context, place(mouse.point), rx, ry);
      if (stroke && stroke.pane === pane.axis) { // what is being drawn, before the kernel answers
        context.fillStyle = state.tool === "erase" ? "rgba(213, 94, 0, 0.35)" : "rgba(255, 255, 255, 0.35)";
        for (const p of stroke.points) ring(context, place(p), rx, ry, true);
      }
      for (const p of seeds) ring(context, place(p), 5, 5);
      context.restore();
    }
    if (pane.axis === 0) scaleBar(context, wide, state.scale * state.zoom);
  }
  function ring(context, [x, y], rx, ry, full = false) {
    context.beginPath();
    context.ellipse(x, y, rx, ry, 0, 0, 2 * Math.PI);
    if (full) context.fill(); else context.stroke();
  }
  function scaleBar(context, wide, pixel) { // at most a third of the width; pixels of a µm
    const power = 10 ** Math.floor(Math.log10(wide / 3 / pixel)), low = context.canvas.height;
    const length = [5, 2, 1].map((k) => k * power).find((l) => l * pixel <= wide / 3) || power;
    context.save();
    Object.assign(context, { fillStyle: "#fff", font: "12px sans-serif", shadowColor: "#000", shadowBlur: 4 });
    context.fillRect(10, low - 14, length * pixel, 4);
    context.fillText(`${length} ${setup.unit}`, 10, low - 19);
    context.restore();
  }
  function drawCorner() {
    const context = corner.getContext("2d");
    context.fillStyle = "#111";
    context.fillRect(0, 0, corner.width, corner.height);
    if (state.corner === "projection" && projection) {
      const image = new ImageData(projection.columns, projection.rows), words = new Uint32Array(image.data.buffer);
      projection.bytes.forEach((g, i) => { words[i] = 0xff000000 | (g << 16) | (g << 8) | g; });
      const sheet = make("canvas", { width: projection.columns, height: projection.rows });
      sheet.getContext("2d").putImageData(image, 0, 0);
      const k = Math.min(corner.width / (projection.columns * setup.size[2]), corner.height / (projection.rows * setup.size[1]));
      context.drawImage(sheet, 0, 0, projection.columns * setup.size[2] * k, projection.rows * setup.size[1] * k);
      scaleBar(context, corner.width, k);
    }
    if (state.corner === "surface" && cloud) {
      const middle = setup.shape.map((side, a) => (side * setup.size[a]) / 2), reach = Math.hypot(...middle);
      const [s, c, u, v] = [Math.sin(turn[0]), Math.cos(turn[0]), Math.sin(turn[1]), Math.cos(turn[1])];
      const k = (near * Math.min(corner.width, corner.height)) / 2 / reach, spots = [];
      for (let i = 0; i < cloud.numbers.length; i++) {
        const [z, y, x] = [0, 1, 2].map((a) => cloud.points[3 * i + a] - middle[a]);
        const a = c * x + s * z, depth = -s * x + c * z;
        spots.push([a, v * y - u * depth, u * y + v * depth, cloud.numbers[i]]);
      }
      spots.sort((p, q) => q[2] - p[2]);
      for (const [x, y, depth, number] of spots) {
        const at = 3 * (((number - 1) % (palette.length / 3 - 1)) + 1), light = 0.65 - (0.35 * depth) / reach;
        context.fillStyle = `rgb(${palette[at] * light}, ${palette[at + 1] * light}, ${palette[at + 2] * light})`;
        context.fillRect(corner.width / 2 + x * k - near, corner.height / 2 + y * k - near, 2 * near, 2 * near);
      }
    }
  }

  // ------------------------------------------------------------ mouse
  let drag = null;
  panes.forEach((pane) => {
    const { canvas } = pane;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (!setup) return;
      event.preventDefault();
      if (event.ctrlKey || event.shiftKey) return zoom(event.deltaY + event.deltaX < 0 ? 1.2 : 1 / 1.2, voxel(pane, event), pane);
      move(pane.axis, event.deltaY > 0 ? 1 : -1);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (!setup) return;
      root.focus({ preventScroll: true });
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      const point = voxel(pane, event);
      if (event.button !== 0 || state.tool === "look") drag = { x: event.clientX, y: event.clientY, far: false, middle: [...state.middle] };
      else if (state.tool === "paint" || state.tool === "erase") stroke = { pane: pane.axis, points: [point] };
      else if (state.tool === "box") drag = { from: point };
      else click(point);
      draw();
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!setup) return;
      const point = voxel(pane, event);
      mouse = { pane: pane.axis, point };
      if (stroke) stroke.points.push(point);
      else if (drag && drag.middle) {
        const k = state.scale * state.zoom, [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
        drag.far = drag.far || Math.hypot(dx, dy) > 4;
        if (drag.far) {
          state.middle[pane.across] = drag.middle[pane.across] - dx / k;
          state.middle[pane.down] = drag.middle[pane.down] - dy / k;
        }
      } else if (drag && drag.from) {
        for (const a of [pane.across, pane.down]) {
          state.box[a] = [drag.from[a] + 0.5, point[a] + 0.5].sort((p, q) => p - q).map(Math.round);
        }
      }
      draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (stroke) {
        const { points } = stroke;
        stroke = null;
        ask({ do: state.tool, points, radius: state.radius, axis: pane.axis, flat: state.flat, over: state.over });
      } else if (drag && drag.from) ask({ do: "box", box: state.box });
      else if (drag && !drag.far && event.button === 0) ask({ do: "go", at: voxel(pane, event) });
      drag = null;
    });
    canvas.addEventListener("pointerleave", () => { mouse = null; draw(); });
    function click(point) {
      if (state.tool !== "split") return ask({ do: state.tool, point, axis: pane.axis, flat: state.flat });
      seeds.push(point);
      if (seeds.length === 2) {
        ask({ do: "split", points: seeds });
        seeds = [];
      }
    }
  });
  corner.addEventListener("pointermove", (event) => {
    if (event.buttons !== 1 || state.corner !== "surface") return;
    turn = [turn[0] + event.movementX / 100, turn[1] + event.movementY / 100];
    draw();
  });
  corner.addEventListener("wheel", (event) => {
    if (state.corner !== "surface") return;
    event.preventDefault();
    near = Math.min(8, Math.max(1, near * (event.deltaY < 0 ? 1.2 : 1 / 1.2)));
    draw();
  }, { passive: false });
  function move(axis, by) {
    const pending = next && next.find((one) => one.message.do === "go");
    const at = [...(pending ? pending.message.at : state.at)];
    at[axis] = Math.min(setup.shape[axis] - 1, Math.max(0, at[axis] + by));
    ask({ do: "go", at });
  }
  function zoom(by, point = null, pane = null) {
    const old = state.zoom;
    state.zoom = Math.min(40, Math.max(0.5, state.zoom * by));
    const axes = pane ? [pane.across, pane.down] : [0, 1, 2], fixed = point || state.at;
    for (const a of axes) {
      const place = (fixed[a] + 0.5) * setup.size[a];
      state.middle[a] = place + ((state.middle[a] - place) * old) / state.zoom;
    }
    draw();
  }

  // ------------------------------------------------------------ keys
  const KEYED = {
    PageUp: () => move(0, -1), PageDown: () => move(0, 1),
    ArrowLeft: () => move(2, -1), ArrowRight: () => move(2, 1), ArrowUp: () => move(1, -1), ArrowDown: () => move(1, 1),
    "+": () => zoom(1.25), "-": () => zoom(0.8), 0: () => { fit(); stale(); }, "?": () => { help.hidden = !help.hidden; },
    "[": () => brush(-0.5), "]": () => brush(0.5), 3: () => flip("flat"), o: () => flip("over"),
    t: () => {
      state.show = { outline: "fill", fill: "none", none: "outline" }[state.show];
      if (inputs.show) inputs.show.value = state.show;
      stale();
    },
  };
  function brush(by) {
    state.radius = Math.max(0.5, Math.min(30, state.radius + by));
    if (inputs.radius) { inputs.radius.value = state.radius; inputs.radius.shown.textContent = state.radius; }
    draw();
  }
  function flip(name) {
    state[name] = !state[name];
    if (inputs[name]) inputs[name].checked = state[name];
  }
  root.addEventListener("keydown", (event) => {
    if (!setup || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const name = (event.ctrlKey || event.metaKey ? "ctrl+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
    const doing = ACTS.find((a) => a[2] === name), tool = TOOLS.find((t) => t[1] === name);
    if (setup.edits && (doing || (name === "ctrl+z" && event.shiftKey))) act(event.shiftKey ? { do: "redo" } : doing[3]);
    else if ((setup.edits || name === "x") && tool) take(tool[0]);
    else if (KEYED[name]) KEYED[name]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  const classic = window.Jupyter && window.Jupyter.keyboard_manager; // Notebook 6 listens to every key
  if (classic) {
    root.addEventListener("focusin", () => classic.disable());
    root.addEventListener("focusout", () => classic.enable());
  }

  const listen = (answer, buffers) => received(answer, buffers || []);
  model.on("msg:custom", listen);
  ask({ do: "hello" });
  const pulse = setInterval(() => { if (setup && setup.edits && !waiting) ask({ do: "status" }); }, 15000);
  return () => {
    clearInterval(pulse);
    model.off("msg:custom", listen);
  };
}

export default { render };
