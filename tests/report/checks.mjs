// What must hold of a page that nobody has touched.
import { createHash } from 'node:crypto';
import { check } from './browser.mjs';

/** The policy allows exactly the style and the script that the file holds. */
export const policy = (html) => {
  const allowed = html.match(/http-equiv="Content-Security-Policy" content="([^"]*)"/)?.[1] ?? '';
  const wrong = ['style', 'script'].map((element) => {
    const body = html.match(new RegExp(`\n<${element}>(.*?)</${element}>`, 's'))?.[1].replaceAll('\r\n', '\n') ?? '';
    const source = `${element}-src 'sha256-${createHash('sha256').update(body).digest('base64')}'`;
    return !allowed.includes(source) && `${source} is not in the policy; "npm run hash" writes it`;
  });
  check('the policy allows this style and this script alone', [...wrong, !allowed.startsWith("default-src 'none';") && allowed,
    /unsafe|https?:|\*/.test(allowed) && allowed]);
};

/** axe-core's serious and critical findings. The page was opened with axe as its init script. */
export const axe = async (page, what) => {
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  const worst = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
  check(`${what}: axe has no serious findings`, worst.flatMap(({ id, help, nodes }) =>
    nodes.slice(0, 3).map(({ target, failureSummary }) => `${id} (${help}) at ${target}: ${failureSummary.replaceAll('\n', ' ')}`)));
  for (const { id, impact, nodes } of violations.filter((each) => !worst.includes(each))) console.log(`         note: ${id}, ${impact}, ${nodes.length} times`);
};

/** One h1 first, and no level skipped. */
export const headings = async (page) => {
  const levels = await page.$$eval('h1, h2, h3, h4, h5, h6', (all) => all.map((each) => Number(each.tagName[1])));
  const jumps = levels.map((level, index) => level > (levels[index - 1] ?? 0) + 1 && `h${level} after h${levels[index - 1] ?? 0}`);
  check('headings: one h1, first; no level skipped', [levels.filter((level) => level === 1).length !== 1 && `levels ${levels}`, ...jumps]);
};

/** Elements and attributes are ours alone: data can neither make an element nor an attribute. */
export const ours = async (page) => {
  const strange = await page.evaluate(() => {
    const elements = new Set(('html head meta title style script body a div header main nav section footer p h1 h2 h3 b ul li span strong bdi figure '
      + 'figcaption table thead tbody tr th td button img dl dt dd pre code kbd aside details summary fieldset legend label input').split(' '));
    const drawing = new Set('svg g rect line polyline polygon path circle text title desc'.split(' '));
    const attributes = new Set(('lang dir class id href src alt decoding charset content name http-equiv scope colspan rowspan role tabindex type '
      + 'data-sort data-digest data-kind data-file data-row data-mark data-x data-y data-columns name checked hidden open aria-label aria-labelledby '
      + 'aria-hidden aria-live aria-expanded aria-controls aria-sort aria-current aria-pressed aria-keyshortcuts style').split(' '));
    const found = [];
    for (const element of document.querySelectorAll('*')) {
      const name = element.localName;
      const inDrawing = element.closest('svg') !== null;
      if (!(inDrawing ? drawing : elements).has(name)) found.push(`element ${name}`);
      for (const attribute of element.attributes) {
        if (/^on/.test(attribute.name) || (!inDrawing && !attributes.has(attribute.name))) found.push(`attribute ${attribute.name} of ${name}`);
        if (inDrawing && /^(xlink:)?href$|^style$/.test(attribute.name)) found.push(`attribute ${attribute.name} of ${name}`);
        // Playwright hides the caret of inputs while it takes a picture.
        if (attribute.name === 'style' && !element.matches('.details, .card, .window img, input')) found.push(`style of ${name}`);
      }
    }
    for (const link of document.querySelectorAll('a')) {
      if (!document.getElementById(link.getAttribute('href').slice(1))) found.push(`link to ${link.getAttribute('href')}`);
    }
    for (const image of document.images) {
      if (!image.src.startsWith('data:image/') || image.naturalWidth === 0) found.push(`image ${image.src.slice(0, 80)}`);
    }
    const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);
    if (new Set(ids).size !== ids.length) found.push('an id stands twice');
    if (document.scripts.length !== 1) found.push(`${document.scripts.length} scripts`);
    if (document.querySelectorAll('style').length !== 1) found.push('more than one style');
    return found;
  });
  check('elements and attributes are the template’s own; links and images lead inside the file', strange);
};

