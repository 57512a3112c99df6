// The player: one dialog for all videos of the page.

const USUAL_LEAST = 30; // percent; weaker masks cover a frame

class Player {
  constructor(classes) {
    this.classes = classes;
    this.dialog = byId("player");
    this.film = null;
    this.moment = 0;
    this.playing = false;
    this.selected = null;
    this.leastChosen = false;
    this.wanted = new Set(["frame", "tracks"]);
    this.drawn = 0;
    this.timer = null;
    this.onChange = () => {};
    this.neighbours = () => [null, null];
    this.connect();
  }

  connect() {
    byId("play").addEventListener("click", () => this.setPlaying(!this.playing));
    byId("scrub").addEventListener("input", (event) => this.jump(Number(event.target.value)));
    byId("beside").addEventListener("change", () => this.setScreens());
    byId("least").addEventListener("input", () => {
      this.leastChosen = true;
      this.setLeast(byId("least").value);
      this.show();
    });
    byId("player-close").addEventListener("click", () => this.dialog.close());
    byId("player-previous").addEventListener("click", () => this.step(0));
    byId("player-next").addEventListener("click", () => this.step(1));
    this.dialog.addEventListener("close", () => this.leave());
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    // Screens shrink and grow with the window; their pixels follow.
    new ResizeObserver(() => this.film && this.show()).observe(byId("screens"));
  }

  /** Open a video of the page at a frame (its position in the video), with one track brought forward or null. */
  open(id, frame, track) {
    const data = byId(`clip-${id}`);
    if (!data) return false;
    this.setPlaying(false);
    if (this.film?.clip.id !== id) this.film = new Film(JSON.parse(data.textContent), this.classes);
    const clip = this.film.clip;
    const numbers = (clip.tracks ?? []).map((found) => found.number);
    this.selected = numbers.includes(track) ? track : null;
    this.moment = nearest(clip.frames, frame);
    byId("player-name").textContent = clip.name;
    byId("player-note").textContent = clip.note;
    byId("scrub").max = this.film.length - 1;
    byId("play").disabled = this.film.length < 2;
    const [previous, next] = this.neighbours(id);
    byId("player-previous").disabled = previous === null;
    byId("player-next").disabled = next === null;
    // Never so high that a video opens without its best track; once moved, it stays.
    const best = Math.max(0, ...(clip.tracks ?? []).map((found) => percent(found.score)));
    if (!this.leastChosen) this.setLeast(Math.min(USUAL_LEAST, 5 * Math.floor(best / 5)));
    this.setLayers();
    this.setTimeline();
    if (!this.dialog.open) this.dialog.showModal();
    // No control of it: the keys are to work the player, not the button that would have the focus.
    this.dialog.focus();
    this.setScreens();
    return true;
  }

  setLeast(score) {
    byId("least").value = score;
    byId("least-shown").value = score;
  }

  leave() {
    this.setPlaying(false);
    this.film = null;
    this.onChange(null);
  }

  step(side) {
    const id = this.neighbours(this.film.clip.id)[side];
    if (id !== null) this.open(id, 0, null);
  }

  layers() {
    return new Set(Object.keys(LAYERS).filter((layer) => this.wanted.has(layer) && this.film.has(layer)));
  }

  setLayers() {
    const box = byId("layers");
    box.querySelectorAll("label").forEach((label) => label.remove());
    Object.entries(LAYERS).forEach(([layer, { name }], k) => {
      const made = this.film.has(layer);
      const input = element("input", { type: "checkbox", id: `layer-${layer}`, disabled: !made });
      input.checked = made && this.wanted.has(layer);
      input.addEventListener("change", () => this.toggle(layer));
      const label = element("label", { title: made ? "" : "not made for this video" }, input, ` ${name} `);
      label.append(element("kbd", {}, String(k + 1)));
      box.append(label);
    });
  }

  toggle(layer) {
    if (!this.film.has(layer)) return;
    if (!this.wanted.delete(layer)) this.wanted.add(layer);
    byId(`layer-${layer}`).checked = this.wanted.has(layer);
    this.setScreens();
  }

  /** One screen for all layers, or one for each. */
  setScreens() {
    const layers = [...this.layers()];
    const beside = byId("beside").checked && layers.length > 1;
    const screens = beside ? layers.map((layer) => [layer]) : [layers];
    const box = byId("screens");
    box.classList.toggle("beside", beside);
    box.style.setProperty("--ratio", String(this.film.clip.width / this.film.clip.height));
    box.replaceChildren(
      ...screens.map((shown) => {
        const canvas = element("canvas", { role: "img" });
        // Instances alone would float in the dark: they keep the frame under them.
        const under = beside && !["frame", "flow"].includes(shown[0]) ? ["frame"] : [];
        canvas.layers = new Set([...under, ...shown]);
        const name = beside ? [element("figcaption", {}, LAYERS[shown[0]].name)] : [];
        return element("figure", {}, canvas, ...name);
      }),
    );
    this.show();
  }

