// docs/performance.md: the table of a run between two marks.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT } from '../wasm-test/world.mjs';

const PAGE = path.join(ROOT, 'docs/performance.md');
const [BEGIN, END] = ['<!-- make bench: begin -->', '<!-- make bench: end -->'];

/** Puts `text` in place of what is between the marks. */
export function write(text) {
  const page = readFileSync(PAGE, 'utf8');
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) throw new Error(`${PAGE} has no marks ${BEGIN} and ${END}`);
  writeFileSync(PAGE, `${page.slice(0, from + BEGIN.length)}\n${text}\n${page.slice(to)}`);
}
