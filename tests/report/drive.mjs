// node drive.mjs REPORT.html [--screenshots DIR] [--view VIEW.json]
//
// Opens a report of `dismax audit` in a headless Chromium (Debian's package `chromium`, or the path in CHROMIUM), checks it and
// uses it as a reader would. With --view, the JSON that the template was given, every string of it must be shown, and a part of
// every kind (gallery, pair, mark, map, folded section, heat map, numeric and text column) must have been there to drive;
// view.json has them all, and `DISMAX_KEEP_PAGES=DIR cargo test -p dismax-audit report::` writes its page.
// Exit code 1 if anything failed, 2 if it could not run.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { NARROW, WIDE, check, failed, launch, visit } from './browser.mjs';
import { axe, fits, headings, ours, policy, shows } from './checks.mjs';
import { maps } from './map.mjs';
import { marking } from './marks.mjs';
import { galleries, heatmaps, links, sorting, unfolding } from './use.mjs';

const arguments_ = () => {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { screenshots: { type: 'string' }, view: { type: 'string' } } });
  if (positionals.length !== 1) throw new Error('usage: node drive.mjs REPORT.html [--screenshots DIR] [--view VIEW.json]');
  return { report: resolve(positionals[0]), screenshots: values.screenshots, view: values.view && JSON.parse(readFileSync(values.view, 'utf8')) };
};

