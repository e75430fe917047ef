// Writes the hashes of the template's style and script into its Content-Security-Policy: `npm run hash` after a change of either.
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../../audit/src/report.html.jinja', import.meta.url);
let template = readFileSync(path, 'utf8');
for (const element of ['style', 'script']) {
  const body = template.match(new RegExp(`\n<${element}>(.*?)</${element}>`, 's'))[1];
  if (/\{[{%#]/.test(body)) throw new Error(`<${element}> holds template syntax: what is rendered would not have the template's hash`);
  const hash = createHash('sha256').update(body).digest('base64');
  template = template.replace(new RegExp(`${element}-src '[^']*'`), `${element}-src 'sha256-${hash}'`);
}
writeFileSync(path, template);