/** The page itself never scrolls sideways, and nothing pokes out of it but what a scrolling box or a thumbnail clips. */
export const fits = async (page, what) => {
  const wider = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const out = [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() && !each.closest('.scroll, .unseen, .skip, .thumb *, .window *, nav ul')
      && each.getBoundingClientRect().right > room + 1);
    return [document.documentElement.scrollWidth > room && `${document.documentElement.scrollWidth} of ${room} pixels`,
      ...out.slice(0, 5).map((each) => `${each.localName}.${each.className} reaches ${each.getBoundingClientRect().right}`)];
  });
  check(`${what}: nothing is wider than the page`, wider);
};

/** Every string of the view stands in the page as it is. `view` is what the template was given. */
export const shows = async (page, view) => {
  const text = (value) => value.replace(/\s+/g, ' ').trim();
  const shown = new Set((await page.$$eval('title, bdi, p, li, b, code, .note, .tip, .summary, [aria-label]', (all) =>
    all.flatMap((each) => [each.textContent, each.getAttribute('aria-label') ?? '']))).map(text));
  const strings = [view.title, view.command, ...view.inputs, ...view.reference, view.model.path, view.model.digest, ...view.verdict, ...view.warnings,
    ...view.tiles.flatMap(({ name, value, note }) => [name, value, note])];
  for (const { title, summary, question, how, more, charts, map, heatmap, tables, gallery, footnote } of view.sections) {
    strings.push(title, summary, question, how, footnote, ...more, ...charts.flatMap((chart) => [chart.title, chart.alt]));
    if (map) {
      strings.push(map.alt, ...map.axes, ...map.points.flatMap(({ caption, note }) => [caption, note]),
        ...map.colourings.flatMap(({ title: by, categories }) => [by, ...categories.map(({ name }) => name)]));
    }
    if (heatmap) {
      strings.push(heatmap.title, heatmap.row_title, heatmap.column_title, ...heatmap.rows, ...heatmap.columns,
        ...heatmap.cells.flat().flatMap((cell) => [cell.text, cell.tip]));
    }
    for (const { title: name, columns, rows } of tables) strings.push(name, ...columns.map((each) => each.name), ...rows.flat().flatMap((each) => [each.text, each.drawing?.alt]));
    for (const { images, caption, details, accepted } of gallery) {
      strings.push(caption, accepted, ...images.map((each) => each.caption), ...details.flatMap(({ name, value }) => [name, value]));
    }
  }
  const lost = [...new Set(strings.filter(Boolean))].filter((each) => text(each) && !shown.has(text(each)));
  check(`every one of ${strings.length} strings of the view is shown as it is`, lost.map((each) => JSON.stringify(each).slice(0, 120)));
  const counts = await page.evaluate(() => ['main > section', '.item', '.image', '.image.none', 'table.list tbody tr', 'table.heat td', '.chart svg',
    '.drawing svg', '.accepted', '.points li', '.layer path', '.legend li', '.item[data-digest]']
    .map((each) => document.querySelectorAll(each).length));
  const sum = (of) => view.sections.reduce((total, section) => total + of(section), 0);
  const images = view.sections.flatMap(({ gallery }) => gallery.flatMap((item) => item.images));
  const expected = [view.sections.length, sum(({ gallery }) => gallery.length), images.length, images.filter(({ src }) => !src).length,
    sum(({ tables }) => tables.reduce((total, { rows }) => total + rows.length, 0)), sum(({ heatmap }) => heatmap?.cells.flat().length ?? 0),
    sum(({ charts }) => charts.length),
    sum(({ tables }) => tables.reduce((total, { rows }) => total + rows.flat().filter(({ drawing }) => drawing).length, 0)),
    sum(({ gallery }) => gallery.filter(({ accepted }) => accepted).length), sum(({ map }) => map?.points.length ?? 0),
    ...[0, 1].map(() => sum(({ map }) => map?.colourings.flatMap(({ categories }) => categories).length ?? 0)),
    sum(({ gallery }) => gallery.filter(({ subject }) => subject).length)];
  check('as many sections, items, pictures, rows, cells, drawings, points and subjects as in the view', String(counts) !== String(expected) && `${counts}, not ${expected}`);
};
