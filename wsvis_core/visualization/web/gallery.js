// The gallery: filters and order of the videos, kept in the address behind #.

const FILTERS = ["class", "min", "max", "name", "sort", "seed"];
const UNSET = { class: "", min: "0", max: "100", name: "", sort: "given", seed: "1" };

class Gallery {
  constructor() {
    this.list = byId("clips");
    this.form = byId("filters");
    this.cards = [...this.list.children].map((card, place) => ({
      card,
      place,
      id: Number(card.dataset.video),
      name: card.dataset.name.toLowerCase(),
      classes: JSON.parse(card.dataset.classes),
      tracks: JSON.parse(card.dataset.tracks),
      quality: card.dataset.quality === "" ? null : Number(card.dataset.quality),
      trust: card.dataset.trust === "" ? null : Number(card.dataset.trust),
    }));
    this.shown = this.cards;
    this.onChange = () => {};
    this.form.addEventListener("input", () => this.apply());
    this.form.addEventListener("submit", (event) => event.preventDefault());
    byId("draw").addEventListener("click", () => {
      this.form.elements.seed.value = Number(this.form.elements.seed.value) + 1;
      this.form.elements.sort.value = "random";
      this.apply();
    });
    for (const button of document.querySelectorAll(".clear-filters")) {
      button.addEventListener("click", () => this.set({}));
    }
    this.form.hidden = false;
  }

  /** The filters that differ from the unset ones. */
  state() {
    const all = FILTERS.map((key) => [key, this.form.elements[key].value]);
    const random = this.form.elements.sort.value === "random";
    return Object.fromEntries(all.filter(([key, value]) => value !== UNSET[key] && (key !== "seed" || random)));
  }

  set(state) {
    for (const key of FILTERS) this.form.elements[key].value = state[key] ?? UNSET[key];
    // A class or an order that the page does not know is none.
    for (const key of ["class", "sort"]) {
      if (this.form.elements[key].selectedIndex < 0) this.form.elements[key].value = UNSET[key];
    }
    this.apply();
  }

  apply() {
    const { class: chosen, min, max, name, sort, seed } = this.form.elements;
    const [low, high] = [Number(min.value || 0), Number(max.value || 100)];
    const all = low <= 0 && high >= 100;
    const fits = ({ classes, tracks, name: own }) => {
      const scored = tracks.some(([index, score]) => {
        const value = Math.round(100 * score);
        return (chosen.value === "" || String(index) === chosen.value) && value >= low && value <= high;
      });
      const classFits = chosen.value === "" || classes.includes(Number(chosen.value));
      return own.includes(name.value.trim().toLowerCase()) && (all ? classFits : scored);
    };
    const order = ordered(this.cards, sort.value, Number(seed.value));
    this.shown = order.filter(fits);
    const kept = new Set(this.shown);
    this.list.append(...order.map((item) => item.card));
    for (const item of order) item.card.hidden = !kept.has(item);
    byId("random").hidden = sort.value !== "random";
    byId("shown").textContent = `${this.shown.length} of ${this.cards.length} videos shown`;
    byId("nothing").hidden = this.shown.length > 0;
    this.onChange();
  }

  /** [previous, next] of a video among those shown, null at the ends and for a hidden one. */
  neighbours(id) {
    const place = this.shown.findIndex((item) => item.id === id);
    if (place < 0) return [null, null];
    return [this.shown[place - 1]?.id ?? null, this.shown[place + 1]?.id ?? null];
  }
}

/** The cards in an order: given, best, worst, trust (least trusted first) or random (drawn by the seed). */
function ordered(cards, sort, seed) {
  const field = sort === "trust" ? "trust" : "quality";
  const sign = sort === "best" ? -1 : 1;
  if (sort === "random") return shuffled(cards, seed);
  if (!["best", "worst", "trust"].includes(sort)) return [...cards];
  // Videos without a value come last, whichever end is asked for.
  const rank = (item) => (item[field] === null ? Infinity : sign * item[field]);
  return [...cards].sort((a, b) => (rank(a) === rank(b) ? a.place - b.place : rank(a) - rank(b)));
}

/** Fisher and Yates' shuffle by mulberry32, so that a seed in the address means the same order everywhere. */
function shuffled(items, seed) {
  const found = [...items];
  let state = seed >>> 0;
  const draw = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  for (let k = found.length - 1; k > 0; k--) {
    const other = Math.floor(draw() * (k + 1));
    [found[k], found[other]] = [found[other], found[k]];
  }
  return found;
}
