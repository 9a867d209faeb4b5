// Robust figures: one disturbed round must not change them.

/** The value below which `part` of the values are. */
function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}

export const median = (values) => quantile(values, 0.5);
/** Where the middle half of the values is: `[from, to]`. */
export const middleHalf = (values) => [quantile(values, 0.25), quantile(values, 0.75)];
