// A page in headless Chromium follows a resource with `fetch`: RFC 8895 opens streams by POST, which EventSource cannot do.
// Prints each event as a line of JSON as the page sees it; the page itself keeps a copy with merge patches and prints that too.
'use strict';
const { chromium } = require('playwright-core');

const [, , page_uri, stream_uri, resource, chrome] = process.argv;

async function follow([uri, resource]) {
  const merge = (target, patch) => {
    if (patch === null || typeof patch !== 'object' || Array.isArray(patch)) return patch;
    const result = target === null || typeof target !== 'object' || Array.isArray(target) ? {} : { ...target };
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) delete result[name]; else result[name] = merge(result[name], value);
    }
    return result;
  };
  const answer = await fetch(uri, {
    method: 'POST',
    headers: { 'content-type': 'application/alto-updatestreamparams+json', accept: 'text/event-stream' },
    body: JSON.stringify({ add: { 1: { 'resource-id': resource } } }),
  });
  if (answer.status !== 200) throw new Error(`status ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '', copy = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf('\n\n')) >= 0) {
      const lines = text.slice(0, end).split('\n');
      text = text.slice(end + 2);
      const event = lines.filter((line) => line.startsWith('event: ')).map((line) => line.slice(7))[0];
      if (event === undefined) continue;
      const data = JSON.parse(lines.filter((line) => line.startsWith('data: ')).map((line) => line.slice(6)).join('\n'));
      const type = event.split(',')[0];
      if (type.endsWith('merge-patch+json')) copy = merge(copy, data);
      else if (type.includes('costmap')) copy = data;
      await window.told({ event, data, copy });
    }
  }
}

(async () => {
  const browser = await chromium.launch({
    executablePath: chrome,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const context = await browser.newContext({ bypassCSP: true });
    const page = await context.newPage();
    await page.exposeFunction('told', (what) => console.log(JSON.stringify(what)));
    await page.goto(page_uri);
    await page.evaluate(follow, [stream_uri, resource]);
  } finally {
    await browser.close();
  }
})().catch((error) => { console.error(error.message); process.exit(1); });
