// The demo's pages are readable in both colour schemes (WCAG 2.2, 1.4.3 and 1.4.11).

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { page } from '../envoy/page.mjs';

const style = page('', '').match(/<style>([^]*)<\/style>/)[1];
const [day, night] = style.split('prefers-color-scheme: dark');

/** Relative luminance of a colour of one scheme. */
function luminance(scheme, name) {
  const [, hex] = new RegExp(`--${name}: #([0-9a-f]+);`).exec(scheme) ?? assert.fail(`no colour ${name}`);
  const digits = hex.length === 3 ? [...hex].map((digit) => digit + digit) : hex.match(/../g);
  assert.equal(digits.length, 3, `${name}: a colour that lets others through has no contrast of its own`);
  const linear = digits.map((digit) => parseInt(digit, 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}

function contrast(scheme, one, other) {
  const [dark, light] = [luminance(scheme, one), luminance(scheme, other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

test('texts, fields and the note of an error have contrast, by day and by night', () => {
  for (const [name, scheme] of Object.entries({ day, night })) {
    for (const [one, other, least] of [
      ['ink', 'paper', 4.5], ['quiet', 'paper', 4.5], ['paper', 'accent', 4.5], ['ink', 'soft', 4.5], ['quiet', 'soft', 4.5],
      ['alarm', 'alarm-paper', 4.5], ['alarm', 'paper', 3], ['edge', 'paper', 3], ['accent', 'paper', 3],
    ]) {
      const found = contrast(scheme, one, other);
      assert.ok(found >= least, `${name}: ${one} on ${other} has ${found.toFixed(2)}:1`);
    }
  }
  assert.match(style, /input \{[^}]*border: 1px solid var\(--edge\)/, 'fields have the border that can be seen');
});
