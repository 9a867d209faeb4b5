// The table, in Markdown.

import { median, middleHalf } from './statistics.mjs';

const HEAD = ['What', 'Vestibule', 'Compared with', 'That', 'Ratio', 'Middle half', 'Target', 'Verdict'];
const NUMBERS = [1, 3, 4, 5];

const digits = (value) => (Math.abs(value) < 100 ? 1 : 0);
const amount = (value, unit) => `${value.toFixed(digits(value))} ${unit}`.trim();

/** The values that the target is about, its text and its limit. */
function targetOf({ ratio, more, amount: most, unit }, { mine, peer }) {
  if (ratio !== undefined) return { values: mine.map((value, round) => value / peer[round]), text: `at most ${ratio} x`, limit: ratio };
  if (more !== undefined) return { values: mine.map((value, round) => value - peer[round]), text: `at most ${more} ${unit} more`, limit: more };
  return { values: mine, text: most === undefined ? '' : `at most ${most} ${unit}`.trim(), limit: most };
}

function verdict({ values, limit }, failure) {
  if (limit === undefined) return '';
  if (failure) return failure;
  const value = median(values);
  return value <= limit ? 'met' : `missed by ${Math.ceil((value / limit - 1) * 100)} %`;
}

/** The cells of a row. `measured` has the values of both sides, by round. */
export function line(row, measured) {
  const { mine, peer, shown, failure } = measured;
  if ([mine, peer ?? [0]].some((values) => !values.length || !values.every(Number.isFinite))) throw new Error(`"${row.what}" was not measured`);
  const ratios = peer ? mine.map((value, round) => value / peer[round]) : [];
  const target = targetOf(row, measured);
  return [
    row.what,
    shown ?? amount(median(mine), row.unit),
    row.beside ?? '',
    peer ? amount(median(peer), row.unit) : '',
    peer ? median(ratios).toFixed(2) : '',
    ratios.length > 1 ? middleHalf(ratios).map((value) => value.toFixed(2)).join(' to ') : '',
    target.text,
    verdict(target, failure),
  ];
}

/** A table in Markdown. `right` has the numbers of the columns that are aligned to the right. */
export function markdown(head, lines, right) {
  const widths = head.map((cell, column) => Math.max(cell.length, ...lines.map((cells) => cells[column].length)));
  const row = (cells) => `| ${cells.map((cell, column) => (right.includes(column) ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join(' | ')} |`;
  const rule = widths.map((width, column) => (right.includes(column) ? `${'-'.repeat(width - 1)}:` : '-'.repeat(width)));
  return [row(head), row(rule), ...lines.map(row)].join('\n');
}

export const table = (lines) => markdown(HEAD, lines, NUMBERS);
