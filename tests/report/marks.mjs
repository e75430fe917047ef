// Marks: set by key and by mouse, kept over a reload, saved as a table; also where the browser keeps nothing.
import { readFileSync } from 'node:fs';
import { check } from './browser.mjs';

/** The cells of a table as RFC 4180 has it; every line ends. */
export const parse = (text) => {
  const rows = [[]];
  let rest = text;
  while (rest) {
    const [whole, quoted, plain, end] = rest.match(/^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/) ?? [];
    if (whole === undefined) throw new Error(`not RFC 4180: ${JSON.stringify(rest.slice(0, 60))}`);
    rows.at(-1).push(quoted === undefined ? plain : quoted.replaceAll('""', '"'));
    if (end !== ',') rows.push([]);
    rest = rest.slice(whole.length);
  }
  return rows.slice(0, -1);
};

const WORDS = { unknown: ['unknown', 'known'] };
const wordsOf = (kind) => WORDS[kind] ?? ['right', 'wrong'];

const pressed = (page) => page.$$eval('.item[data-digest]', (items) => items.map((item) =>
  item.querySelector('.choice [aria-pressed="true"]')?.dataset.mark ?? ''));

const save = async (page) => {
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('.marks .save')]);
  return { name: download.suggestedFilename(), rows: parse(readFileSync(await download.path(), 'utf8')) };
};

/** Marks the first items of every gallery, reloads, saves and removes. With `kept` false the page must do all but remember. */
export const marking = async (page, kept) => {
  const wrong = [];
  const expect = (step, seen, expected) => {
    if (JSON.stringify(seen) !== JSON.stringify(expected)) wrong.push(`${step}: ${JSON.stringify(seen)}, not ${JSON.stringify(expected)}`);
  };
  const subjects = await page.$$eval('.item[data-digest]', (items) => items.map((item) => ({ ...item.dataset })));
  if (!subjects.length) return 0;
  expect('no marks at first', await page.isVisible('.marks'), false);
  const items = await page.$$('.item[data-digest]');
  const marks = new Map();
  const mark = (index, word) => {
    const name = `${subjects[index].digest} ${subjects[index].kind}`;
    if (marks.get(name) === word) marks.delete(name);
    else marks.set(name, word);
  };
  const expected = () => subjects.map(({ digest, kind }) => marks.get(`${digest} ${kind}`) ?? '');

  // By key, and on with the arrow.
  await (await items[0].$('button.thumb')).focus();
  for (const step of [0, 1, 2, 3].slice(0, Math.min(4, subjects.length))) {
    const here = await page.evaluate(() => [...document.querySelectorAll('.item[data-digest]')].indexOf(document.activeElement.closest('.item')));
    const word = wordsOf(subjects[here].kind)[step % 2];
    await page.keyboard.press(step === 1 ? word[0].toUpperCase() : word[0]);
    mark(here, word);
    await page.keyboard.press('ArrowRight');
  }
  expect('by key', await pressed(page), expected());
  await page.keyboard.press('ArrowLeft');
  await page.keyboard.press('Control+k');
  expect('a key with Control marks nothing', await pressed(page), expected());

  // By mouse, one in each gallery; the same again takes it back.
  for (const gallery of await page.$$('.gallery.markable')) {
    const item = (await gallery.$$('.item[data-digest]')).at(-1);
    const index = await item.evaluate((each) => [...document.querySelectorAll('.item[data-digest]')].indexOf(each));
    for (const word of [...wordsOf(subjects[index].kind), wordsOf(subjects[index].kind)[1], wordsOf(subjects[index].kind)[0]]) {
      const button = await item.$(`.choice [data-mark="${word}"]`);
      await button.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
      await button.click();
      mark(index, word);
      expect(`item ${index}, ${word} by mouse`, await pressed(page), expected());
    }
  }
  const names = await page.$$eval('.choice', (all) => all.filter((each) => !each.getAttribute('aria-label').trim()
    || ![...each.children].every((button) => button.textContent === button.dataset.mark)).length);
  expect('every choice has a name', names, 0);
  const status = async () => (await page.textContent('.marks [role="status"]')).match(/^(\d+) images? marked/)?.[1];
  expect('the count', await status(), String(marks.size));

  const table = () => [['image_digest', 'kind', 'mark', 'file', 'row'], ...subjects.flatMap(({ digest, kind, file, row }) => {
    const word = marks.get(`${digest} ${kind}`);
    return word ? [[digest, kind, word, /^[=+\-@\t\r]/.test(file) ? `./${file}` : file, row]] : [];
  })];
  await page.keyboard.press('Escape');
  const saved = await save(page);
  expect('the name of the file', saved.name, 'marks.csv');
  expect('the saved table', saved.rows, table());

  await page.reload();
  if (!kept) marks.clear();
  expect('after a reload', await pressed(page), expected());
  expect('the bar after a reload', await page.isVisible('.marks'), marks.size > 0);
  if (kept) {
    expect('the count after a reload', await status(), String(marks.size));
    expect('the table saved after a reload', (await save(page)).rows, table());
    const remove = page.locator('.marks button:not(.save)');
    await remove.click();
    expect('Remove asks first', await pressed(page), expected());
    await remove.click();
    marks.clear();
    expect('removed', await pressed(page), expected());
    expect('the bar without marks', await page.isVisible('.marks'), false);
    await page.reload();
    expect('removed, after a reload', await pressed(page), expected());
  }
  check(`marks: ${subjects.length} items, by key and mouse, ${kept ? 'kept over a reload' : 'where nothing is kept'}, saved as marks.csv`, wrong);
  return subjects.length;
};