  async show() {
    const { film, moment } = this;
    const turn = ++this.drawn;
    const canvases = [...byId("screens").querySelectorAll("canvas")];
    const needed = new Set(canvases.flatMap((canvas) => [...canvas.layers]));
    const images = await develop(film, moment, needed);
    if (turn !== this.drawn || film !== this.film) return;
    const least = Number(byId("least").value);
    for (const canvas of canvases) {
      const wide = Math.round(Math.min(1600, Math.max(1, canvas.clientWidth * devicePixelRatio)));
      const tall = Math.max(1, Math.round((wide * film.clip.height) / film.clip.width));
      if (canvas.width !== wide || canvas.height !== tall) Object.assign(canvas, { width: wide, height: tall });
      const own = Object.fromEntries(Object.entries(images).filter(([layer]) => canvas.layers.has(layer)));
      paint(canvas.getContext("2d"), film, moment, canvas.layers, own, least, this.selected);
      const names = [...canvas.layers].map((layer) => LAYERS[layer].name);
      canvas.setAttribute("aria-label", `${film.clip.name}, ${this.counter()}: ${names.join(", ") || "no layer"}`);
    }
    this.write();
    develop(film, (moment + 1) % film.length, needed);
  }

  /** The frame's number in the video, from 0 as everywhere, and its place among those of the page. */
  counter() {
    const { frames } = this.film.clip;
    return `frame ${frames[this.moment]} (${this.moment + 1} of ${frames.length})`;
  }

  write() {
    const { clip } = this.film;
    const least = Number(byId("least").value);
    for (const bar of byId("timeline").querySelectorAll("[data-score]")) {
      bar.classList.toggle("faint", Number(bar.dataset.score) < least);
    }
    byId("counter").textContent = this.counter();
    byId("scrub").value = this.moment;
    byId("scrub").setAttribute("aria-valuetext", this.counter());
    for (const line of byId("timeline").querySelectorAll(".here")) {
      line.style.left = `${(100 * this.moment) / this.film.length}%`;
    }
    const layers = this.layers();
    const words = [];
    if (layers.has("flow")) words.push(`flow: hue is the direction, full colour ${clip.full_flow.toFixed(1)} px`);
    if (layers.has("cam")) {
      const names = clip.cam_classes[this.moment].map((index) => this.classes[index].name);
      words.push(`CAM: ${names.join(", ") || "no class"}`);
    }
    for (const layer of ["pseudo", "prediction", "tracks", "truth"]) {
      if (!layers.has(layer)) continue;
      const marks = this.film.marks(layer, this.moment, least, this.selected);
      const weak = this.film.all(layer, this.moment, null).length - marks.length;
      const rest = weak ? ` (${weak} below score ${least})` : "";
      words.push(`${LAYERS[layer].name}: ${marks.map((mark) => mark.text).join(", ") || "nothing"}${rest}`);
    }
    byId("words").textContent = words.join(" · ");
    // Not while it plays: browsers refuse a page that rewrites its address too often.
    if (!this.playing) this.report();
  }

  report() {
    const { id, frames } = this.film.clip;
    this.onChange({ video: id, frame: frames[this.moment], track: this.selected });
  }

  setTimeline() {
    const { clip } = this.film;
    const rows = ["tracks", "truth"].flatMap((layer) => {
      const tracks = clip[layer];
      if (tracks === null) return [];
      const title = element("h3", {}, LAYERS[layer].name);
      const nothing = element("p", { className: "note" }, `no ${layer === "tracks" ? "tracks" : "objects"} in this video`);
      return [title, ...(tracks.length ? tracks.map((track) => this.row(layer, track)) : [nothing])];
    });
    byId("timeline").replaceChildren(...rows);
  }

  row(layer, track) {
    const name = trackName(track, this.classes);
    const label = element("button", { type: "button", className: "label" }, name);
    label.style.setProperty("--dot", track.colour);
    if (layer === "tracks") {
      label.setAttribute("aria-pressed", String(this.selected === track.number));
      label.addEventListener("click", () => this.select(track.number));
    } else {
      label.addEventListener("click", () => this.jump(track.masks.findIndex(Boolean)));
    }
    const line = element("div", { className: "line" });
    line.addEventListener("click", (event) => {
      const { left, width } = line.getBoundingClientRect();
      // A click made by the keyboard has no place; its bar's own listener has jumped.
      if (event.detail) this.jump(Math.floor(((event.clientX - left) / width) * this.film.length));
    });
    line.append(...spans(track.masks).map((span) => this.bar(name, track, span, layer)));
    line.append(element("div", { className: "here" }));
    line.lastChild.style.width = `${100 / this.film.length}%`;
    return element("div", { className: "row" }, label, line);
  }

