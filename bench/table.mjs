const sorted = (values) => [...values].sort((a, b) => a - b);
const quantile = (values, part) => {
  const all = sorted(values);
  const at = (all.length - 1) * part;
  const [low, high] = [all[Math.floor(at)], all[Math.ceil(at)]];
  return low + (high - low) * (at - Math.floor(at));
};
export const median = (values) => quantile(values, 0.5);
export const middleHalf = (values) => [quantile(values, 0.25), quantile(values, 0.75)];

export function table(rows) {
  const widths = rows[0].map((_cell, column) => Math.max(...rows.map((row) => row[column].length)));
  const line = (row) => `| ${row.map((cell, column) => (column === 0 || column === 2 || column > 5 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join(' | ')} |`;
  return [line(rows[0]), line(widths.map((width) => '-'.repeat(width))), ...rows.slice(1).map(line)].join('\n');
}
