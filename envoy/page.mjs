// The look of the demo's pages: one column, readable on a phone and in the dark, no script.

export const escapeHtml = (text) =>
  String(text).replace(/[&<>"']/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' })[c]);

const STYLE = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1b1b; --quiet: #5c5c5c; --line: #d9d9d9; --edge: #767676; --accent: #1f6f54; --soft: #edf4f1;
  --alarm: #a4231c; --alarm-paper: #fcf0ee; }
@media (prefers-color-scheme: dark) { :root { --paper: #121212; --ink: #ececec; --quiet: #ababab; --line: #3a3a3a; --edge: #8a8a8a; --accent: #6fcfa9; --soft: #1b2623;
  --alarm: #ffb4a8; --alarm-paper: #2b1614; } }
* { box-sizing: border-box; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 0 auto; padding: 2rem 1rem 4rem; background: var(--paper); color: var(--ink); }
h1 { font-size: 1.4rem; margin: 0 0 1rem; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
code, td { font-family: ui-monospace, monospace; font-size: .875rem; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
td { border-top: 1px solid var(--line); padding: .4rem .5rem; vertical-align: top; }
td:first-child { width: 38%; color: var(--quiet); }
table.identity td { background: var(--soft); } table.identity td:first-child { color: inherit; }
label { display: block; margin: 1rem 0 .25rem; }
input { font: inherit; width: 100%; padding: .6rem; border: 1px solid var(--edge); border-radius: .4rem; background: transparent; color: inherit; }
button, a.button { font: inherit; display: inline-block; margin: 1.25rem .5rem 0 0; padding: .55rem 1.1rem; border: 1px solid var(--accent);
  border-radius: .4rem; background: var(--accent); color: var(--paper); text-decoration: none; cursor: pointer; }
button.quiet, a.button.quiet { background: transparent; color: inherit; border-color: var(--edge); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.note { border-left: .25rem solid var(--accent); padding: .25rem .75rem; background: var(--soft); }
.error { border-color: var(--alarm); background: var(--alarm-paper); color: var(--alarm); }
`;

/** A whole HTML document; `body` is HTML already. */
export function page(title, body) {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title><style>${STYLE}</style></head>
<body><main><h1>${escapeHtml(title)}</h1>
${body}
</main></body></html>
`;
}
