// Statistics that one disturbed round does not change.

/** The value below which this part of the values lies. */
function quantile(values, part) {
  const sorted = [...values].sort((a, b) => a - b);
  const place = (sorted.length - 1) * part;
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (high - low) * (place - Math.floor(place));
}

export const median = (values) => quantile(values, 0.5);
/** The range of the middle half of the values: `[from, to]`. */
export const middleHalf = (values) => [quantile(values, 0.25), quantile(values, 0.75)];
