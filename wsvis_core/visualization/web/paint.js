// One moment of a clip on a canvas, layers from the bottom up. Knows no control of the page.

const LAYERS = {
  frame: { name: "frame", field: "pictures", type: "image/jpeg" },
  flow: { name: "flow", field: "flow", type: "image/jpeg" },
  cam: { name: "CAM", field: "cam", type: "image/webp" },
  pseudo: { name: "pseudo-label", field: "pseudo" },
  prediction: { name: "prediction", field: "prediction" },
  tracks: { name: "tracks", field: "tracks" },
  truth: { name: "ground truth", field: "truth" },
};
const percent = (score) => Math.round(100 * score);

/** The clip's pictures and outlines, decoded when they are first asked for. */
class Film {
  constructor(clip, classes) {
    this.clip = clip;
    this.classes = classes;
    this.images = new Map();
    this.shapes = new Map();
  }

  has(layer) {
    return this.clip[LAYERS[layer].field] !== null;
  }

  get length() {
    return this.clip.frames.length;
  }

  /** The decoded picture of a layer at a moment, or null; the same promise for everyone who asks. */
  image(layer, moment) {
    const text = this.clip[LAYERS[layer].field]?.[moment];
    if (!text) return Promise.resolve(null);
    const key = `${layer} ${moment}`;
    if (!this.images.has(key)) {
      const image = new Image();
      image.src = `data:${LAYERS[layer].type};base64,${text}`;
      this.images.set(key, image.decode().then(() => image));
    }
    return this.images.get(key);
  }

  shape(text) {
    if (!this.shapes.has(text)) {
      const { width, height } = this.clip;
      this.shapes.set(text, shapeOf(text, width, height));
    }
    return this.shapes.get(text);
  }

  /** What a layer of instances has at a moment: {mask, colour, text, score, number, bright}; score null for truth. */
  all(layer, moment, selected) {
    if (layer === "pseudo" || layer === "prediction") {
      return (this.clip[layer]?.[moment] ?? []).map(([index, score, mask]) => {
        const { name, colour } = this.classes[index];
        return { mask, colour, text: `${name} ${percent(score)}`, score, number: null, bright: true };
      });
    }
    const present = (this.clip[layer] ?? []).filter((track) => track.masks[moment]);
    return present.map((track) => ({
      mask: track.masks[moment],
      colour: layer === "truth" ? "#ffffff" : track.colour,
      text: `${track.number} ${this.classes[track.class].name}`,
      score: track.score,
      number: track.number,
      bright: layer === "truth" || selected === null || selected === track.number,
    }));
  }

  /** The same without those below a score in percent; a track that was brought forward stays. */
  marks(layer, moment, least, selected) {
    const forward = ({ number }) => selected !== null && number === selected;
    const strong = (mark) => mark.score === null || percent(mark.score) >= least || forward(mark);
    return this.all(layer, moment, selected).filter(strong);
  }
}

/** Decode what the layers need at a moment. */
async function develop(film, moment, layers) {
  const dense = ["frame", "flow", "cam"].filter((layer) => layers.has(layer));
  const found = await Promise.all(dense.map((layer) => film.image(layer, moment)));
  return Object.fromEntries(dense.map((layer, k) => [layer, found[k]]));
}

/** Draw the layers (a Set of keys) with the pictures that `develop` gave. */
function paint(context, film, moment, layers, images, least, selected) {
  const { width, height } = context.canvas;
  const scale = width / film.clip.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.imageSmoothingQuality = "high";
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  const cover = (image, weight) => {
    if (!image) return;
    context.globalAlpha = weight;
    context.drawImage(image, 0, 0, width, height);
    context.globalAlpha = 1;
  };
  cover(images.frame, 1);
  cover(images.flow, layers.has("frame") ? 0.6 : 1);
  if (layers.has("cam") && images.frame) grey(context, 1, 0.3);
  cover(images.cam, 1);
  const instances = ["pseudo", "prediction", "tracks", "truth"].filter((layer) => layers.has(layer));
  if (instances.length && images.frame) grey(context, 0.55, 0);
  for (const layer of instances) {
    const marks = film.marks(layer, moment, least, selected).map((mark) => ({ ...mark, ...film.shape(mark.mask) }));
    // A small mask stays visible on a large one.
    marks.sort((a, b) => b.area - a.area);
    for (const mark of marks) drawMark(context, mark, scale, layer);
    if (layer === instances.at(-1)) for (const mark of marks) writeMark(context, mark, scale);
  }
}

/** Take colour (0..1) and light (0..1) away from what is drawn, so that masks stand out. */
function grey(context, colour, light) {
  const { width, height } = context.canvas;
  context.globalCompositeOperation = "saturation";
  context.fillStyle = `rgb(128 128 128 / ${colour})`;
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = "source-over";
  context.fillStyle = `rgb(0 0 0 / ${light})`;
  context.fillRect(0, 0, width, height);
}

function drawMark(context, mark, scale, layer) {
  const line = Math.max(1.5, context.canvas.width / 320);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.lineJoin = "round";
  context.globalAlpha = mark.bright ? 1 : 0.35;
  if (layer !== "truth") {
    context.fillStyle = mark.colour;
    context.globalAlpha *= 0.35;
    context.fill(mark.path, "evenodd");
    context.globalAlpha = mark.bright ? 1 : 0.35;
  }
  context.setLineDash(layer === "pseudo" ? [(3 * line) / scale, (2 * line) / scale] : []);
  context.strokeStyle = "rgb(0 0 0 / .7)";
  context.lineWidth = (2 * line) / scale;
  context.stroke(mark.path);
  context.strokeStyle = mark.colour;
  context.lineWidth = line / scale;
  context.stroke(mark.path);
  context.setLineDash([]);
  context.globalAlpha = 1;
}

function writeMark(context, mark, scale) {
  if (!mark.top || !mark.bright) return;
  const size = Math.round(Math.max(11, context.canvas.width / 52));
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.font = `600 ${size}px ui-monospace, Menlo, Consolas, monospace`;
  context.textBaseline = "top";
  const wide = context.measureText(mark.text).width + size * 0.6;
  const left = Math.min(Math.max(mark.top[0] * scale - wide / 2, 2), Math.max(context.canvas.width - wide - 2, 2));
  const top = Math.min(Math.max(mark.top[1] * scale - size * 1.35, 2), context.canvas.height - size * 1.4);
  context.fillStyle = mark.colour;
  context.fillRect(left, top, wide, size * 1.3);
  context.fillStyle = "#0c0c0c";
  context.fillText(mark.text, left + size * 0.3, top + size * 0.16);
}
