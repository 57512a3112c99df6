// Masks: from COCO's text of run lengths to outlines.

/** Run lengths of a mask, background first, down the columns: 5 bits a character, differences to the run before last. */
function runLengths(text) {
  const runs = [];
  for (let place = 0; place < text.length; ) {
    let value = 0;
    let shift = 0;
    let code;
    do {
      code = text.charCodeAt(place++) - 48;
      value |= (code & 31) << shift;
      shift += 5;
    } while (code & 32);
    if (code & 16) value |= -1 << shift;
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

/** A mask with an empty pixel all around: value at (x, y) is dense[(x + 1) * (height + 2) + y + 1]. */
function denseMask(text, width, height) {
  const tall = height + 2;
  const dense = new Uint8Array((width + 2) * tall);
  let pixel = 0;
  runLengths(text).forEach((length, number) => {
    if (number % 2) {
      for (let k = pixel; k < pixel + length; k++) {
        dense[(Math.floor(k / height) + 1) * tall + (k % height) + 1] = 1;
      }
    }
    pixel += length;
  });
  return dense;
}

/** A mask's outline, its pixels, and its topmost pixel [x, y], where its label goes (null for an empty mask). */
function shapeOf(text, width, height) {
  const dense = denseMask(text, width, height);
  let area = 0;
  let top = null;
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      if (!dense[(x + 1) * (height + 2) + y + 1]) continue;
      area += 1;
      if (top === null || y < top[1]) top = [x, y];
    }
  }
  return { path: outlineOf(dense, width, height), area, top };
}

/** Closed outlines, to be filled by the even-odd rule, through the middles of the pixel edges: no staircase. */
function outlineOf(dense, width, height) {
  const tall = height + 2;
  const wide = width + 1;
  // Directions 0 right, 1 down, 2 left, 3 up, with the mask on the right hand; one bit for each that leaves a corner.
  const leaving = new Uint8Array(wide * (height + 1));
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      const here = (x + 1) * tall + y + 1;
      if (!dense[here]) continue;
      const corner = y * wide + x;
      if (!dense[here - 1]) leaving[corner] |= 1;
      if (!dense[here + tall]) leaving[corner + 1] |= 2;
      if (!dense[here + 1]) leaving[corner + wide + 1] |= 4;
      if (!dense[here - tall]) leaving[corner + wide] |= 8;
    }
  }
  const steps = [1, wide, -1, -wide];
  const path = new Path2D();
  for (let start = 0; start < leaving.length; start++) {
    while (leaving[start]) {
      let corner = start;
      let direction = [0, 1, 2, 3].find((d) => leaving[start] & (1 << d));
      let first = true;
      while (direction !== undefined) {
        leaving[corner] &= ~(1 << direction);
        const next = corner + steps[direction];
        const x = ((corner % wide) + (next % wide)) / 2;
        const y = (Math.floor(corner / wide) + Math.floor(next / wide)) / 2;
        if (first) path.moveTo(x, y);
        else path.lineTo(x, y);
        first = false;
        corner = next;
        // Right turn first: pixels that touch at a corner alone stay apart.
        const turns = [direction + 1, direction, direction + 3].map((d) => d % 4);
        direction = turns.find((d) => leaving[corner] & (1 << d));
      }
      path.closePath();
    }
  }
  return path;
}
