// What a reader does with a page: sort, unfold, look at pictures, read the heat map; with mouse, keyboard and finger. Marks and
// the map have files of their own.
import { check } from './browser.mjs';

const columnOf = (table, index) => table.$$eval('tbody tr', (rows, at) => rows.map((row) => {
  const cell = row.cells[at];
  return { text: cell.textContent, sort: cell.dataset.sort === undefined ? null : Number(cell.dataset.sort), row: row.textContent };
}), index);

/** The order a column must come in; ties stay as they were, missing numbers are last. */
const ordered = (cells, numeric, sign) => {
  const { compare } = new Intl.Collator('en', { numeric: true });
  const ranked = cells.every(({ sort }) => sort !== null);
  if (!numeric && !ranked) return [...cells].sort((a, b) => sign * compare(a.text, b.text));
  const missing = cells.filter(({ sort }) => sort === null);
  return [...cells.filter(({ sort }) => sort !== null).sort((a, b) => sign * (a.sort - b.sort)), ...missing];
};

/** Sorts every column of every table both ways, once with the mouse and once with the keyboard. Returns how many of each kind. */
export const sorting = async (page) => {
  const wrong = [];
  const driven = { numeric: 0, text: 0 };
  for (const table of await page.$$('table.list')) {
    const headers = await table.$$('thead th');
    for (const [index, header] of headers.entries()) {
      const numeric = await header.evaluate((each) => each.classList.contains('numeric'));
      const button = await header.$('button');
      if (!button) continue;  // a column of drawings alone
      const name = `"${(await header.textContent()).slice(0, 40)}"`;
      for (const [press, direction] of [['mouse', numeric ? 'descending' : 'ascending'], ['keyboard', numeric ? 'ascending' : 'descending']]) {
        const before = await columnOf(table, index);
        if (press === 'mouse') await button.click();
        else { await button.focus(); await page.keyboard.press('Enter'); }
        const states = await table.$$eval('thead th', (all) => all.map((each) => each.getAttribute('aria-sort')));
        if (states[index] !== direction || states.filter(Boolean).length !== 1) wrong.push(`${name} is ${states}, not ${direction}`);
        const after = await columnOf(table, index);
        const expected = ordered(before, numeric, direction === 'ascending' ? 1 : -1);
        if (String(after.map(({ row }) => row)) !== String(expected.map(({ row }) => row))) {
          wrong.push(`${name} ${direction} by ${press}: ${after.map(({ text }) => text.slice(0, 20))}`);
        }
      }
      const texts = await columnOf(table, index);
      if (new Set(texts.map(({ text }) => text)).size > 1) driven[numeric ? 'numeric' : 'text'] += 1;
    }
  }
  check(`sorting: ${driven.numeric} numeric and ${driven.text} text columns, both ways, by mouse and keyboard`, wrong);
  return driven;
};

const state = (page) => page.evaluate(() => [...document.querySelectorAll('.item')].flatMap((item, index) => {
  const details = item.querySelector('.details');
  const box = details.getBoundingClientRect();
  const expanded = item.querySelector('button').getAttribute('aria-expanded');
  const visible = details.checkVisibility() && box.height > 0;
  if (visible !== (expanded === 'true')) return [`item ${index}: shown ${visible}, aria-expanded ${expanded}`];
  const inside = box.left >= 0 && box.right <= document.documentElement.clientWidth;
  return visible ? [inside ? index : `item ${index} opens outside the page: ${box.left} to ${box.right}`] : [];
}));

/** A point on the screen with nothing to press within a finger's width, if there is one. */
const quietPoint = () => {
  const pressable = (x, y) => document.elementFromPoint(x, y)?.closest('.item, a, button, .heat');
  const quiet = (x, y) => ![-24, 0, 24].some((dx) => [-24, 0, 24].some((dy) => pressable(x + dx, y + dy)));
  for (let y = 30; y < innerHeight - 30; y += 12) {
    for (let x = 30; x < innerWidth - 30; x += 30) if (quiet(x, y)) return [x, y];
  }
  return undefined;
};