const drive = async ({ report, screenshots, view }) => {
  const url = pathToFileURL(report).href;
  const initScript = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  if (screenshots) mkdirSync(screenshots, { recursive: true });
  const picture = async (page, name, fullPage = true) => {
    if (screenshots) await page.screenshot({ path: join(screenshots, `${name}.png`), fullPage });
  };
  const openFirst = async (page) => {
    const button = await page.$('.item button');
    if (!button) return;
    await button.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    await button.focus();
    await page.waitForTimeout(200);
  };

  const markFirst = async (page) => {
    for (const item of (await page.$$('.item[data-digest]')).slice(0, 3)) {
      await (await item.$('button.thumb')).focus();
      await page.keyboard.press(await item.$eval('.choice button', (each) => each.dataset.mark[0]));
    }
    await page.waitForTimeout(200);
  };
  const showMap = async (page) => {
    const plane = await page.$('.plane');
    if (!plane) return false;
    await plane.evaluate((each) => each.scrollIntoView({ block: 'center', behavior: 'instant' }));
    await plane.evaluate((each) => each.parentElement.querySelector('.by input:checked').focus());
    await page.keyboard.press('Tab');
    await page.waitForTimeout(200);
    return true;
  };

  policy(readFileSync(report, 'utf8'));
  const browser = await launch();
  try {
    await visit(browser, url, 'wide', { initScript }, async (page) => {
      await picture(page, 'wide');
      await ours(page);
      await headings(page);
      await fits(page, 'wide');
      check('there are a verdict and sections', !await page.$('.verdict p') || !await page.$('main > section'));
      if (view) await shows(page, view);
      await axe(page, 'wide');
      check('what has no findings is folded', await page.$('.quiet > details[open]') && 'it is open');
      await links(page);
      const folded = await unfolding(page);
      const columns = await sorting(page);
      const items = await galleries(page, false);
      const matrices = await heatmaps(page);
      const planes = await maps(page, false);
      await ours(page);
      const marks = await marking(page, true);
      await ours(page);
      if (view) {
        check('a part of every kind was there to drive',
          !(columns.numeric && columns.text && items && matrices && planes && marks && folded && await page.$('.pairs')));
      }
      await page.evaluate(() => scrollTo({ top: 0, behavior: 'instant' }));
      await openFirst(page);
      await axe(page, 'wide, details open');
      await picture(page, 'wide-details', false);
      await markFirst(page);
      await axe(page, 'wide, marked');
      await picture(page, 'wide-marks', false);
      if (await showMap(page)) {
        await axe(page, 'wide, map');
        await picture(page, 'wide-map', false);
      }
    });
    // A browser that keeps nothing for files, as with cookies forbidden.
    const forgetful = "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('forbidden', 'SecurityError'); } });";
    await visit(browser, url, 'nothing kept', { initScript: forgetful }, (page) => marking(page, false));
    await visit(browser, url, 'dark', { initScript, colorScheme: 'dark' }, async (page) => {
      await picture(page, 'dark');
      check('dark: the page is dark', await page.evaluate(() => !/^rgb\([1-5]?\d,/.test(getComputedStyle(document.documentElement).backgroundColor)));
      await axe(page, 'dark');
      await openFirst(page);
      await axe(page, 'dark, details open');
      await picture(page, 'dark-details', false);
      await markFirst(page);
      await axe(page, 'dark, marked');
      await picture(page, 'dark-marks', false);
      if (await showMap(page)) {
        await axe(page, 'dark, map');
        await picture(page, 'dark-map', false);
      }
    });
    await visit(browser, url, 'narrow', { initScript, viewport: NARROW, hasTouch: true, isMobile: true }, async (page) => {
      await picture(page, 'narrow');
      await fits(page, 'narrow');
      await axe(page, 'narrow');
      await galleries(page, true);
      await maps(page, true);
      await fits(page, 'narrow, after use');
      await openFirst(page);
      await axe(page, 'narrow, details open');
      await picture(page, 'narrow-details', false);
      await markFirst(page);
      await fits(page, 'narrow, marked');
      await axe(page, 'narrow, marked');
      await picture(page, 'narrow-marks', false);
      if (await showMap(page)) {
        await fits(page, 'narrow, map');
        await picture(page, 'narrow-map', false);
      }
    });
    await visit(browser, url, 'reduced motion', { reducedMotion: 'reduce' }, async (page) => {
      const button = await page.$('.item button');
      if (button) await button.focus();
      check('reduced motion: nothing moves', await page.evaluate(() => document.getAnimations().length > 0
        || getComputedStyle(document.documentElement).scrollBehavior === 'smooth'));
    });
    await visit(browser, url, 'no script', { javaScriptEnabled: false }, async (page) => {
      await picture(page, 'no-script');
      check('no script: what only the script can do is not shown', [...(await Promise.all((await page.locator('.marks, .hint, .card, .points').all())
        .map((each) => each.isVisible()))).map((shown) => shown && 'marks or pictures of the map are')]);
      const colours = page.locator('.by input');
      for (let index = 0; index < await colours.count(); index += 1) {
        await colours.nth(index).check();
        check(`no script: colouring ${index}`, !await page.locator('.legend').nth(index).isVisible());
      }
      check('no script: details are shown, and no button does nothing', [await page.locator('button').count() > 0 && 'there is a button',
        ...(await Promise.all((await page.locator('.details').all()).map((each) => each.isVisible()))).map((shown) => !shown && 'details are hidden')]);
    });
    // A dark desktop must not print dark. 690 pixels are what A4 leaves between its margins.
    await visit(browser, url, 'print', { colorScheme: 'dark', viewport: { width: 690, height: 1000 } }, async (page) => {
      await openFirst(page);
      await markFirst(page);
      await showMap(page);
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' });
      await picture(page, 'print');
      await fits(page, 'print');
      const wrong = await page.evaluate(() => {
        const found = [...document.querySelectorAll('body *')].filter((each) => ['sticky', 'fixed'].includes(getComputedStyle(each).position))
          .map((each) => `${each.localName}.${each.className} does not move with the page`);
        if ([...document.querySelectorAll('section:not(.quiet) > .how :is(p, li)')].some((each) => each.getBoundingClientRect().height === 0)) found.push('how things are found out is hidden');
        if ([...document.querySelectorAll('.details dl')].some((each) => !each.checkVisibility())) found.push('details of a gallery are hidden');
        if ([...document.querySelectorAll('.marks, .choice, .hint, .by, .card')].some((each) => each.checkVisibility())) found.push('controls are printed');
        if ([...document.querySelectorAll('.scroll')].some((each) => getComputedStyle(each).overflowX !== 'visible')) found.push('a table is cut off');
        if (!/^rgb\([1-5]?\d,/.test(getComputedStyle(document.body).color)) found.push('the text is pale');
        return found;
      });
      check('print: nothing is sticky, hidden or cut off, and ink is dark', wrong);
      if (screenshots) await page.pdf({ path: join(screenshots, 'print.pdf'), format: 'A4', preferCSSPageSize: true });
    });
  } finally {
    await browser.close();
  }
};

try {
  await drive(arguments_());
  console.log(failed() ? `${failed()} problems` : 'all checks passed');
  process.exitCode = failed() ? 1 : 0;
} catch (error) {
  console.error(error.message);
  process.exitCode = failed() ? 1 : 2;
}