  bar(name, track, [first, last], layer) {
    const { frames } = this.film.clip;
    const bar = element("button", { type: "button", className: `bar-of-track ${layer === "truth" ? "hollow" : ""}` });
    bar.style.left = `${(100 * first) / frames.length}%`;
    bar.style.width = `${(100 * (last - first + 1)) / frames.length}%`;
    bar.style.setProperty("--dot", track.colour);
    if (track.score !== null) bar.dataset.score = percent(track.score);
    bar.title = `${name}: frames ${frames[first]} to ${frames[last]}`;
    bar.setAttribute("aria-label", `${bar.title}; go to the first`);
    bar.addEventListener("click", (event) => event.detail || this.jump(first));
    return bar;
  }

  /** Bring one track forward, or all of them again. */
  select(number) {
    this.selected = this.selected === number ? null : number;
    const labels = byId("timeline").querySelectorAll(".label[aria-pressed]");
    labels.forEach((label, k) => {
      label.setAttribute("aria-pressed", String(this.film.clip.tracks[k].number === this.selected));
    });
    const track = this.film.clip.tracks.find((found) => found.number === this.selected);
    if (track && !track.masks[this.moment]) this.moment = track.masks.findIndex(Boolean);
    this.show();
  }

  jump(moment) {
    this.moment = Math.min(Math.max(moment, 0), this.film.length - 1);
    this.show();
  }

  setPlaying(playing) {
    const before = this.playing;
    this.playing = playing && this.film !== null && this.film.length > 1;
    clearTimeout(this.timer);
    byId("play").textContent = this.playing ? "pause" : "play";
    if (before && !this.playing) this.report();
    if (!this.playing) return;
    if (this.moment === this.film.length - 1 && !byId("loop").checked) this.moment = -1;
    this.advance();
  }

  /** The next frame, then the one after it as soon as this one is drawn and its time is over. */
  async advance() {
    const started = performance.now();
    const last = this.moment === this.film.length - 1;
    if (last && !byId("loop").checked) return this.setPlaying(false);
    this.moment = last ? 0 : this.moment + 1;
    await this.show();
    if (!this.playing) return;
    const rest = 1000 / Number(byId("speed").value) - (performance.now() - started);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.advance(), Math.max(rest, 0));
  }

  faster(step) {
    const speed = byId("speed");
    speed.selectedIndex = Math.min(Math.max(speed.selectedIndex + step, 0), speed.length - 1);
  }

  flip(id) {
    byId(id).checked = !byId(id).checked;
    byId(id).dispatchEvent(new Event("change"));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A control that the keyboard has reached keeps the keys that work it.
    const own = event.target.matches("button:focus-visible, input:focus-visible, select, summary:focus-visible");
    if (own && (event.key === " " || event.key === "Enter")) return;
    const slides = event.target.matches("select, input[type=range]");
    if (slides && /^(Arrow|Home|End|Page)/.test(event.key)) return;
    const layer = Object.keys(LAYERS)[Number(event.key) - 1];
    const actions = {
      " ": () => this.setPlaying(!this.playing),
      ArrowLeft: () => this.jump(this.moment - 1),
      ArrowRight: () => this.jump(this.moment + 1),
      Home: () => this.jump(0),
      End: () => this.jump(this.film.length - 1),
      s: () => this.flip("beside"),
      l: () => this.flip("loop"),
      "-": () => this.faster(-1),
      "+": () => this.faster(1),
      "=": () => this.faster(1),
      p: () => this.step(0),
      n: () => this.step(1),
    };
    const action = layer ? () => this.toggle(layer) : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

/** Place of the listed frame that is nearest to a frame. */
function nearest(frames, frame) {
  return frames.reduce((best, found, k) => (Math.abs(found - frame) < Math.abs(frames[best] - frame) ? k : best), 0);
}

/** [first, last] of every unbroken run of moments with a mask. */
function spans(masks) {
  const found = [];
  masks.forEach((mask, k) => {
    if (!mask) return;
    if (k > 0 && masks[k - 1]) found.at(-1)[1] = k;
    else found.push([k, k]);
  });
  return found;
}

function trackName(track, classes) {
  const score = track.score === null ? "" : ` ${percent(track.score)}`;
  const trust = track.estimate === null ? "" : ` · trust ${percent(track.estimate)}`;
  return `${track.number} ${classes[track.class].name}${score}${trust}`;
}