/** Opens and closes every item's details: with `touch` by tapping, else by focus and Enter, and at the ends of a gallery by pointing. */
export const galleries = async (page, touch) => {
  const wrong = [];
  const items = await page.$$('.item');
  const expect = async (step, index, open) => {
    const shown = await state(page);
    if (String(shown) !== (open ? String(index) : '')) wrong.push(`item ${index}, ${step}: open ${JSON.stringify(shown)}`);
  };
  const pause = () => page.waitForTimeout(220);  // longer than the page waits with opening and closing
  for (const [index, item] of items.entries()) {
    const button = await item.$('button.thumb');
    await button.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    if (touch) {
      await button.tap();
      await expect('tapped', index, true);
      await button.tap();
      await expect('tapped again', index, false);
      await button.tap();
      const elsewhere = await page.evaluate(quietPoint);
      if (elsewhere) await page.touchscreen.tap(...elsewhere);
      else await button.tap();
      await expect('tapped elsewhere', index, false);
      continue;
    }
    if (await item.evaluate((each) => !each.previousElementSibling || !each.nextElementSibling)) {
      await button.hover();
      await pause();
      await expect('pointed at', index, true);
      const box = await (await item.$('.details')).boundingBox();
      await page.mouse.move(box.x + box.width - 20, box.y + box.height - 20, { steps: 8 });
      await pause();
      await expect('pointed at its details', index, true);
      await page.keyboard.press('Escape');
      await pause();
      await expect('Escape while pointed at', index, false);
      await page.mouse.move(0, 0);
      await button.hover();
      await pause();
      await page.mouse.move(0, 0);
      await pause();
      await expect('pointer gone', index, false);
    }
    await button.focus();
    await expect('focused', index, true);
    await page.keyboard.press('Escape');
    await expect('Escape while focused', index, false);
    if (!await button.evaluate((each) => each === document.activeElement)) wrong.push(`item ${index}: Escape took the focus away`);
    await page.keyboard.press('Enter');
    await expect('Enter', index, true);
    await page.keyboard.press('Enter');
    await expect('Enter again', index, false);
    await button.evaluate((each) => each.blur());
  }
  // By the Tab key alone, from the first item of each gallery to its last.
  for (const gallery of touch ? [] : await page.$$('.gallery')) {
    const buttons = await gallery.$$('button.thumb');
    await buttons[0].focus();
    for (const [index, button] of buttons.entries()) {
      if (!await button.evaluate((each) => each === document.activeElement)) wrong.push(`Tab does not reach item ${index} of a gallery`);
      await page.keyboard.press('Tab');
      // Details that scroll are a stop of their own.
      const scrolls = ({ activeElement: box }) => box.matches('.details') && box.scrollHeight > box.clientHeight;
      const choices = await button.evaluate((each) => each.parentElement.querySelectorAll('.choice button').length);
      for (let choice = 0; choice < choices; choice += 1) await page.keyboard.press('Tab');
      if (await page.evaluate(`(${scrolls})(document)`)) await page.keyboard.press('Tab');
    }
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('Escape');
  }
  check(`galleries: ${items.length} items open and close by ${touch ? 'tapping' : 'pointer, focus, Enter and Escape'}`, wrong);
  return items.length;
};

/** Walks the first row and the first column of every heat map with the arrow keys, and points at a cell. */
export const heatmaps = async (page) => {
  const wrong = [];
  const maps = await page.$$('.heatmap');
  for (const map of maps) {
    const cells = await map.$$('td');
    const columns = await map.$$eval('tbody tr:first-child td', (all) => all.length);
    const rows = cells.length / columns;
    const stops = await map.$$eval('td', (all) => all.filter((each) => each.tabIndex === 0).length);
    if (stops !== 1) wrong.push(`the Tab key stops ${stops} times in it`);
    const reads = async (step, index) => {
      const tip = await cells[index].$eval('.tip', (each) => each.textContent);
      const readout = await map.$eval('.readout', (each) => each.textContent);
      if (tip !== readout) wrong.push(`${step}: ${JSON.stringify(readout)}, not ${JSON.stringify(tip)}`);
    };
    await cells[0].focus();
    for (let column = 1; column < columns; column += 1) {
      await page.keyboard.press('ArrowRight');
      await reads(`right to ${column}`, column);
    }
    for (let row = 1; row < rows; row += 1) {
      await page.keyboard.press('ArrowDown');
      await reads(`down to ${row}`, row * columns + columns - 1);
    }
    await page.keyboard.press('ArrowDown');
    await reads('down past the end', cells.length - 1);
    await cells[1].hover();
    await reads('pointed at', 1);
  }
  check(`heat maps: ${maps.length} read by arrow keys and pointer`, wrong);
  return maps.length;
};

/** Sections in which nothing was found are folded; each opens and closes by mouse and keyboard. */
export const unfolding = async (page) => {
  const wrong = [];
  const folded = await page.$$('.quiet > details');
  for (const details of folded) {
    const summary = await details.$('summary');
    const expect = async (step, open) => { if (await details.evaluate((each) => each.open) !== open) wrong.push(`${step}: not ${open ? 'open' : 'closed'}`); };
    await details.evaluate((each) => { each.open = false; });
    await summary.click();
    await expect('clicked', true);
    await summary.focus();
    await page.keyboard.press('Enter');
    await expect('Enter', false);
    await page.keyboard.press('Space');
    await expect('Space', true);
  }
  check(`folded sections: ${folded.length} open and close`, wrong);
  return folded.length;
};

/** The skip link comes first and leads to the findings; every link of the contents leads to its section. */
export const links = async (page) => {
  const wrong = [];
  await page.keyboard.press('Tab');
  const skip = await page.$eval('.skip', (each) => each === document.activeElement && each.getBoundingClientRect().top >= 0);
  if (!skip) wrong.push('Tab does not show the skip link first');
  await page.keyboard.press('Enter');
  if (!await page.evaluate(() => document.activeElement.id === 'main')) wrong.push('the skip link does not lead to the findings');
  for (const link of await page.$$('nav a')) {
    const id = (await link.getAttribute('href')).slice(1);
    await link.click();
    await page.waitForFunction((target) => {
      const { top, bottom } = document.getElementById(target).getBoundingClientRect();
      return top < innerHeight && bottom > 0;
    }, id, { timeout: 3000 }).catch(() => wrong.push(`the link to ${id} does not show it`));
    if (await page.evaluate((target) => document.querySelector(`[id="${target}"].quiet > details:not([open])`), id)) wrong.push(`the link to ${id} leaves it folded`);
    if (await page.evaluate((target) => document.querySelector(`[id="${target}"] .how[open]`), id)) wrong.push(`the link to ${id} unfolds more than its section`);
  }
  check('links: the skip link and the contents lead where they say', wrong);
};
