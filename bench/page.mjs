// Replaces the tables in docs/performance.md.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../wasm-test/world.mjs';

const PAGE = path.join(ROOT, 'docs/performance.md');

/** Replaces everything between the two marks of a part. */
function write(part, text) {
  const [begin, end] = [`<!-- ${part}: begin -->`, `<!-- ${part}: end -->`];
  const page = readFileSync(PAGE, 'utf8');
  const [from, to] = [page.indexOf(begin), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${PAGE} lacks the marks ${begin} and ${end}`);
  writeFileSync(PAGE, `${page.slice(0, from + begin.length)}\n${text}\n${page.slice(to)}`);
}

export const writeTable = (text) => write('make bench', text);
export const writePrices = (text) => write('make prices', text);
export const writeProfile = (text) => write('make profile', text);
