// The map: colours, pictures by pointer, keyboard and finger.
import { check } from './browser.mjs';

const state = (plane) => plane.evaluate((each) => {
  const card = each.querySelector('.card');
  const here = each.querySelector('.here');
  const visible = card.checkVisibility();
  // Of drawings without a box Chromium says that they are visible.
  if (visible !== (getComputedStyle(here).display !== 'none')) return 'the card and the ring do not agree';
  if (!visible) return null;
  const { left, right } = card.getBoundingClientRect();
  if (left < 0 || right > document.documentElement.clientWidth) return `the card reaches from ${left} to ${right}`;
  const index = [...each.querySelectorAll('.points li')].findIndex((point) => point.dataset.x === here.getAttribute('cx') && point.dataset.y === here.getAttribute('cy'));
  const text = (element) => element.textContent.replace(/\s+/g, ' ').trim();
  const point = each.querySelectorAll('.points li')[index];
  if (text(point) !== text(card.querySelector('.about'))) return `the card says ${text(card)}`;
  if (text(each.parentElement.querySelector('.readout')) !== text(point)) return 'the line below says something else';
  const picture = card.querySelector('img');
  if (picture) {
    // The window shows the point's own picture of the sheet.
    const side = picture.parentElement.clientWidth;
    const columns = Number(picture.dataset.columns);
    const at = [-parseFloat(picture.style.left) / side, -parseFloat(picture.style.top) / side].map(Math.round);
    if (at[1] * columns + at[0] !== index) return `picture ${at} of point ${index}`;
    if (Math.abs(picture.getBoundingClientRect().width / columns - side) > 1) return 'the sheet has another scale';
  }
  return index;
});

/** Switches colours, points at pictures and walks between them. Returns how many maps there were. */
export const maps = async (page, touch) => {
  const wrong = [];
  const planes = await page.$$('.plane');
  for (const plane of planes) {
    const expect = async (step, right) => {
      const seen = await state(plane);
      if (!right(seen)) wrong.push(`${step}: ${JSON.stringify(seen)}`);
      return seen;
    };
    await plane.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    const inputs = await plane.evaluateHandle((each) => each.parentElement.querySelectorAll('.by input'));
    const count = await inputs.evaluate((all) => all.length);
    const shown = () => plane.evaluate((each) => ['.layer', '.legend'].map((kind) =>
      [...each.parentElement.querySelectorAll(kind)].flatMap((part, index) => getComputedStyle(part).display === 'none' ? [] : [index])));
    for (let index = 0; index < count; index += 1) {
      await (await inputs.evaluateHandle((all, at) => all[at], index)).asElement().check();
      if (String(await shown()) !== String([[index], [index]])) wrong.push(`colouring ${index}: ${JSON.stringify(await shown())} is shown`);
    }
    await page.keyboard.press('ArrowLeft');
    if (count > 1 && String(await shown()) !== String([[count - 2], [count - 2]])) wrong.push('an arrow key does not change the colours');
    const points = await plane.$$eval('.points li', (all) => all.map((each) => ({ x: Number(each.dataset.x), y: Number(each.dataset.y) })));
    if (!points.length) continue;
    const [width, height] = await plane.$eval('svg', (each) => each.getAttribute('viewBox').split(' ').slice(2).map(Number));
    await plane.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    const box = await (await plane.$('svg')).boundingBox();
    const at = ({ x, y }) => [box.x + x / width * box.width, box.y + y / height * box.height];
    await expect('at first', (seen) => seen === null);
    for (const [index, point] of points.entries()) {
      if (index % Math.ceil(points.length / 20)) continue;
      if (touch) await page.touchscreen.tap(...at(point));
      else await page.mouse.move(...at(point));
      // Another point may lie under this one.
      await expect(`pointed at ${index}`, (seen) => Number.isInteger(seen) && Math.hypot(points[seen].x - point.x, points[seen].y - point.y) * box.width / width < 2);
    }
    if (touch) continue;
    await page.mouse.move(2, 2);
    await expect('pointer gone', (seen) => seen === null);
    await page.evaluate(() => document.activeElement.blur());
    await plane.evaluate((each) => each.parentElement.querySelector('.by input:checked').focus());
    await page.keyboard.press('Tab');
    let current = await expect('Tab', Number.isInteger);
    const seenSoFar = new Set([current]);
    for (const [key, ahead] of [['ArrowLeft', (a, b) => b.x < a.x], ['ArrowUp', (a, b) => b.y < a.y], ['ArrowRight', (a, b) => b.x > a.x], ['ArrowDown', (a, b) => b.y > a.y]]) {
      for (let step = 0; step < 5; step += 1) {
        await page.keyboard.press(key);
        const next = await expect(key, (seen) => Number.isInteger(seen) && (seen === current || ahead(points[current], points[seen])));
        if (!Number.isInteger(next)) break;
        current = next;
        seenSoFar.add(current);
      }
    }
    if (seenSoFar.size < Math.min(5, points.length)) wrong.push(`the arrow keys reach ${seenSoFar.size} pictures`);
    await page.keyboard.press('Escape');
    await expect('Escape', (seen) => seen === null);
    await page.keyboard.press('ArrowRight');
    await expect('an arrow after Escape', Number.isInteger);
    await page.keyboard.press('Tab');
    await expect('Tab away', (seen) => seen === null);
  }
  check(`maps: ${planes.length}, colours and pictures by ${touch ? 'finger' : 'pointer and keys'}`, wrong);
  return planes.length;
};
